//! `echo-mesh ask`: one question, one answer.

mod input;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use echo_bus::process::{ended, shutdown};
use serde_json::{Map, Value, json};

use crate::answer::{Outcome, Played, Screen, Waiting, Wish, play};
use crate::clean::{self, visible_error};
use crate::edge::{EdgeArgs, Refused};
use crate::say::{aside, say};

/// What a shell reports for a program that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;
/// What a shell reports for a program whose reader has gone.
const UNHEARD: u8 = 141;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  echo-mesh ask why is the sky blue\n  cat notes.txt | echo-mesh ask summarize this\n  \
                        echo-mesh ask --image photo.jpg what is in this picture\n  echo-mesh ask --json hello | jq .node\n\n\
                        A pipe is read to its end. In a loop that reads lines from stdin, say < /dev/null"
)]
pub struct Args {
    /// What is asked; a text that is piped in goes before it. `-`, or nothing: all of it is read from stdin
    #[arg(value_name = "PROMPT")]
    prompt: Vec<String>,

    /// The model [default: the one that most nodes have]
    #[arg(short, long, value_name = "NAME")]
    model: Option<String>,

    /// A picture, for models that see; may be given several times
    #[arg(short, long, value_name = "FILE")]
    image: Vec<PathBuf>,

    #[command(flatten)]
    wish: Wish,

    /// One JSON object with the whole answer, and how it went
    #[arg(long)]
    json: bool,

    /// Nothing but the answer: no spinner, and no last line about it
    #[arg(short, long, visible_alias = "no-stats")]
    quiet: bool,

    #[command(flatten)]
    edge: EdgeArgs,
}

pub fn main(args: Args) -> ExitCode {
    match run(&args) {
        Ok(code) => code,
        Err(error) => ended(Err(visible_error(error))),
    }
}

fn run(args: &Args) -> Result<ExitCode> {
    let (edge, body) = (args.edge.edge()?, args.body()?);
    let runtime = tokio::runtime::Runtime::new()?;
    let played = runtime.block_on(async {
        let stop = shutdown();
        let mut screen = (!args.json).then(|| Screen::new(args.wish.thoughts()));
        play(&edge, &body, screen.as_mut(), Waiting::begin(!args.quiet), stop.cancelled_owned()).await
    });
    if args.json { Ok(args.object(played)) } else { args.shown(played) }
}

impl Args {
    /// The body of the request.
    fn body(&self) -> Result<Value> {
        let images = self.image.iter().map(|file| input::picture(file)).collect::<Result<Vec<_>>>()?;
        // The first turn of a conversation: engines let models think there, and not after a bare prompt.
        let mut body = json!({
            "messages": [], "prompt": input::prompt(&self.prompt)?, "model_hint": self.model,
            "system": self.wish.system, "images": images,
        });
        body.as_object_mut().into_iter().for_each(|body| body.extend(self.wish.fields()));
        Ok(body)
    }

    fn shown(&self, played: Played) -> Result<ExitCode> {
        Ok(match played.outcome? {
            Outcome::Whole(facts) => {
                if !self.quiet {
                    aside(clean::visible(&facts.line()));
                }
                ExitCode::SUCCESS
            }
            Outcome::Stopped => ExitCode::from(INTERRUPTED),
            Outcome::Unheard => ExitCode::from(UNHEARD),
        })
    }

    /// The answer as an object, or as far as it came, with the error.
    fn object(&self, played: Played) -> ExitCode {
        let mut object = Map::from_iter([("content".to_owned(), Value::from(played.content))]);
        if !played.thinking.is_empty() {
            object.insert("thinking".to_owned(), played.thinking.into());
        }
        let code = match played.outcome {
            Ok(Outcome::Whole(facts)) => {
                object.extend(facts.object());
                ExitCode::SUCCESS
            }
            Ok(_) => return ExitCode::from(INTERRUPTED),
            Err(error) => {
                let refused = error.downcast_ref::<Refused>();
                let code = refused.map(|refused| refused.code.as_str()).filter(|code| !code.is_empty());
                object.extend(code.map(|code| ("code".to_owned(), code.into())));
                object.insert("error".to_owned(), format!("{error:#}").into());
                ended(Err(visible_error(error)))
            }
        };
        say(clean::json(&Value::Object(object)));
        code
    }
}
