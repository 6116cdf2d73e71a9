//! `echo-mesh up`.

mod plan;

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn main(_: Args) -> ExitCode {
    eprintln!("error: `up` is not built yet");
    ExitCode::FAILURE
}
