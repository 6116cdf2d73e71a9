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

use self::lines::Lines;
use self::session::Session;
use self::talk::Talk;
use crate::answer::Wish;
use crate::clean::visible_error;
use crate::edge::EdgeArgs;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model [default: the one that most nodes have]
    #[arg(value_name = "MODEL")]
    model: Option<String>,

    #[command(flatten)]
    wish: Wish,

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
    let (fields, thoughts) = (args.wish.fields(), args.wish.thoughts());
    let talk = Talk::new(args.model, args.wish.system, fields.into());
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
