//! `echo-mesh completions`: what shells and `man` want to know of the commands.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Command, builder::PossibleValue};
use clap_complete::Shell;
use echo_bus::process::{BadConfig, ended};

use crate::say::say;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "For bash: echo-mesh completions bash > ~/.local/share/bash-completion/completions/echo-mesh
For zsh:  echo-mesh completions zsh > a folder of $fpath/_echo-mesh
For fish: echo-mesh completions fish > ~/.config/fish/completions/echo-mesh.fish
Manual:   echo-mesh completions man --out ~/.local/share/man/man1"
)]
pub struct Args {
    /// The shell whose completions are printed, or `man` for the manual pages
    #[arg(value_name = "SHELL")]
    kind: Kind,

    /// Where the manual pages are written; made if it is not there
    #[arg(long, value_name = "DIR", required_if_eq("kind", "man"))]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Of(Shell),
    Man,
}

impl clap::ValueEnum for Kind {
    fn value_variants<'a>() -> &'a [Self] {
        use Shell::{Bash, Elvish, Fish, PowerShell, Zsh};
        const KINDS: [Kind; 6] = [
            Kind::Of(Bash),
            Kind::Of(Zsh),
            Kind::Of(Fish),
            Kind::Of(Elvish),
            Kind::Of(PowerShell),
            Kind::Man,
        ];
        &KINDS
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Of(shell) => shell.to_possible_value(),
            Self::Man => Some(PossibleValue::new("man")),
        }
    }
}

pub fn main(args: Args, commands: Command) -> ExitCode {
    ended(match (args.kind, args.out) {
        (Kind::Man, Some(folder)) => manual(commands, &folder),
        (Kind::Of(_), Some(_)) => Err(BadConfig(
            "--out is for the manual pages: send the completions where they belong with >".into(),
        )
        .into()),
        (Kind::Of(shell), None) => completions(shell, commands),
        (Kind::Man, None) => Err(BadConfig("name the folder of the manual pages with --out".into()).into()),
    })
}

fn completions(shell: Shell, mut commands: Command) -> Result<()> {
    let name = commands.get_name().to_owned();
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut commands, name, &mut text);
    say(String::from_utf8(text)?.trim_end());
    Ok(())
}

/// A page for the program, and one for each command below it: `echo-mesh-models-pull.1`.
fn manual(commands: Command, folder: &Path) -> Result<()> {
    let failed = || format!("cannot write the manual pages to {}", folder.display());
    std::fs::create_dir_all(folder).with_context(failed)?;
    clap_mangen::generate_to(commands.disable_help_subcommand(true), folder).with_context(failed)
}
