//! A mesh from its start to its end, in one process that does nothing else: its supervisor.

mod engines;
mod guests;
mod member;
mod server;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use echo_bus::message::unix_millis;
use echo_bus::process::BadConfig;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::keys::Keys;
use super::parts::Parts;
use super::plan::{self, From, Own, Plan};
use super::ready;
use super::signals::Signals;
use super::summary;
use super::voice::Voice;
use crate::down;
use crate::keys::local;
use crate::log_file::LogFile;
use crate::place::{self, Place};
use crate::process::Process;
use crate::record::{self, Lock, Record};
use crate::supervise::{Children, Event, Kept, Spec};
use guests::Guests;

/// How often it is looked whether what is waited for is there.
const LOOK: Duration = Duration::from_millis(50);
/// How often the logs are looked at.
const TRIM: Duration = Duration::from_secs(10);
/// A start takes seconds; on a machine that is busy beyond measure it takes a while.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many lines of a part that has died are shown.
const LAST_LINES: usize = 20;
/// Which mesh writes its logs in a folder.
const LOGS_OWNER: &str = ".mesh";

/// Starts everything, keeps it up until it is told to stop, and stops it. Whatever happens, nothing is left running.
pub async fn run(plan: Plan, place: Place, patience: Duration, voice: &mut Voice) -> Result<()> {
    let signals = Signals::new()?;
    let lock = Lock::take(&place.run).with_context(|| format!("cannot write in {}", place.run.display()))?;
    let Some(_lock) = lock else {
        bail!("another start of this mesh is under way in {}", place.run.display());
    };
    claim_logs(&place)?;
    let keys = Keys::of(&plan.mesh, &plan.nodes)?;
    let record = begun(&plan, &place, &keys)?;
    record.write(&place.run).context("cannot write what runs")?;
    let children = Children::new(&place.logs)?;
    let program = std::env::current_exe().context("this program's own file cannot be found")?;
    voice.says(&plan.why);
    let mut mesh = Mesh { plan, keys, place, patience, voice, program, children, record, signals };
    let ended = mesh.live().await;
    let stopped = mesh.stop().await;
    if let (Err(_), Err(left)) = (&ended, &stopped) {
        mesh.voice.warns(left);
    }
    ended.and(stopped)
}

/// Two meshes must not write over each other's logs.
fn claim_logs(place: &Place) -> Result<()> {
    let logs = place.logs.display();
    place::make(&place.logs).with_context(|| format!("cannot make {logs}"))?;
    let path = place.logs.join(LOGS_OWNER);
    let owner = fs::read_to_string(&path).map(|text| PathBuf::from(text.trim())).ok();
    let other = owner.filter(|owner| *owner != place.run);
    if let Some(other) = other.filter(|other| Record::known(other).is_some_and(|it| it.supervisor.runs())) {
        return Err(BadConfig(format!(
            "{logs} holds the logs of another running mesh ({}): choose another folder with --log-dir \
             (ECHO_LOG_DIR)",
            other.display()
        ))
        .into());
    }
    fs::write(&path, format!("{}\n", place.run.display())).with_context(|| format!("cannot write in {logs}"))
}

fn begun(plan: &Plan, place: &Place, keys: &Keys) -> Result<Record> {
    let nodes = plan.nodes.iter().map(|node| record::Node {
        id: node.id.to_string(),
        agent: format!("http://{}", summary::near(node.listen)),
        engine: node.engine.url.as_str().trim_end_matches('/').to_owned(),
        api: node.engine.api.as_str().to_owned(),
        ours: node.engine.from != From::Found,
        serves: record::Serves::Unknown,
    });
    let (edge, bus, model) = match &plan.mesh {
        plan::Mesh::Own(own) => {
            (Some(format!("{}://{}", own.scheme(), summary::near(own.edge))), None, own.model.clone())
        }
        plan::Mesh::Joined(joined) => (joined.edge.clone(), Some(joined.nats.clone()), None),
    };
    Ok(Record {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since: unix_millis(),
        ready: false,
        stopping: false,
        supervisor: Process::own().context("this process cannot be found")?,
        parts: Vec::new(),
        logs: place.logs.clone(),
        edge,
        bus,
        monitor: None,
        joined: matches!(plan.mesh, plan::Mesh::Joined(_)),
        nodes: nodes.collect(),
        model,
        access: keys.operator(),
        why: plan.why.clone(),
    })
}

struct Mesh<'a> {
    plan: Plan,
    keys: Keys,
    place: Place,
    /// How long a part may take to end.
    patience: Duration,
    voice: &'a mut Voice,
    /// This program, which is every part.
    program: PathBuf,
    children: Children,
    record: Record,
    signals: Signals,
}

impl Mesh<'_> {
    async fn live(&mut self) -> Result<()> {
        self.start().await?;
        self.record.ready = true;
        self.write();
        let (guests, code) = self.invite().await?.unzip();
        self.voice.ready(code.clone());
        if self.voice.is_terminal() {
            summary::print(&self.record, &self.place);
            summary::print_code(code.as_ref());
        }
        self.serve(guests).await;
        Ok(())
    }

    /// Starts the parts, each when what it needs is there, and comes back when all nodes can answer.
    async fn start(&mut self) -> Result<()> {
        self.start_engines().await?;
        match self.plan.mesh.clone() {
            plan::Mesh::Own(own) => self.start_mesh(&own).await,
            plan::Mesh::Joined(joined) => self.start_members(&joined).await,
        }
    }

    async fn start_mesh(&mut self, own: &Own) -> Result<()> {
        let server = self.find_server().await?;
        let ready = self.place.run.join(record::BUS);
        let _ = fs::remove_file(&ready);
        self.add(self.parts().broker(&own.broker, &server, &ready)).await?;
        let bus = self.until("the broker", async || ready::bus(&ready)).await?;
        (self.record.bus, self.record.monitor) = (Some(bus.nats.clone()), bus.monitor.clone());
        self.add(self.parts().orchestrator(own, &bus.nats)).await?;
        self.start_agents(&bus.nats).await?;
        if own.wants_keys(&self.place) {
            local::ensure(&self.place.run).context("the keys of the edge's clients")?;
        }
        self.add(self.parts().edge(own, &bus.nats)).await?;
        let edge = self.record.edge.as_deref();
        let nodes = ready::Nodes::of(&self.plan.nodes, own.model.as_ref(), edge, &self.place.run)?;
        let serve = self.until(&nodes.to_string(), async || nodes.look().await).await?;
        self.record.nodes.iter_mut().zip(serve).for_each(|(node, serves)| node.serves = serves);
        Ok(())
    }

    async fn start_agents(&mut self, bus: &str) -> Result<()> {
        for at in 0..self.plan.nodes.len() {
            let spec = self.parts().agent(&self.plan.nodes[at], bus);
            self.add(spec).await?;
        }
        Ok(())
    }

    fn parts(&self) -> Parts<'_> {
        Parts { program: &self.program, plan: &self.plan, keys: &self.keys, place: &self.place }
    }

    async fn add(&mut self, spec: Spec) -> Result<()> {
        let name = spec.name.clone();
        self.voice.waits(format!("Starting {name}"), "");
        let added = self.children.add(spec).await;
        self.write();
        added.with_context(|| format!("{name} cannot be started"))
    }

    /// Asks until it is so.
    async fn until<T>(&mut self, what: &str, ask: impl AsyncFn() -> Result<T, String>) -> Result<T> {
        let begun = Instant::now();
        let mut seen = String::new();
        while begun.elapsed() < PATIENCE {
            self.voice.waits(format!("Waiting for {what}"), &seen);
            let asked = async {
                let answer = ask().await;
                if answer.is_err() {
                    sleep(LOOK).await;
                }
                Ok(answer)
            };
            match self.watched(what, asked).await? {
                Ok(answer) => return Ok(answer),
                Err(now) => seen = now,
            }
        }
        let (waited, logs) = (PATIENCE.as_secs(), self.place.logs.display());
        bail!("gave up after {waited} s of waiting for {what}; last seen: {seen}. The logs are in {logs}");
    }

    /// Does one thing of the start. A part that dies meanwhile ends the start, and so does a signal.
    async fn watched<T>(&mut self, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.signals.next() => bail!("interrupted before the mesh was up"),
            event = self.children.next() => Err(self.died(&event, what)),
            done = work => done,
        }
    }

    fn died(&self, event: &Event, what: &str) -> anyhow::Error {
        let (Event::Ended { at, .. } | Event::Due { at }) = event;
        let how = if let Event::Ended { how, .. } = event { how } else { "not started" };
        let part = self.children.get(*at);
        let lines = part.last_lines(LAST_LINES);
        let (name, log) = (part.name(), part.log().path().display());
        if lines.is_empty() {
            return anyhow!(
                "{name} ended ({how}) while this start waited for {what}. Its log, {log}, is empty"
            );
        }
        let lines = lines.join("\n    ");
        anyhow!(
            "{name} ended ({how}) while this start waited for {what}.\nThe last lines of {log}:\n    {lines}"
        )
    }

    /// Until a signal comes.
    async fn serve(&mut self, mut guests: Option<Guests>) {
        let mut trim = interval(TRIM);
        trim.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.signals.next() => return,
                event = self.children.next() => self.apply(event).await,
                said = guests::said(&mut guests) => self.voice.says(said),
                _ = trim.tick() => self.trim_logs(),
            }
        }
    }

    async fn apply(&mut self, event: Event) {
        match event {
            Event::Ended { at, how, bad_config } => self.ended(at, &how, bad_config),
            Event::Due { at } => match self.children.again(at).await {
                Ok(()) => {
                    let part = self.children.get(at);
                    let pid = part.process.as_ref().map(|process| process.pid).unwrap_or_default();
                    self.voice.warns(format!("{} runs again (pid {pid})", part.name()));
                }
                Err(error) => self.ended(at, &format!("cannot be started: {error}"), false),
            },
        }
        self.write();
    }

    /// Says what has happened to a part, and when it is tried again.
    fn ended(&mut self, at: usize, how: &str, bad_config: bool) {
        let pause = self.children.plan(at, bad_config).as_secs_f64();
        let part = self.children.get(at);
        let name = part.name();
        let last = part.last_lines(1).pop();
        let last = last.map_or_else(String::new, |line| format!(" Its last line: {line}"));
        self.voice.warns(if bad_config {
            format!("{name} cannot run as it is configured, and is tried again in {pause} s.{last}")
        } else {
            format!("{name} ended unasked ({how}) and is started again in {pause} s.{last}")
        });
    }

    /// Stops all parts, the last started first. A second signal ends them at once.
    ///
    /// # Errors
    /// One of them still runs, and stays on record.
    async fn stop(&mut self) -> Result<()> {
        self.record.stopping = true;
        self.write();
        if self.children.iter().next().is_some() {
            self.voice.says("Stopping; a second signal ends it at once.");
        }
        let mut left = Vec::new();
        loop {
            tokio::select! {
                biased;
                stopped = self.children.stop_last(self.patience) => match stopped {
                    Some(stopped) => {
                        self.voice.says(stopped.said);
                        left.extend(stopped.left);
                    }
                    None => break,
                },
                () = self.signals.next() => {
                    self.voice.warns("A second signal: SIGKILL for all that is left.");
                    self.children.kill();
                }
            }
        }
        let _ = fs::remove_file(self.place.logs.join(LOGS_OWNER));
        if !left.is_empty() {
            left.reverse();
            self.record.parts = left;
            self.record.write(&self.place.run).context("cannot write what still runs")?;
            return down::all_stopped(&self.record.parts);
        }
        Record::remove(&self.place.run);
        self.voice.says("Stopped.");
        Ok(())
    }

    fn trim_logs(&mut self) {
        let own = LogFile::of(&self.place.logs, "up").trim();
        if let Err(error) = own.and_then(|()| self.children.trim_logs()) {
            self.voice
                .warns(format!("the logs in {} cannot be kept short: {error}", self.place.logs.display()));
        }
    }

    /// Writes down what runs.
    fn write(&mut self) {
        self.record.parts = self.children.iter().filter_map(Kept::part).collect();
        if let Err(error) = self.record.write(&self.place.run) {
            self.voice.warns(format!("cannot write down what runs in {}: {error}", self.place.run.display()));
        }
    }
}
