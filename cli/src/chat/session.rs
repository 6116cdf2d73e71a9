//! A chat from its first line to its last.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::ExitCode;

use anyhow::Result;
use tokio::runtime::Runtime;

use super::lines::{Lines, Next};
use super::order::{HELP, Order};
use super::talk::Talk;
use crate::answer::{Outcome, Screen, Thoughts, Waiting, play};
use crate::clean::{visible, visible_error};
use crate::edge::Edge;
use crate::known::Known;
use crate::say::{aside, warn};

pub struct Session<'a> {
    runtime: &'a Runtime,
    edge: Edge,
    lines: Lines,
    talk: Talk,
    thoughts: Thoughts,
    quiet: bool,
    /// Something was not answered; a script wants to know.
    failed: bool,
}

/// Whether the chat goes on.
enum Goes {
    On,
    Ends,
}

impl<'a> Session<'a> {
    pub fn new(
        runtime: &'a Runtime,
        edge: Edge,
        lines: Lines,
        talk: Talk,
        thoughts: Thoughts,
        quiet: bool,
    ) -> Self {
        Self { runtime, edge, lines, talk, thoughts, quiet, failed: false }
    }

    /// Until somebody leaves.
    ///
    /// # Errors
    /// No mesh is there, or what is typed cannot be read.
    pub fn run(mut self) -> Result<ExitCode> {
        // Who finds no mesh shall hear it before a question is typed.
        let Some(known) = self.known() else { return Ok(ExitCode::from(130)) };
        let known = known?;
        if self.lines.is_terminal() {
            let model = self.talk.model.clone().or(known.default_model);
            let model = model.unwrap_or_else(|| "a model that nobody serves yet".to_owned());
            aside(visible(&format!("{model} at {} · /help tells more, Ctrl-D leaves", self.edge.shown())));
        }
        loop {
            let text = match self.lines.next(self.runtime) {
                Ok(Next::Text(text)) => text,
                Ok(Next::Interrupted) if self.lines.is_terminal() => {
                    aside("Ctrl-D or /quit leaves");
                    continue;
                }
                Ok(Next::Interrupted) => return Ok(ExitCode::from(130)),
                Ok(Next::End) => break,
                Err(error) if error.is::<super::message::TooLong>() => {
                    self.fails(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if matches!(self.hear(text), Goes::Ends) {
                break;
            }
        }
        Ok(if self.failed && !self.lines.is_terminal() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn hear(&mut self, text: String) -> Goes {
        if text.trim().is_empty() {
            return Goes::On;
        }
        let Some(order) = Order::read(&text) else { return self.ask(text) };
        if let (Order::Unknown(_), false) = (&order, self.lines.is_terminal()) {
            // A file that is piped in knows nothing of orders: a path is the beginning of a question.
            return self.ask(text);
        }
        match order {
            Order::Help => aside(HELP),
            Order::Model(None) => aside(self.talk.model.as_deref().unwrap_or("the mesh's default")),
            Order::Model(Some(name)) => self.model(name),
            Order::System(None) => aside(self.talk.system.as_deref().unwrap_or("nothing is said")),
            Order::System(Some(text)) => self.talk.system = (text != "-").then(|| text.to_owned()),
            Order::Clear => self.talk.clear(),
            Order::Save(file) => self.save(file),
            Order::Retry => match self.talk.retry() {
                Some(last) => return self.ask(last),
                None => aside("nothing was asked yet"),
            },
            Order::Quit => return Goes::Ends,
            Order::Unknown(name) => {
                aside(visible(&format!("there is no /{name}, or not so; /help tells what there is")));
            }
        }
        Goes::On
    }

    fn ask(&mut self, prompt: String) -> Goes {
        let body = self.talk.ask(prompt);
        let (mut screen, waiting) = (Screen::new(self.thoughts), Waiting::begin(!self.quiet));
        let played = play(&self.edge, &body, Some(&mut screen), waiting, self.lines.interrupted());
        let played = self.runtime.block_on(played);
        match played.outcome {
            Ok(Outcome::Whole(facts)) => {
                if !self.quiet {
                    aside(visible(&facts.line()));
                }
                self.talk.answered(played.content);
                self.talk.model.get_or_insert(facts.model);
            }
            Ok(Outcome::Stopped) => {
                self.talk.answered(played.content);
                if self.lines.is_terminal() {
                    aside("stopped");
                }
            }
            Ok(Outcome::Unheard) => return Goes::Ends,
            Err(error) => self.fails(error),
        }
        Goes::On
    }

    /// What the edge knows; `None` after Ctrl-C.
    fn known(&self) -> Option<Result<Known>> {
        self.runtime.block_on(async {
            tokio::select! {
                known = Known::of(&self.edge) => Some(known),
                () = self.lines.interrupted() => None,
            }
        })
    }

    fn model(&mut self, name: &str) {
        let Some(known) = self.known() else { return };
        match known {
            Ok(known) if known.serves(name) => self.talk.model = Some(name.to_owned()),
            Ok(known) => {
                let served = known.served().join(", ");
                self.fails(anyhow::anyhow!("no node serves {name:?}; there are: {served}"));
            }
            Err(error) => self.fails(error),
        }
    }

    fn save(&mut self, file: &str) {
        // Never over another file, and for nobody else to read.
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
        match opened.and_then(|mut open| open.write_all(self.talk.written().as_bytes())) {
            Ok(()) => aside(format_args!("saved as {file}")),
            Err(error) => self.fails(anyhow::anyhow!("{file} cannot be written: {error}")),
        }
    }

    fn fails(&mut self, error: anyhow::Error) {
        self.failed = true;
        warn(format_args!("error: {:#}", visible_error(error)));
    }
}
