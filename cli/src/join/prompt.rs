//! Asks the person for the code.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use echo_bus::process::BadConfig;
use tokio::sync::oneshot;

use super::code::Code;
use crate::say::{say, warn};

/// A typing error is told each time; whoever types more of them has another problem.
const TRIES: usize = 5;

/// Says which meshes were found, and asks for the code.
pub async fn code(found: Vec<SocketAddr>) -> Result<Code> {
    let found: Vec<String> = found.iter().map(SocketAddr::to_string).collect();
    let seen = match found.is_empty() {
        true => "no mesh is announced on this network; a code says where its mesh is".to_owned(),
        false => format!("there is a mesh on this network, at {}", found.join(" and ")),
    };
    if !std::io::stdin().is_terminal() {
        let sentence = format!(
            "{seen}. To join, run `echo-mesh invite` on a machine of the mesh, and `echo-mesh join CODE` here with \
             the code that it shows"
        );
        return Err(BadConfig(sentence).into());
    }
    say(format_args!(
        "To join: {seen}. Run `echo-mesh invite` on a machine of the mesh, and type its code here."
    ));
    for _ in 0..TRIES {
        match line().await?.parse() {
            Ok(code) => return Ok(code),
            Err(why) => warn(why),
        }
    }
    bail!("that was no code");
}

/// A line from the terminal, on a thread of its own: a read cannot be given up, and must not hold up the end.
async fn line() -> Result<String> {
    let (answer, typed) = oneshot::channel();
    std::thread::spawn(move || {
        let mut out = std::io::stdout();
        let _ = write!(out, "Code: ").and_then(|()| out.flush());
        let mut text = String::new();
        let read = std::io::stdin().lock().read_line(&mut text);
        let _ = answer.send(read.map(|bytes| (bytes > 0).then_some(text)));
    });
    typed.await.context("the terminal has gone")??.context("no code was typed")
}
