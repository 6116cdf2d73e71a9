//! The scripted engine as a program: flags become a script; the address it listens on is its one line on stdout.

use std::{io::Write, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use echo_scripted_engine::{Api, Engine, Model, OnDeath, Script};

#[derive(Clone, Copy, ValueEnum)]
enum Speaks {
    Ollama,
    Openai,
    Both,
}

/// An engine that answers with numbered tokens, for tests and benchmarks.
#[derive(Parser)]
struct Flags {
    /// Where to listen; port 0 lets the kernel choose.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    #[arg(long, value_enum, default_value = "both")]
    api: Speaks,
    /// A generating model; may be given several times.
    #[arg(long)]
    model: Vec<String>,
    /// An embedding model; may be given several times.
    #[arg(long)]
    embedding_model: Vec<String>,
    /// A capability that every generating model has besides completion and tools, such as vision or thinking.
    #[arg(long)]
    capability: Vec<String>,
    /// Requests that run at once.
    #[arg(long, default_value_t = 1)]
    slots: usize,
    /// Tokens of an answer.
    #[arg(long, default_value_t = 16)]
    tokens: u64,
    #[arg(long, default_value_t = 1)]
    tokens_per_chunk: u64,
    /// Milliseconds before the first token.
    #[arg(long, default_value_t = 0)]
    first_token_delay: u64,
    /// Milliseconds between tokens.
    #[arg(long, default_value_t = 0)]
    token_delay: u64,
    /// Milliseconds that loading a model takes.
    #[arg(long, default_value_t = 0)]
    load_delay: u64,
    /// Chunks that may share one write while there is no delay.
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// A JSON file with fields of the script, applied after the flags; `GET /script` shows them all.
    #[arg(long)]
    script: Option<PathBuf>,
    /// Threads that answer; one is what an engine on a small machine should take.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

impl Flags {
    fn script(self) -> anyhow::Result<Script> {
        let api = match self.api {
            Speaks::Ollama => Api::Ollama,
            Speaks::Openai => Api::Openai,
            Speaks::Both => Api::Both,
        };
        let able = |model: Model| self.capability.iter().fold(model, |model, word| model.able(word));
        let mut models: Vec<_> = self.model.iter().map(|name| able(Model::named(name))).collect();
        models.extend(self.embedding_model.iter().map(Model::embedding));
        if models.is_empty() {
            models.push(able(Model::default()));
        }
        let script = Script {
            api,
            models,
            slots: self.slots,
            tokens: self.tokens,
            tokens_per_chunk: self.tokens_per_chunk,
            first_token_delay: Duration::from_millis(self.first_token_delay),
            token_delay: Duration::from_millis(self.token_delay),
            load_delay: Duration::from_millis(self.load_delay),
            batch: self.batch,
            ..Script::default()
        };
        let Some(path) = self.script else { return Ok(script) };
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let patch = serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
        match script.patched(&patch) {
            Ok(script) => Ok(script),
            Err(error) => bail!("{} is not a script: {error}", path.display()),
        }
    }
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let mut runtime = match flags.threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        threads => {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            runtime.worker_threads(threads);
            runtime
        }
    };
    let runtime = runtime.enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(run(flags))
}

async fn run(flags: Flags) -> anyhow::Result<()> {
    let listen = flags.listen.clone();
    let script = flags.script()?;
    let mut stop = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let started = Engine::listen(&listen, script, OnDeath::Exit).await;
    let engine = started.with_context(|| format!("cannot listen on {listen}; is the port taken?"))?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", engine.addr())?;
    stdout.flush()?;
    tokio::select! {
        ended = engine.ended() => Ok(ended?),
        _ = stop.recv() => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}
