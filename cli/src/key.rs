//! `echo-mesh key`: a key for a part.

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn main(_: Args) -> ExitCode {
    ExitCode::FAILURE
}
