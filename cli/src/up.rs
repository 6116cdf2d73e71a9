//! `echo-mesh up`.

mod address;
mod decide;
mod disk;
mod embedded;
mod engine_command;
mod engines;
mod plan;
mod ports;
mod progress;
mod settings;

use std::process::ExitCode;

use echo_bus::process;

use crate::place::PlaceArgs;
use crate::say::say;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: settings::Settings,

    #[command(flatten)]
    place: PlaceArgs,
}

pub fn main(args: Args) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return process::ended(Err(error.into())),
    };
    process::ended(runtime.block_on(async {
        say(args.settings.plan(&args.place.place()?).await?);
        Ok(())
    }))
}
