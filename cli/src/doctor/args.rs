//! What `doctor` is told.

use std::path::PathBuf;

use reqwest::Url;

use crate::bus::WhichBus;
use crate::edge::EdgeArgs;
use crate::place::FolderArgs;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 0: all is well; 1: something is wrong.")]
pub struct Args {
    #[command(flatten)]
    pub edge: EdgeArgs,

    #[command(flatten)]
    pub bus: WhichBus,

    #[command(flatten)]
    pub folders: FolderArgs,

    /// An engine of this machine [default: http://127.0.0.1:11434, if something answers there]
    #[arg(long, env = "ECHO_ENGINE_URL", value_name = "URL")]
    pub engine_url: Option<Url>,

    /// The file with that engine's key
    #[arg(long, env = "ECHO_ENGINE_KEY_FILE", value_name = "FILE")]
    pub engine_key_file: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
