//! What is in force where no flag is given, and where each value comes from.

use std::path::Path;

use clap::{Arg, Command};
use echo_bus::process::BadConfig;
use serde_json::{Map, Value as Json, json};

use super::file::{File, Value};
use super::nearest::nearest;
use super::settings::{holds_password, is_list, is_switch, name, parses, tree};

/// One setting of a command.
#[derive(Debug)]
pub struct Shown {
    pub command: Vec<String>,
    pub name: String,
    pub value: Option<Value>,
    pub from: Origin,
    /// Why the command will not start with it.
    pub refused: Option<String>,
}

/// Where a value comes from.
#[derive(Debug, PartialEq, Eq)]
pub enum Origin {
    Variable(String),
    Line(usize),
    Default,
    /// Nobody has said anything; the text is what the command then does, if its help says so.
    Unset(Option<String>),
}

/// The settings of one command and those below it, or of all.
///
/// # Errors
/// There is no such command.
pub fn settings(commands: &Command, file: Option<&File>, only: &[String]) -> Result<Vec<Shown>, BadConfig> {
    let tree = tree(commands);
    if !tree.iter().any(|(path, _)| path == only) {
        let names = commands.get_subcommands().map(Command::get_name);
        let meant = only.first().and_then(|word| nearest(word, names));
        let meant = meant.map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
        return Err(BadConfig(format!("there are no settings of a command `{}`{meant}", only.join(" "))));
    }
    let wanted = tree.into_iter().filter(|(path, _)| path.starts_with(only));
    let each = wanted.flat_map(|(path, command)| {
        let args = command.get_arguments().filter(|arg| !arg.is_hide_set());
        args.filter_map(|arg| shown(&path, arg, file)).collect::<Vec<_>>()
    });
    Ok(each.collect())
}

fn shown(path: &[String], arg: &Arg, file: Option<&File>) -> Option<Shown> {
    let name = name(arg)?;
    let (value, from) = in_force(path, arg, name, file);
    let refused = match (&from, &value) {
        (Origin::Variable(variable), Some(value)) => {
            let refused = value.words().into_iter().find_map(|word| parses(arg, word).err());
            refused.map(|why| format!("{variable}: {why}"))
        }
        _ => None,
    };
    let value = value.map(without_password);
    Some(Shown { command: path.to_vec(), name: name.to_owned(), value, from, refused })
}

fn in_force(path: &[String], arg: &Arg, name: &str, file: Option<&File>) -> (Option<Value>, Origin) {
    let variable = arg.get_env().and_then(|variable| Some((variable, std::env::var_os(variable)?)));
    if let Some((variable, word)) = variable {
        let value = typed(arg, vec![word.to_string_lossy().into_owned()]);
        return (Some(value), Origin::Variable(variable.to_string_lossy().into_owned()));
    }
    if let Some(setting) = file.and_then(|file| file.setting(path, name)) {
        return (Some(setting.value.clone()), Origin::Line(setting.line));
    }
    if is_switch(arg) && arg.get_default_values().is_empty() {
        return (Some(Value::Switch(false)), Origin::Default);
    }
    let defaults = arg.get_default_values().iter().map(|word| word.to_string_lossy().into_owned()).collect();
    match typed(arg, defaults) {
        Value::Many(words) if words.is_empty() => (None, Origin::Unset(told(arg))),
        value => (Some(value), Origin::Default),
    }
}

fn typed(arg: &Arg, mut words: Vec<String>) -> Value {
    match words.len() {
        1 if is_switch(arg) => match words[0].as_str() {
            "true" => Value::Switch(true),
            "false" => Value::Switch(false),
            _ => Value::One(words.remove(0)),
        },
        1 if is_list(arg) => match arg.get_value_delimiter() {
            Some(delimiter) => Value::Many(words[0].split(delimiter).map(str::to_owned).collect()),
            None => Value::Many(words),
        },
        1 => Value::One(words.remove(0)),
        _ => Value::Many(words),
    }
}

/// What its help says of the default: `[default: …]`.
pub fn told(arg: &Arg) -> Option<String> {
    let help = arg.get_help()?.to_string();
    let (_, told) = help.split_once("[default: ")?;
    Some(told.split(']').next().unwrap_or_default().to_owned())
}

fn without_password(value: Value) -> Value {
    let hide =
        |word: String| if holds_password(&word) { "(hidden: it holds a password)".to_owned() } else { word };
    match value {
        Value::One(word) => Value::One(hide(word)),
        Value::Many(words) => Value::Many(words.into_iter().map(hide).collect()),
        value => value,
    }
}

/// Says what no command starts with.
///
/// # Errors
/// A variable holds what its flag does not take.
pub fn refused(shown: &[Shown]) -> Result<(), BadConfig> {
    shown.iter().find_map(|it| it.refused.clone()).map_or(Ok(()), |why| Err(BadConfig(why)))
}

/// As a configuration file that says the same, and where each line comes from.
pub fn text(shown: &[Shown], file: Option<&Path>) -> String {
    let file = file.map(|file| file.display().to_string());
    let mut text = match &file {
        Some(file) => format!("# the configuration file is {file}\n"),
        None => "# there is no configuration file\n".to_owned(),
    };
    let lines: Vec<(String, String)> =
        shown.iter().map(|it| (said(it), origin(it, file.as_deref()))).collect();
    let width = lines.iter().map(|(said, _)| said.chars().count().min(48)).max().unwrap_or_default();
    let mut table = &[][..];
    for (it, (said, origin)) in shown.iter().zip(&lines) {
        if it.command != table {
            table = &it.command;
            text.push_str(&format!("\n[{}]\n", table.join(".")));
        }
        text.push_str(&format!("{said:width$}  # {origin}\n"));
    }
    text.truncate(text.trim_end().len());
    text
}

fn said(it: &Shown) -> String {
    match &it.value {
        Some(value) => format!("{} = {}", it.name, literal(value)),
        None => format!("# {}", it.name),
    }
}

fn origin(it: &Shown, file: Option<&str>) -> String {
    match &it.from {
        Origin::Variable(variable) => variable.clone(),
        Origin::Line(line) => format!("{}:{line}", file.unwrap_or_default()),
        Origin::Default => "default".to_owned(),
        Origin::Unset(None) => "not set".to_owned(),
        Origin::Unset(Some(told)) => format!("not set: {told}"),
    }
}

/// A value as TOML.
pub fn literal(value: &Value) -> String {
    let text = |word: &String| toml::Value::from(word.as_str()).to_string();
    match value {
        Value::Switch(on) => on.to_string(),
        Value::One(word) if word.parse::<i64>().is_ok_and(|number| number.to_string() == *word) => {
            word.clone()
        }
        Value::One(word) => text(word),
        Value::Many(words) => format!("[{}]", words.iter().map(text).collect::<Vec<_>>().join(", ")),
    }
}

/// The same for programs.
pub fn json(shown: &[Shown], file: Option<&Path>) -> Json {
    let mut commands = Map::new();
    for it in shown {
        let settings = commands.entry(it.command.join(" ")).or_insert_with(|| json!({}));
        let value = match &it.value {
            None => Json::Null,
            Some(Value::Switch(on)) => json!(on),
            Some(Value::One(word)) => json!(word),
            Some(Value::Many(words)) => json!(words),
        };
        settings[&it.name] = match &it.from {
            Origin::Variable(variable) => {
                json!({"value": value, "from": "environment", "variable": variable})
            }
            Origin::Line(line) => json!({"value": value, "from": "file", "line": line}),
            Origin::Default => json!({"value": value, "from": "default"}),
            Origin::Unset(told) => json!({"value": value, "from": "unset", "default": told}),
        };
    }
    json!({"file": file, "commands": commands})
}
