//! `echo-mesh keys`: the keys of the edge's clients. The one writer of the file that edges read.

mod add;
pub mod local;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use echo_bus::id::ClientName;
use echo_bus::process::{BadConfig, ended};
use echo_edge::keys::file::{Error, KeyFile};
use echo_edge::keys::usage;

use crate::clean;
use crate::place::RunArgs;
use crate::say::say;

/// The keys of an edge's clients.
///
/// An edge that other machines reach wants a key of whoever asks. A change is in force a second later; an answer that streams
/// is not cut by it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a key, and print it this one time
    Add(add::Args),
    /// Show whose keys there are, what they are good for, and what they have used today
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Take keys back: whoever has them gets in no more
    #[command(visible_alias = "rm")]
    Revoke(RevokeArgs),
}

/// Which keys.
#[derive(Debug, clap::Args)]
struct FileArgs {
    /// The file of keys, as the edge's --keys has it [default: keys.json in the run directory]
    #[arg(long, env = "ECHO_KEYS", value_name = "FILE")]
    keys: Option<PathBuf>,

    #[command(flatten)]
    run: RunArgs,
}

impl FileArgs {
    fn path(&self) -> Result<PathBuf, BadConfig> {
        match &self.keys {
            Some(path) => Ok(path.clone()),
            None => self.run.dir().map(|run| local::keys(&run)),
        }
    }
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// As JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, clap::Args)]
struct RevokeArgs {
    /// Whose
    #[arg(required = true, value_name = "NAME")]
    names: Vec<ClientName>,

    #[command(flatten)]
    file: FileArgs,
}

pub fn main(args: Args) -> ExitCode {
    ended(match args.what {
        What::Add(args) => args.run(),
        What::List(args) => list(&args),
        What::Revoke(args) => revoke(&args),
    })
}

fn list(args: &ListArgs) -> Result<()> {
    let path = args.file.path()?;
    let file = match KeyFile::read(&path) {
        Err(Error::Missing(_)) => KeyFile::default(),
        read => read?,
    };
    let rows = table::rows(&file, &usage::known(&path), usage::now());
    if args.json {
        say(clean::json(&serde_json::to_value(&rows)?));
        return Ok(());
    }
    if rows.is_empty() {
        say(format!("There are no keys in {}: make one with `echo-mesh keys add NAME`.", path.display()));
    } else {
        table::lines(&rows, usage::now(), crate::table::width()).into_iter().for_each(say);
    }
    Ok(())
}

fn revoke(args: &RevokeArgs) -> Result<()> {
    let path = args.file.path()?;
    // All or none: a name that is misspelled is looked at again before anything has changed.
    KeyFile::change(&path, |file| {
        if let Some(name) = args.names.iter().find(|name| !file.keys.iter().any(|key| key.name == **name)) {
            return Err(BadConfig(format!(
                "there is no key of {name} in {}; none was revoked",
                path.display()
            ))
            .into());
        }
        file.keys.retain(|key| !args.names.contains(&key.name));
        Ok::<_, anyhow::Error>(())
    })?;
    args.names.iter().for_each(|name| say(format!("{name}: the key is revoked")));
    Ok(())
}
