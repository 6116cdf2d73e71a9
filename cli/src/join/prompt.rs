//! Asks the person for the code.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use echo_bus::process::BadConfig;
use tokio::sync::oneshot;

use super::code::Code;
use crate::say::{say, warn};

/// A typing error is told each time; whoever types more of them has another problem.
const TRIES: usize = 5;
/// What is longer is no code.
const LONGEST: u64 = 1024;

/// Says which meshes were found, and asks for the code.
pub async fn code(found: Vec<SocketAddr>) -> Result<Code> {
    let found: Vec<String> = found.iter().map(SocketAddr::to_string).collect();
    let seen = match found.is_empty() {
        true => "no mesh is announced on this network; a code says where its mesh is".to_owned(),
        false => format!("there is a mesh on this network, at {}", found.join(" and ")),
    };
    if !std::io::stdin().is_terminal() {
        if let Some(text) = line("").await?.filter(|text| !text.trim().is_empty()) {
            return Ok(text.parse().map_err(BadConfig::because)?);
        }
        let sentence = format!(
            "{seen}. To join, run `echo-mesh invite` on a machine of the mesh, and `echo-mesh join CODE` here with \
             the code that it shows, or with the code on stdin"
        );
        return Err(BadConfig(sentence).into());
    }
    say(format_args!(
        "To join: {seen}. Run `echo-mesh invite` on a machine of the mesh, and type its code here."
    ));
    for _ in 0..TRIES {
        match line("Code: ").await?.context("no code was typed")?.parse() {
            Ok(code) => return Ok(code),
            Err(why) => warn(why),
        }
    }
    bail!("that was no code");
}

/// The code that stdin holds, as `join -` wants it.
pub async fn piped() -> Result<Code> {
    let text = line("").await?.unwrap_or_default();
    Ok(text.parse().map_err(BadConfig::because)?)
}

/// A line from stdin, none at its end. On a thread of its own: a read cannot be given up, and must not hold up the end.
async fn line(prompt: &'static str) -> Result<Option<String>> {
    let (answer, typed) = oneshot::channel();
    std::thread::spawn(move || {
        let mut out = std::io::stdout();
        let _ = write!(out, "{prompt}").and_then(|()| out.flush());
        let mut text = String::new();
        let read = std::io::stdin().lock().take(LONGEST).read_line(&mut text);
        let _ = answer.send(read.map(|bytes| (bytes > 0).then_some(text)));
    });
    Ok(typed.await.context("the terminal has gone")??)
}
