//! `echo-mesh doctor`.

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn main(_: Args, _: Option<std::path::PathBuf>, _: clap::Command) -> ExitCode {
    eprintln!("error: `doctor` is not built yet");
    ExitCode::FAILURE
}
