//! Which settings there are: the long flags of the commands. A file is held against them, and gives them defaults.

use clap::builder::Resettable;
use clap::{Arg, ArgAction, Command};
use echo_bus::process::BadConfig;

use super::file::{File, Setting, Value};
use super::nearest::nearest;

/// Words that a secret is named with.
const SECRET: [&str; 9] =
    ["secret", "password", "passwd", "passphrase", "token", "key", "credential", "credentials", "code"];

/// The name of the setting that an argument is; none if a file cannot have it.
pub fn name(arg: &Arg) -> Option<&str> {
    let settable = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append | ArgAction::SetTrue);
    let long = arg.get_long().filter(|long| settable && *long != "config")?;
    (!is_secret(long)).then_some(long)
}

/// Whether it is on or off.
pub fn is_switch(arg: &Arg) -> bool {
    // One that wants other words than these is a value like any other.
    let boolean = arg.get_possible_values().iter().any(|value| value.get_name() == "true");
    boolean || matches!(arg.get_action(), ArgAction::SetTrue)
}

/// Whether it may have several values.
pub fn is_list(arg: &Arg) -> bool {
    let many = arg.get_num_args().is_some_and(|count| count.max_values() > 1);
    many || matches!(arg.get_action(), ArgAction::Append)
}

/// A name that says that its value is secret itself, and not where it is.
fn is_secret(name: &str) -> bool {
    name.rsplit(['-', '_']).next().is_some_and(|last| SECRET.contains(&last.to_ascii_lowercase().as_str()))
}

/// Whether a password is in a URL.
pub fn holds_password(word: &str) -> bool {
    let rest = word.split_once("://").map_or("", |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    host.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

/// These work the same for everybody.
const WITHOUT: [&str; 2] = ["config", "completions"];

/// Every command with settings below this one, itself included, with the words that lead to it.
pub fn tree(command: &Command) -> Vec<(Vec<String>, &Command)> {
    fn walk<'a>(command: &'a Command, path: &[String], all: &mut Vec<(Vec<String>, &'a Command)>) {
        all.push((path.to_vec(), command));
        for below in command
            .get_subcommands()
            .filter(|below| !WITHOUT.contains(&below.get_name()) && !below.is_hide_set())
        {
            walk(below, &[path, &[below.get_name().to_owned()]].concat(), all);
        }
    }
    let mut all = Vec::new();
    walk(command, &[], &mut all);
    all
}

/// Gives the flags the file's values as defaults, so that the command line and the environment come first.
pub fn apply(commands: Command, file: &File) -> Command {
    below(commands, &[], file)
}

fn below(command: Command, path: &[String], file: &File) -> Command {
    let command = command.mut_args(|arg| {
        let setting = name(&arg).and_then(|name| file.setting(path, name));
        setting.map_or(arg.clone(), |setting| with_default(arg, &setting.value))
    });
    command.mut_subcommands(|inner| {
        let path = [path, &[inner.get_name().to_owned()]].concat();
        below(inner, &path, file)
    })
}

fn with_default(arg: Arg, value: &Value) -> Arg {
    // Clap wants defaults that live as long as the process. They are read once.
    let words: Vec<&'static str> =
        value.words().into_iter().map(|word| &*Box::leak(word.to_owned().into_boxed_str())).collect();
    let switch = matches!(arg.get_action(), ArgAction::SetTrue);
    let arg = arg.required(false).required_unless_present(Resettable::Reset).default_values(words);
    if !switch {
        return arg;
    }
    // What the file switches on can be switched off again: `--flag=false`.
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .hide_possible_values(true)
}

/// Holds the file against the commands.
///
/// # Errors
/// The first thing that is wrong, in a sentence with its line.
pub fn check(file: &File, commands: &Command) -> Result<(), BadConfig> {
    let tree = tree(commands);
    for (table, line) in &file.tables {
        if !tree.iter().any(|(path, _)| path == table) {
            return Err(file.bad(*line, &no_command(&tree, table)));
        }
    }
    file.settings.iter().try_for_each(|setting| {
        check_one(file, setting, &tree).map_err(|sentence| file.bad(setting.line, &sentence))
    })
}

fn no_command(tree: &[(Vec<String>, &Command)], table: &[String]) -> String {
    let (last, above) = table.split_last().map_or(("", &[][..]), |(last, above)| (last.as_str(), above));
    let beside = tree.iter().filter(|(path, _)| path.len() == table.len() && path.starts_with(above));
    let meant = nearest(last, beside.filter_map(|(path, _)| path.last().map(String::as_str)));
    let meant = meant.map_or(String::new(), |meant| {
        format!("; did you mean [{}]?", [above, &[meant.to_owned()]].concat().join("."))
    });
    format!("there are no settings of a command `{}`{meant}", table.join(" "))
}

fn check_one(file: &File, setting: &Setting, tree: &[(Vec<String>, &Command)]) -> Result<(), String> {
    let Setting { table, key, value, .. } = setting;
    let flags = |path: &Vec<String>, command: &&Command| -> Option<Arg> {
        let found = command.get_arguments().find(|arg| name(arg) == Some(key)).cloned();
        found.filter(|_| path.starts_with(table))
    };
    let having: Vec<(&Vec<String>, Arg)> =
        tree.iter().filter_map(|(path, command)| Some((path, flags(path, command)?))).collect();
    if having.is_empty() {
        return Err(unknown(setting, tree));
    }
    if is_ambiguous(having.iter().map(|(_, arg)| arg)) {
        let tables: Vec<String> = having.iter().map(|(path, _)| format!("[{}]", path.join("."))).collect();
        return Err(format!("`{key}` is something else for each command: put it into {}", tables.join(", ")));
    }
    if value.words().into_iter().any(holds_password) {
        return Err(format!(
            "`{key}` holds a password, and secrets do not belong in this file: name a file with one"
        ));
    }
    for (path, arg) in having {
        // Where a table further inside says something, this is not in force.
        if file.setting(path, key).is_some_and(|it| std::ptr::eq(it, setting)) {
            accepts(&arg, value)?;
        }
    }
    Ok(())
}

/// Whether one name is several settings: they have different variables.
pub fn is_ambiguous<'a>(args: impl Iterator<Item = &'a Arg>) -> bool {
    let mut variables: Vec<_> = args.filter_map(Arg::get_env).collect();
    variables.sort_unstable();
    variables.dedup();
    variables.len() > 1
}

fn unknown(setting: &Setting, tree: &[(Vec<String>, &Command)]) -> String {
    let Setting { table, key, .. } = setting;
    if is_secret(key) {
        return format!(
            "secrets do not belong in this file: put `{key}` into a file of its own that only you can read, and \
             name that with the setting that ends in -file"
        );
    }
    let place =
        if table.is_empty() { "for any command".to_owned() } else { format!("in [{}]", table.join(".")) };
    let names = |(_, command): &(Vec<String>, &'_ Command)| -> Vec<String> {
        command.get_arguments().filter_map(name).map(str::to_owned).collect()
    };
    let here: Vec<String> = tree.iter().filter(|(path, _)| path.starts_with(table)).flat_map(names).collect();
    let elsewhere = tree.iter().filter(|it| !it.0.is_empty() && names(it).contains(key));
    let elsewhere: Vec<String> = elsewhere.map(|(path, _)| format!("[{}]", path.join("."))).collect();
    let meant = match nearest(key, here.iter().map(String::as_str)) {
        _ if !elsewhere.is_empty() => format!("; it belongs into {}", elsewhere.join(" or ")),
        Some(meant) => format!("; did you mean `{meant}`?"),
        None => "; `echo-mesh config --example` prints all settings".to_owned(),
    };
    format!("there is no setting `{key}` {place}{meant}")
}

/// Whether a flag takes this value.
pub fn accepts(arg: &Arg, value: &Value) -> Result<(), String> {
    let key = arg.get_long().unwrap_or_default();
    match value {
        Value::Switch(_) if !is_switch(arg) => {
            return Err(format!("`{key}` wants a value, and not true or false"));
        }
        Value::One(_) | Value::Many(_) if is_switch(arg) => {
            return Err(format!("`{key}` is either true or false"));
        }
        Value::Many(_) if !is_list(arg) => return Err(format!("`{key}` has one value, and not a list")),
        Value::Switch(_) => return Ok(()),
        _ => {}
    }
    value.words().into_iter().try_for_each(|word| parses(arg, word))
}

/// Lets the flag's own parser read a word, apart from all other flags.
pub fn parses(arg: &Arg, word: &str) -> Result<(), String> {
    let alone = Arg::new("value")
        .long("setting")
        .value_parser(arg.get_value_parser().clone())
        .ignore_case(arg.is_ignore_case_set())
        .action(ArgAction::Append)
        .num_args(1)
        .require_equals(true);
    let alone = match arg.get_value_delimiter() {
        Some(delimiter) => alone.value_delimiter(delimiter),
        None => alone,
    };
    let command = Command::new("setting").no_binary_name(true).arg(alone);
    let Err(error) = command.try_get_matches_from([format!("--setting={word}")]) else { return Ok(()) };
    let text = error.to_string();
    let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    let sentence = lines.collect::<Vec<_>>().join(" ");
    let key = format!("`{}`", arg.get_long().unwrap_or_default());
    Err(sentence.trim_start_matches("error: ").replacen("'--setting=<value>'", &key, 1))
}
