//! `echo-mesh models`.

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn main(_: Args) -> ExitCode {
    eprintln!("error: `models` is not built yet");
    ExitCode::FAILURE
}
