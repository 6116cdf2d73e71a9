//! `echo-mesh config`, and what the configuration file adds to the command line.

mod example;
mod file;
mod force;
mod nearest;
mod settings;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{ArgMatches, Command};
use echo_bus::process::{BadConfig, ended};

use crate::say::say;
use file::File;

/// What of the settings is shown.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Flags come first, then ECHO_* variables, then the configuration file, then the defaults."
)]
pub struct Args {
    /// Only the settings of this command, such as `edge` or `models pull`
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Print a configuration file with every setting, its meaning and its default, to begin with
    #[arg(long, conflicts_with_all = ["json", "command"])]
    example: bool,
}

/// Prints what is in force. `commands` is the whole command line as it is without a file.
pub fn main(args: Args, named: Option<PathBuf>, commands: &Command) -> ExitCode {
    ended(show(&args, named, commands).map_err(Into::into))
}

fn show(args: &Args, named: Option<PathBuf>, commands: &Command) -> Result<(), BadConfig> {
    if args.example {
        say(example::text(commands));
        return Ok(());
    }
    let file = file(named, commands)?;
    let shown = force::settings(commands, file.as_ref(), &args.command)?;
    let path = file.as_ref().map(|file| file.path.as_path());
    match args.json {
        true => say(force::json(&shown, path)),
        false => say(force::text(&shown, path)),
    }
    force::refused(&shown)
}

/// The commands without the variables that are set and empty: such a one says nothing.
pub fn without_empty(commands: Command) -> Command {
    without(commands, &|name| std::env::var_os(name).is_some_and(|value| value.is_empty()))
}

/// The commands without the variables of the environment that this picks.
pub fn without(commands: Command, picked: &dyn Fn(&OsStr) -> bool) -> Command {
    let commands = commands.mut_args(|arg| match arg.get_env().is_some_and(picked) {
        true => arg.env(Resettable::Reset),
        false => arg,
    });
    commands.mut_subcommands(|inner| without(inner, picked))
}

/// The command line, with the file's values where it and the environment say nothing. Ends the process where that
/// cannot be read.
pub fn parse(commands: Command) -> ArgMatches {
    let line: Vec<OsString> = std::env::args_os().collect();
    match file(named(&line), &commands) {
        Ok(None) => commands.get_matches_from(line),
        Ok(Some(file)) => settings::apply(commands, &file).get_matches_from(line),
        Err(bad) => without_file(commands, line, bad),
    }
}

/// A file that is wrong keeps nobody from help, and from the commands that find out what is wrong.
fn without_file(commands: Command, line: Vec<OsString>, bad: BadConfig) -> ArgMatches {
    match commands.try_get_matches_from(line) {
        Ok(matches) if matches!(matches.subcommand_name(), Some("doctor" | "config" | "completions")) => {
            matches
        }
        Err(other) if !other.use_stderr() => other.exit(),
        _ => {
            crate::say::warn(format_args!("error: {bad}"));
            std::process::exit(2)
        }
    }
}

/// The file that is in force, read and checked; none where nobody has one.
///
/// # Errors
/// It cannot be read, others can write it, or something in it is wrong: a sentence with its line.
pub fn checked(named: Option<PathBuf>, commands: &Command) -> Result<Option<PathBuf>, BadConfig> {
    file(named, commands).map(|file| file.map(|file| file.path))
}

/// The variables of the environment that hold what their flag does not take, each in a sentence.
pub fn bad_variables(commands: &Command) -> Vec<String> {
    let shown = force::settings(commands, None, &[]).unwrap_or_default();
    let mut bad: Vec<String> = shown.into_iter().filter_map(|it| it.refused).collect();
    bad.sort_unstable();
    bad.dedup();
    bad
}

fn file(named: Option<PathBuf>, commands: &Command) -> Result<Option<File>, BadConfig> {
    let file = match named {
        Some(path) => File::read(&path)?,
        None => match default_path().filter(|path| path.exists()) {
            Some(path) => File::read(&path)?,
            None => return Ok(None),
        },
    };
    settings::check(&file, commands)?;
    Ok(Some(file))
}

/// `~/.config/echo-mesh/config.toml`; none where there is no home.
pub fn default_path() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("XDG_CONFIG_HOME")
        .filter(|folder| folder.is_absolute())
        .or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(folder.join(Path::new("echo-mesh/config.toml")))
}

/// The file that the command line or the environment names. It is needed before the command line can be read.
fn named(line: &[OsString]) -> Option<PathBuf> {
    let mut words = line.iter().skip(1).take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        if word == "--config" {
            return words.next().map(PathBuf::from);
        }
        if let Some(path) = word.to_str().and_then(|word| word.strip_prefix("--config=")) {
            return Some(PathBuf::from(path));
        }
    }
    std::env::var_os("ECHO_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from)
}
