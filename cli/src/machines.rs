//! `echo-mesh machines`: which machines may get onto the bus.

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn main(_: Args) -> ExitCode {
    ExitCode::FAILURE
}
