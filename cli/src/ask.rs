//! `echo-mesh ask`.

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn main(_: Args) -> ExitCode {
    eprintln!("error: `ask` is not built yet");
    ExitCode::FAILURE
}
