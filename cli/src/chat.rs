//! `echo-mesh chat`: a conversation in the terminal, or of the lines of a file.

mod lines;
mod message;
mod order;
mod session;
mod talk;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use echo_bus::process::ended;
use serde_json::{Map, json};

use self::lines::Lines;
use self::session::Session;
use self::talk::Talk;
use crate::answer::Thoughts;
use crate::clean::visible_error;
use crate::edge::EdgeArgs;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model [default: the one that most nodes have]
    #[arg(value_name = "MODEL")]
    model: Option<String>,

    /// How the model is to behave
    #[arg(short, long, value_name = "TEXT")]
    system: Option<String>,

    /// How daring: 0 gives the likeliest answer
    #[arg(short, long, value_name = "NUMBER")]
    temperature: Option<f64>,

    /// The longest answer
    #[arg(short = 'n', long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,

    /// Show the thoughts of a model that thinks, even in a pipe
    #[arg(long)]
    think: bool,

    /// A model that thinks is to answer at once
    #[arg(long, conflicts_with = "think")]
    no_think: bool,

    /// Nothing but answers: no spinner, and no line about each
    #[arg(short, long, visible_alias = "no-stats")]
    quiet: bool,

    /// What is typed is not kept for the next chat
    #[arg(long)]
    no_history: bool,

    #[command(flatten)]
    edge: EdgeArgs,
}

pub fn main(args: Args) -> ExitCode {
    match run(args) {
        Ok(code) => code,
        Err(error) => ended(Err(visible_error(error))),
    }
}

fn run(args: Args) -> Result<ExitCode> {
    let (edge, history) = (args.edge.edge()?, args.history());
    let mut options = Map::new();
    options.extend(args.temperature.map(|it| ("temperature".to_owned(), json!(it))));
    options.extend(args.max_tokens.map(|it| ("num_predict".to_owned(), json!(it))));
    let think = args.no_think.then_some(false);
    let talk = Talk::new(args.model, args.system, json!({"options": options, "think": think}));
    let thoughts = if args.think { Thoughts::Always } else { Thoughts::OnTerminal };
    let runtime = tokio::runtime::Runtime::new()?;
    let code = {
        let lines = Lines::open(&runtime, history)?;
        Session::new(&runtime, edge, lines, talk, thoughts, args.quiet).run()
    };
    // A line that is still waited for keeps nobody here.
    runtime.shutdown_background();
    code
}

impl Args {
    /// Where what was typed is kept; nowhere if nobody wants it, or there is no such place.
    fn history(&self) -> Option<PathBuf> {
        let run = self.edge.run.dir().ok().filter(|_| !self.no_history)?;
        Some(run.join("chat-history"))
    }
}
