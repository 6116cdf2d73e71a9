//! `echo-mesh drain` and `echo-mesh resume`.

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn drain(_: Args) -> ExitCode {
    eprintln!("error: `drain` is not built yet");
    ExitCode::FAILURE
}

pub fn resume(_: Args) -> ExitCode {
    eprintln!("error: `resume` is not built yet");
    ExitCode::FAILURE
}
