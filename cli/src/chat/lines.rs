//! Where the messages of a chat come from: a terminal, with a line to edit and what was typed before, or anything else.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use echo_bus::process::shutdown;
use rustyline::error::ReadlineError;
use rustyline::{
    Cmd, ConditionalEventHandler, Config, DefaultEditor, Event, EventContext, EventHandler, KeyCode,
    KeyEvent, Modifiers, RepeatCount,
};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::message::{LONGEST, Message};
use crate::os;
use crate::say::warn;

/// How many lines are kept for the next chat.
const KEPT: usize = 1_000;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Text(String),
    /// Ctrl-C while nothing was asked.
    Interrupted,
    End,
}

pub struct Lines {
    source: Source,
    message: Message,
}

enum Source {
    Terminal {
        editor: Box<DefaultEditor>,
        history: Option<PathBuf>,
        typed_ahead: Arc<AtomicBool>,
    },
    /// Ctrl-C ends the whole of it.
    Pipe(CancellationToken),
}

/// Ends the chat by Ctrl-D that was typed while an answer came: the terminal, which took lines then, keeps it as a NUL. Where keys
/// come one by one that is Ctrl-Space, which ends nothing.
struct TypedAhead(Arc<AtomicBool>);

impl ConditionalEventHandler for TypedAhead {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext<'_>) -> Option<Cmd> {
        self.0.load(Ordering::Relaxed).then_some(Cmd::EndOfFile)
    }
}

impl Lines {
    /// `history`: the file of what was typed before.
    pub fn open(runtime: &Runtime, history: Option<PathBuf>) -> Result<Self> {
        let source = if io::stdin().is_terminal() && io::stdout().is_terminal() {
            let config = Config::builder().max_history_size(KEPT)?.history_ignore_dups(true)?.build();
            let mut editor = Box::new(DefaultEditor::with_config(config)?);
            let typed_ahead = Arc::<AtomicBool>::default();
            let end = EventHandler::Conditional(Box::new(TypedAhead(typed_ahead.clone())));
            editor.bind_sequence(KeyEvent(KeyCode::Char('@'), Modifiers::CTRL), end);
            if let Some(file) = &history {
                // There is none before the first chat.
                let _ = editor.load_history(file);
            }
            Source::Terminal { editor, history, typed_ahead }
        } else {
            let _inside = runtime.enter();
            Source::Pipe(shutdown())
        };
        Ok(Self { source, message: Message::default() })
    }

    /// Whether a person types.
    pub fn is_terminal(&self) -> bool {
        matches!(self.source, Source::Terminal { .. })
    }

    /// Ctrl-C while an answer comes.
    pub async fn interrupted(&self) {
        match &self.source {
            Source::Terminal { .. } => {
                let _ = tokio::signal::ctrl_c().await;
            }
            Source::Pipe(stop) => stop.cancelled().await,
        }
    }

    /// The next message.
    ///
    /// # Errors
    /// It is too long, or cannot be read.
    pub fn next(&mut self, runtime: &Runtime) -> Result<Next> {
        loop {
            let line = match &mut self.source {
                Source::Terminal { editor, typed_ahead, .. } => {
                    typed_ahead.store(os::is_typed_ahead(), Ordering::Relaxed);
                    typed(editor, self.message.is_begun())?
                }
                Source::Pipe(stop) => runtime.block_on(piped(stop))?,
            };
            match line {
                Next::Text(line) => {
                    if let Some(text) = self.message.line(&line)? {
                        self.keep(&text);
                        return Ok(Next::Text(text));
                    }
                }
                Next::End if self.message.is_begun() => return Ok(Next::Text(self.message.taken())),
                other => {
                    self.message = Message::default();
                    return Ok(other);
                }
            }
        }
    }

    /// Keeps what was typed, for people only, and for the same one only.
    fn keep(&mut self, text: &str) {
        let Source::Terminal { editor, history, .. } = &mut self.source else { return };
        if text.trim().is_empty() {
            return;
        }
        let added = editor.add_history_entry(text);
        if let (Ok(true), Some(file)) = (added, &*history)
            && let Err(error) = written(editor, file)
        {
            warn(format_args!("what you type is not kept: {} cannot be written: {error:#}", file.display()));
            *history = None;
        }
    }
}

/// Nobody else may read the file: rustyline sees to that.
fn written(editor: &mut DefaultEditor, file: &Path) -> Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    Ok(editor.append_history(file)?)
}

fn typed(editor: &mut DefaultEditor, goes_on: bool) -> Result<Next> {
    match editor.readline(if goes_on { "... " } else { ">>> " }) {
        Ok(line) => Ok(Next::Text(line)),
        Err(ReadlineError::Interrupted) => Ok(Next::Interrupted),
        Err(ReadlineError::Eof) => Ok(Next::End),
        Err(error) => Err(error).context("the terminal cannot be read"),
    }
}

async fn piped(stop: &CancellationToken) -> Result<Next> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = Vec::new();
        io::stdin().lock().take(LONGEST as u64 + 1).read_until(b'\n', &mut line).map(|_| line)
    });
    let line = tokio::select! {
        line = read => line?.context("stdin cannot be read")?,
        () = stop.cancelled() => return Ok(Next::Interrupted),
    };
    if line.is_empty() {
        return Ok(Next::End);
    }
    let text = String::from_utf8(line).context("what is piped in is no text in UTF-8")?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Next::Text(text.strip_suffix('\r').unwrap_or(text).to_owned()))
}
