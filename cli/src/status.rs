//! `echo-mesh status`: what runs here, then the mesh as a table.

mod report;

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use echo_bus::process;
use ratatui::crossterm::event::KeyCode;
use ratatui::text::Text;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clean::{self, Clean};
use crate::edge::{Edge, EdgeArgs};
use crate::here::{Here, here};
use crate::say::{heard, is_watched, say, warn};
use crate::screen::{self, Input, Screen};
use crate::table;
use report::Report;

/// How long the edge may take; it asks an orchestrator, for two seconds at most.
const WITHIN: Duration = Duration::from_secs(5);
/// How often `--watch` asks.
const EACH: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 if at least one node can take work (with --watch: when it was seen last), else 1."
)]
pub struct Args {
    #[command(flatten)]
    edge: EdgeArgs,

    /// Print what the edge says as JSON, and what runs here as `here`
    #[arg(long)]
    json: bool,

    /// Show it again every second, until q or Ctrl-C
    #[arg(long, short)]
    watch: bool,
}

pub fn main(args: Args) -> ExitCode {
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")
        .and_then(|runtime| runtime.block_on(run(&args)));
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => process::ended(Err(error)),
    }
}

/// Whether a node can take work, as it was seen last.
async fn run(args: &Args) -> Result<bool> {
    let edge = args.edge.edge()?;
    let run = args.edge.run.dir()?;
    let ask = || async {
        let here = here(&run);
        // A machine that has joined may know no edge that it can reach.
        let agent = here.as_ref().filter(|here| args.edge.url.is_none() && here.needs_agent);
        let told = match agent {
            Some(here) => ask_agent(here).await.map_err(|error| format!("{error:#}")),
            None => ask(&edge).await,
        };
        Seen { here, told }
    };
    if !args.watch {
        let seen = ask().await;
        seen.print(args.json);
        return Ok(seen.can_work());
    }
    let shutdown = process::shutdown();
    if is_watched() && Screen::is_possible() && !args.json {
        return on_screen(ask, shutdown).await;
    }
    in_blocks(ask, args.json, shutdown).await
}

/// Draws it again and again.
async fn on_screen(ask: impl AsyncFn() -> Seen, shutdown: CancellationToken) -> Result<bool> {
    let mut screen = Screen::open().context("cannot draw on this terminal")?;
    let mut inputs = screen::inputs();
    // An edge that is slow to answer keeps no key waiting.
    let (tell, mut told) = mpsc::channel(1);
    let mut asking = pin!(async {
        let mut ticks = tokio::time::interval(EACH);
        loop {
            ticks.tick().await;
            let _ = tell.send(ask().await).await;
        }
    });
    let mut seen = Seen { here: None, told: Err("asking …".to_owned()) };
    loop {
        screen.draw(|frame| {
            let lines = seen.lines(frame.area().width.into());
            frame.render_widget(Text::from_iter(lines), frame.area());
        })?;
        tokio::select! {
            () = shutdown.cancelled() => break,
            input = inputs.recv() => match input {
                None | Some(Input::Interrupt | Input::Key(KeyCode::Char('q') | KeyCode::Esc)) => break,
                Some(_) => {}
            },
            Some(news) = told.recv() => seen = news,
            () = &mut asking => {}
        }
    }
    Ok(seen.can_work())
}

/// Prints it again and again: a block each, or a line of JSON.
async fn in_blocks(ask: impl AsyncFn() -> Seen, as_json: bool, shutdown: CancellationToken) -> Result<bool> {
    let mut ticks = tokio::time::interval(EACH);
    let mut can_work = false;
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let Some(seen) = shutdown.run_until_cancelled(ask()).await else { break };
        can_work = seen.can_work();
        let is_heard = if as_json {
            heard(clean::json(&seen.json()))
        } else {
            let mut lines = seen.lines(table::width());
            lines.push(String::new());
            heard(lines.join("\n"))
        };
        // Whoever read it has seen enough.
        if !is_heard {
            break;
        }
    }
    Ok(can_work)
}

async fn ask(edge: &Edge) -> Result<Value, String> {
    match tokio::time::timeout(WITHIN, edge.told("/status")).await {
        Ok(Ok(told)) if !told["nodes"].is_array() => {
            Err(format!("what answers at {} is no edge of a mesh: name one with --edge", edge.shown()))
        }
        Ok(told) => told.map_err(|error| format!("{error:#}")),
        Err(_) => Err(format!("the edge at {} does not answer", edge.shown())),
    }
}

/// The mesh as its orchestrator knows it, by an agent of this machine: what an edge shows.
async fn ask_agent(here: &Here) -> Result<Value> {
    let (_, agent) = here.agents.first().context("this machine has no node in the mesh")?;
    let told = tokio::time::timeout(WITHIN, Edge::own(agent.parse()?)?.told("/mesh")).await;
    let told = told.context("the agent here does not answer")?.context("the agent here cannot be asked")?;
    match told["error"].as_str() {
        None => Ok(told),
        Some(error) => anyhow::bail!("{error}: `echo-mesh logs` shows what the agent says"),
    }
}

/// What there was to see at one time.
struct Seen {
    here: Option<Here>,
    told: Result<Value, String>,
}

impl Seen {
    fn can_work(&self) -> bool {
        self.told.as_ref().is_ok_and(|told| Report::read(told).can_work())
    }

    fn print(&self, as_json: bool) {
        if as_json {
            return say(clean::json(&self.json()));
        }
        match &self.told {
            Ok(_) => self.lines(table::width()).iter().for_each(say),
            Err(error) => {
                self.here_lines(table::width()).iter().for_each(say);
                warn(format_args!("error: {}", Clean::of(error)));
            }
        }
    }

    fn lines(&self, width: usize) -> Vec<String> {
        let mut lines = self.here_lines(width);
        match &self.told {
            Ok(told) => lines.extend(Report::read(told).lines(width)),
            Err(error) => lines.extend(table::wrap(Clean::of(error).as_str(), width, 6)),
        }
        lines
    }

    fn here_lines(&self, width: usize) -> Vec<String> {
        let Some(here) = &self.here else { return Vec::new() };
        let lines = here.lines.iter().map(|line| table::fit(Clean::of(line).as_str(), width));
        lines.chain([String::new()]).collect()
    }

    /// The edge's own JSON, and what runs here.
    fn json(&self) -> Value {
        let mut whole = match &self.told {
            Ok(told) => told.clone(),
            Err(error) => {
                json!({"nodes": [], "node_count": 0, "success": false, "code": "no_edge", "error": error})
            }
        };
        if let Some(whole) = whole.as_object_mut() {
            whole.insert("here".to_owned(), self.here.as_ref().map_or(Value::Null, |here| here.json.clone()));
        }
        whole
    }
}
