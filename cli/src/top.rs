//! `echo-mesh top`.

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn main(_: Args) -> ExitCode {
    eprintln!("error: `top` is not built yet");
    ExitCode::FAILURE
}
