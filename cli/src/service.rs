//! `echo-mesh service`: has systemd or launchd start the mesh.
//!
//! What has to be done is decided first, as steps, and then either told (`--dry-run`) or done. It is decided from what is
//! there, so a second `install` or `remove` finds nothing left to do.

mod launchd;
mod place;
mod start;
mod steps;
mod systemd;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use echo_bus::process::{self, BadConfig};

use crate::say::say;
use place::Place;
use start::Start;
use steps::Step;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Have the system start the mesh, now and at each boot
    Install(Install),
    /// Stop the service and have the system forget it; what it has stored stays
    Remove(Remove),
    /// Show whether the service runs, and where its logs are; the exit code is 0 where it runs, and else 3
    Status(Whose),
}

#[derive(Debug, clap::Args)]
struct Install {
    /// What the service runs
    #[arg(value_enum, default_value_t, value_name = "COMMAND")]
    runs: Runs,

    #[command(flatten)]
    whose: Whose,

    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,

    /// The program that is started [default: this one]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// Arguments for the command; everybody on this machine can read them, so name files instead of secrets
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Remove {
    #[command(flatten)]
    whose: Whose,

    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, clap::Args)]
struct Whose {
    /// A service of your own, without root, instead of one of the system
    #[arg(long)]
    user: bool,
}

/// The commands that a service may run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Runs {
    /// This machine's whole mesh
    #[default]
    Up,
    /// This machine's engines, for a mesh that runs elsewhere
    Join,
}

impl Runs {
    fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Join => "join",
        }
    }
}

/// `commands` is the whole command line as it is without a file.
pub fn main(args: Args, commands: clap::Command) -> ExitCode {
    let place = Place::here();
    match args.action {
        Action::Install(install) => process::ended(carry_out(install.dry_run, install.whose, &place, || {
            let start = install.start(&place, commands)?;
            if cfg!(target_os = "macos") {
                launchd::install(&start, install.whose.user, &place)
            } else {
                systemd::install(&start, install.whose.user, &place)
            }
        })),
        Action::Remove(remove) => process::ended(carry_out(remove.dry_run, remove.whose, &place, || {
            if cfg!(target_os = "macos") {
                launchd::remove(remove.whose.user, &place)
            } else {
                systemd::remove(remove.whose.user, &place)
            }
        })),
        Action::Status(whose) => status(whose, &place),
    }
}

/// Tells the steps, or takes them.
fn carry_out(
    dry_run: bool,
    whose: Whose,
    place: &Place,
    decide: impl FnOnce() -> Result<Vec<Step>, BadConfig>,
) -> anyhow::Result<()> {
    if !dry_run {
        if cfg!(not(target_os = "macos")) {
            systemd::running(place)?;
        }
        steps::allowed(whose.user)?;
    }
    let steps = decide()?;
    for step in steps {
        if dry_run { say(step.told()) } else { step.take()? }
    }
    Ok(())
}

fn status(whose: Whose, place: &Place) -> ExitCode {
    let shown = if cfg!(target_os = "macos") {
        launchd::status(whose.user, place)
    } else {
        systemd::status(whose.user, place)
    };
    match shown {
        Ok((text, running)) => {
            say(text);
            if running { ExitCode::SUCCESS } else { ExitCode::from(3) }
        }
        Err(error) => process::ended(Err(error)),
    }
}

impl Install {
    fn start(&self, place: &Place, commands: clap::Command) -> Result<Start, BadConfig> {
        let program = match &self.program {
            Some(program) => std::path::absolute(program).unwrap_or_else(|_| program.clone()),
            None => std::env::current_exe().map_err(|error| {
                BadConfig(format!("cannot tell where this program is ({error}): name it with --program"))
            })?,
        };
        let start = Start { program, command: self.runs.name(), arguments: self.arguments.clone() };
        start.check(self.whose.user, place)?;
        start.parses(self.whose.user, commands)?;
        Ok(start)
    }
}
