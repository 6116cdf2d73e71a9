//! A configuration file to begin with, made of the commands' own help, so that both say the same.

use std::collections::BTreeMap;

use clap::{Arg, Command};

use super::file::Value;
use super::force::{literal, told};
use super::settings::{is_ambiguous, is_list, is_switch, name, parses, tree};

const HEAD: &str = "\
# The configuration of echo-mesh: ~/.config/echo-mesh/config.toml, or the file that --config (ECHO_CONFIG) names.
# Flags come first, then ECHO_* variables, then this file, then the defaults. A setting is a long flag without its
# dashes. Above the first table it holds for every command that has the flag; in a table for that command alone.
# What is switched on here is switched off again by --flag=false. Secrets do not belong here. Only its owner may write it.
#
# Everything below is commented out and shows a default, or, where there is none, what a value looks like.
";

/// Values of all kinds; a flag's own parser chooses among them.
const SAMPLES: [&str; 26] = [
    "1",
    "30s",
    "2",
    "1m",
    "1h",
    "127.0.0.1:8080",
    "127.0.0.1:9001",
    "http://127.0.0.1:8080",
    "http://127.0.0.1:9001",
    "64MiB",
    "1GiB",
    "22:00-07:00",
    "21:00-06:00",
    "0.5",
    "0.25",
    "100",
    "200",
    "127.0.0.1",
    "::1",
    "nats://127.0.0.1:4222",
    "nats://127.0.0.1:4223",
    "name",
    "other",
    "auto",
    "yes",
    "no",
];

/// The whole file.
pub fn text(commands: &Command) -> String {
    let tree: Vec<_> = tree(commands).into_iter().filter(|(_, command)| !command.is_hide_set()).collect();
    let mut having: BTreeMap<&str, Vec<&Arg>> = BTreeMap::new();
    for (_, command) in &tree {
        for arg in settable(command) {
            having.entry(name(arg).unwrap_or_default()).or_default().push(arg);
        }
    }
    // With a variable it is one setting of the whole mesh, else each command's own.
    let is_command = |name: &str| tree.iter().any(|(path, _)| path.first().is_some_and(|word| word == name));
    having.retain(|name, args| {
        // In one file, a name is either a setting or a table.
        args.len() > 1
            && !is_command(name)
            && args.iter().all(|arg| is_list(arg) == is_list(args[0]))
            && args.iter().all(|arg| arg.get_env().is_some())
            && !is_ambiguous(args.iter().copied())
    });
    let mut text = HEAD.to_owned();
    for args in having.values() {
        // The broker says it otherwise than all the others.
        let alike = |arg: &&&Arg| args.iter().filter(|other| other.get_help() == arg.get_help()).count();
        text.extend(args.iter().max_by_key(alike).map(|arg| lines(arg)));
    }
    for (path, command) in tree.iter().filter(|(path, _)| !path.is_empty()) {
        let own = settable(command).filter(|arg| name(arg).is_some_and(|name| !having.contains_key(name)));
        let own: String = own.map(lines).collect();
        if !own.is_empty() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            text.push_str(&format!("\n\n# {about}\n[{}]\n{own}", path.join(".")));
        }
    }
    text
}

fn settable(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| name(arg).is_some() && !arg.is_hide_set())
}

/// What it means, and what it is set to.
fn lines(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let help: String = help.lines().map(|line| format!("# {line}\n")).collect();
    let variable =
        arg.get_env().map_or(String::new(), |variable| format!("# {}\n", variable.to_string_lossy()));
    let setting = match value(arg) {
        Some(value) => format!("#{} = {}\n", name(arg).unwrap_or_default(), literal(&value)),
        None => format!("# {} has no example\n", name(arg).unwrap_or_default()),
    };
    format!("\n{help}{variable}{setting}")
}

/// The default, or something that the flag takes.
fn value(arg: &Arg) -> Option<Value> {
    if is_switch(arg) {
        return Some(Value::Switch(true));
    }
    let defaults = arg.get_default_values().iter().map(|word| word.to_string_lossy().into_owned());
    let mut words: Vec<String> = defaults.collect();
    if words.is_empty() {
        words.extend(samples(arg).into_iter().next());
    }
    if is_list(arg) {
        Some(Value::Many(words)).filter(|it| !it.words().is_empty())
    } else {
        words.pop().map(Value::One)
    }
}

/// Words that a flag takes, the likeliest first.
pub fn samples(arg: &Arg) -> Vec<String> {
    let possible: Vec<String> =
        arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if !possible.is_empty() {
        return possible;
    }
    let kind = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    let likely: &[&str] = match kind {
        "FILE" | "PATH" => &["/path/to/file", "/path/to/another"],
        "DIR" => &["/path/to/folder", "/path/to/another"],
        "TIME" => &["30s", "1m"],
        "URL" => &["http://127.0.0.1:8080", "http://127.0.0.1:9001"],
        "ID" | "NAME" | "MODEL" | "NODE" => &["name", "other"],
        "DUTY" => &["edge", "orchestrator"],
        _ => &[],
    };
    let told = told(arg).into_iter().filter(|it| kind != "DIR" && kind != "FILE" && !it.contains(' '));
    let words = told.chain(likely.iter().chain(&SAMPLES).map(|word| (*word).to_owned()));
    words.filter(|word| parses(arg, word).is_ok()).collect()
}
