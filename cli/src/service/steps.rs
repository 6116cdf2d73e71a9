//! What is done to a system, step by step.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use echo_bus::process::BadConfig;

use crate::say::say;

/// One thing that is done, or said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A file, and the folders above it.
    Write {
        path: PathBuf,
        text: String,
    },
    Delete {
        path: PathBuf,
    },
    /// A user of the system with this name and home, unless there is one.
    User {
        name: &'static str,
        home: &'static str,
    },
    Run {
        command: Vec<String>,
    },
    /// Something that the person should know; nothing is done.
    Word(String),
}

impl Step {
    pub fn run(words: &[&str]) -> Self {
        Self::Run { command: words.iter().map(ToString::to_string).collect() }
    }

    /// What would be done.
    pub fn told(&self) -> String {
        match self {
            Self::Write { path, text } => format!("Would write {}:\n{}", path.display(), indented(text)),
            Self::Delete { path } => format!("Would delete {}", path.display()),
            Self::User { name, home } => {
                format!("Would run, if there is no user {name}: {}", add_user(name, home).join(" "))
            }
            Self::Run { command } => format!("Would run: {}", command.join(" ")),
            Self::Word(word) => word.clone(),
        }
    }

    /// Does it, and says what it does.
    ///
    /// # Errors
    /// A file cannot be written or deleted, or a program fails.
    pub fn take(self) -> anyhow::Result<()> {
        match self {
            Self::Write { path, text } => {
                say(format_args!("Writes {}", path.display()));
                let folder = path.parent().unwrap_or(&path);
                fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
                fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
            }
            Self::Delete { path } => {
                say(format_args!("Deletes {}", path.display()));
                fs::remove_file(&path).with_context(|| format!("cannot delete {}", path.display()))
            }
            Self::User { name, .. } if has_user(name) => Ok(()),
            Self::User { name, home } => run(&add_user(name, home)),
            Self::Run { command } => run(&command),
            Self::Word(word) => {
                say(word);
                Ok(())
            }
        }
    }
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| if line.is_empty() { String::new() } else { format!("    {line}") })
        .collect::<Vec<_>>()
        .join("\n")
}

/// The same command as in the Debian package's postinst.
fn add_user(name: &str, home: &str) -> Vec<String> {
    let words = ["useradd", "--system", "--user-group", "--home-dir", home, "--no-create-home"];
    words.into_iter().chain(["--shell", "/usr/sbin/nologin", name]).map(str::to_owned).collect()
}

fn has_user(name: &str) -> bool {
    output(&["id", "-u", name]).is_ok()
}

/// Whether this user may do it at all.
///
/// # Errors
/// A service of the system needs root.
pub fn allowed(user: bool) -> Result<(), BadConfig> {
    if user || user_id().as_deref() == Some("0") {
        return Ok(());
    }
    Err(BadConfig(
        "a service of the system needs root: call it with sudo, or take --user for a service of your own; \
         --dry-run shows what would be done"
            .into(),
    ))
}

/// Who runs this program.
pub fn user_id() -> Option<String> {
    output(&["id", "-u"]).ok().map(|id| id.trim().to_owned())
}

fn run(command: &[String]) -> anyhow::Result<()> {
    say(format_args!("Runs {}", command.join(" ")));
    let status = start(command)?.stdin(Stdio::null()).status().with_context(|| missing(command))?;
    if !status.success() {
        bail!("`{}` failed ({status}); its reason is above", command.join(" "));
    }
    Ok(())
}

/// What a program prints on stdout.
///
/// # Errors
/// It is missing, or fails: then with its own words.
pub fn output(command: &[&str]) -> anyhow::Result<String> {
    let done = start(command)?.stdin(Stdio::null()).output().with_context(|| missing(command))?;
    if !done.status.success() {
        bail!("`{}` failed: {}", command.join(" "), String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn start<S: AsRef<str>>(command: &[S]) -> anyhow::Result<Command> {
    let Some((program, arguments)) = command.split_first() else {
        bail!("there is no command to run");
    };
    let mut start = Command::new(program.as_ref());
    start.args(arguments.iter().map(AsRef::as_ref));
    Ok(start)
}

fn missing<S: AsRef<str>>(command: &[S]) -> String {
    format!("cannot run {}", command.first().map_or("", AsRef::as_ref))
}
