//! `echo-mesh key`: a key for a part, and its public half for whoever lets it in.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use echo_bus::key::Seed;
use echo_bus::process::{self, BadConfig};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The key's file; made where it is missing, and only its owner can read it
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Write the public half to this file too
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn main(args: Args) -> ExitCode {
    process::ended(run(&args))
}

fn run(args: &Args) -> anyhow::Result<()> {
    let public = public_half(&args.file)?;
    if let Some(out) = &args.out {
        std::fs::write(out, &public).with_context(|| format!("cannot write {}", out.display()))?;
    }
    std::io::stdout().write_all(public.as_bytes()).context("cannot write to stdout")
}

fn public_half(file: &Path) -> anyhow::Result<String> {
    let seed = Seed::read_or_create(file).map_err(BadConfig::because)?;
    Ok(format!("{}\n", seed.public()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_public_half_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("edge.nk");
        let first = public_half(&file).expect("it is made");
        assert_eq!(public_half(&file).expect("it is read"), first);
        assert!(first.starts_with('U') && first.trim().len() == 56, "{first}");
    }

    #[test]
    fn what_is_no_key_is_refused_with_a_sentence() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("edge.nk");
        echo_bus::private_file::create(&file, "hello\n").expect("a file");
        let error = public_half(&file).expect_err("it is no key").to_string();
        assert!(error.contains("edge.nk") && !error.contains("hello"), "{error}");
    }
}
