//! `echo-mesh check`.

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn main(_: Args) -> ExitCode {
    eprintln!("error: `check` is not built yet");
    ExitCode::FAILURE
}
