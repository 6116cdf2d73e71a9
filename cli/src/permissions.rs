//! `echo-mesh permissions`: what a part may say and hear on the bus.

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn main(_: Args) -> ExitCode {
    ExitCode::FAILURE
}
