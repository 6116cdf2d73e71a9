//! `echo-mesh top`: the mesh at work, on a terminal.

mod draw;
mod event;
mod feed;
mod pace;
mod rows;
mod state;
mod task;
#[cfg(test)]
mod tests;
mod view;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use echo_bus::process::{self, BadConfig};
use serde_json::json;
use tokio::task::JoinSet;

use crate::clean::Clean;
use crate::edge::{Edge, EdgeArgs};
use crate::screen::{self, Input, Screen};
use state::State;
use view::{Action, View};

/// How long an order may take; a node answers from memory.
const WITHIN: Duration = Duration::from_secs(5);
/// Orders that are under way at once.
const ORDERS: usize = 8;

#[derive(Debug, clap::Args)]
#[command(after_help = "The key ? shows the others. NO_COLOR=1 leaves out the colours.")]
pub struct Args {
    #[command(flatten)]
    edge: EdgeArgs,
}

pub fn main(args: Args) -> ExitCode {
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")
        .and_then(|runtime| runtime.block_on(run(&args)));
    process::ended(ended)
}

async fn run(args: &Args) -> Result<()> {
    if !Screen::is_possible() {
        let instead = "`top` draws on a terminal, and here is none: `echo-mesh status --watch` prints lines";
        return Err(BadConfig(instead.to_owned()).into());
    }
    let edge = args.edge.edge()?;
    let shutdown = process::shutdown();
    let mut screen = Screen::open().context("cannot draw on this terminal")?;
    let watched = watch(&edge, &mut screen);
    shutdown.run_until_cancelled(watched).await.unwrap_or(Ok(()))
}

/// Shows the mesh until the person has seen enough.
async fn watch(edge: &Edge, screen: &mut Screen) -> Result<()> {
    let (mut events, mut inputs) = (feed::follow(edge.clone()), screen::inputs());
    let (mut state, mut view, mut orders) = (State::default(), View::default(), JoinSet::new());
    let name = Clean::of(&edge.shown());
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        screen.draw(|frame| draw::draw(frame, &state, &view, name.as_str(), Instant::now()))?;
        tokio::select! {
            input = inputs.recv() => match input {
                None | Some(Input::Interrupt) => return Ok(()),
                Some(Input::Resized) => {}
                Some(Input::Key(key)) => match view.press(key, &state, Instant::now()) {
                    None => {}
                    Some(Action::Quit) => return Ok(()),
                    Some(_) if orders.len() >= ORDERS => view.say("Too much is under way already", Instant::now()),
                    Some(action) => { orders.spawn(order(edge.clone(), action)); }
                },
            },
            event = events.recv() => match event {
                Some(event) => state.apply(event, Instant::now()),
                None => return Ok(()),
            },
            Some(done) = orders.join_next() => view.say(done.unwrap_or_default(), Instant::now()),
            _ = ticks.tick() => state.tick(Instant::now()),
        }
    }
}

/// Does it, and says what came of it.
async fn order(edge: Edge, action: Action) -> String {
    let (asked, done) = match &action {
        Action::Quit => return String::new(),
        Action::Drain(node) => {
            let done = format!("{node} takes nothing new, and finishes what it has");
            (command(&edge, format!("/nodes/{node}/drain")).await, done)
        }
        Action::Resume(node) => {
            (command(&edge, format!("/nodes/{node}/resume")).await, format!("{node} is resumed"))
        }
        Action::Cancel(task) => {
            let path = format!("/mesh/tasks/{task}");
            let asked = tokio::time::timeout(WITHIN, edge.delete(&path)).await;
            (asked.unwrap_or_else(|_| Err(late())).map(|_| ()), "The task is cancelled".to_owned())
        }
    };
    asked.map_or_else(|error| Clean::of(&format!("Not done: {error:#}")).to_string(), |()| done)
}

async fn command(edge: &Edge, path: String) -> Result<()> {
    let asked = tokio::time::timeout(WITHIN, edge.post(&path, &json!({}))).await;
    asked.unwrap_or_else(|_| Err(late())).map(|_| ())
}

fn late() -> anyhow::Error {
    anyhow::anyhow!("the edge does not answer")
}
