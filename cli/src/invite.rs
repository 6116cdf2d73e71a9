//! `echo-mesh invite`.

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn main(_: Args) -> ExitCode {
    eprintln!("error: `invite` is not built yet");
    ExitCode::FAILURE
}
