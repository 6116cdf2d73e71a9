//! Chats of several sessions on two real llama.cpp engines of different speed: how much of each prompt the engine that
//! was chosen still had, and how long people waited.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};

use crate::{
    client::Client,
    mesh::{Broker, Mesh, Program, RealEngine, holds, until_within},
};

const SESSIONS: usize = 6;
const ANSWER: u64 = 24;
/// Words of the instructions, and of each question.
const WORDS: (usize, usize) = (120, 40);
/// A busy machine is slow with the first prompt.
const CALIBRATION: Duration = Duration::from_secs(180);
/// How long a person thinks, at most and on the mean.
const THINKS: (f64, f64) = (6.0, 1.5);
/// One has a core more and does not make way for others.
const ENGINES: [&[&str]; 2] = [
    &["--slots", "2", "--context", "4096", "--metrics", "--threads", "2"],
    &["--slots", "2", "--context", "4096", "--metrics", "--nice", "10"],
];

/// What came of one run.
#[derive(Debug, Default)]
pub struct Chats {
    first: Vec<f64>,
    whole: Vec<f64>,
    /// Tokens of all prompts, and those that the engines worked off.
    prompt: u64,
    worked_off: u64,
    /// Answers of each engine; not of those whose head had to go out before it was known which.
    shares: Vec<u64>,
    failed: u64,
}

/// One answer.
struct Turn {
    content: String,
    node: String,
    first: f64,
    whole: f64,
    prompt: u64,
}

impl Chats {
    pub const HEAD: &str = "| prompt tokens cached | first token p50, p90 | whole answer mean, p90 | answers by node | failed |\n\
        |---|---|---|---|---|";

    pub fn row(&self) -> String {
        let mean = self.whole.iter().sum::<f64>() / self.whole.len().max(1) as f64;
        let cached = 100.0 * (1.0 - self.worked_off as f64 / self.prompt.max(1) as f64);
        format!(
            "| {cached:.1}% of {} | {:.2} s, {:.2} s | {mean:.2} s, {:.2} s | {:?} | {} |",
            self.prompt,
            at(&self.first, 0.5),
            at(&self.first, 0.9),
            at(&self.whole, 0.9),
            self.shares,
            self.failed
        )
    }
}

/// Plays all sessions at once. The same seed makes the same texts and pauses.
///
/// # Errors
/// When this machine cannot have the engines.
pub async fn play(seed: u64, turns: usize) -> Result<Chats, String> {
    let mesh = Mesh::start().nodes(0).await;
    let engines = join_all(ENGINES.map(RealEngine::start_with)).await;
    let engines = engines.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut agents = Vec::new();
    for (number, engine) in engines.iter().enumerate() {
        agents.push(agent(&mesh.broker, number, engine.url()).await);
    }
    until_within(CALIBRATION, "the nodes to be calibrated and idle", || async {
        let status = mesh.try_status().await?;
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let known = |node: &&Value| node["model_details"][0]["speeds"][0].is_object();
        let count = nodes.iter().filter(known).count();
        holds(count == ENGINES.len() && nodes.iter().all(|node| node["status"] == "idle"), status)
    })
    .await;
    let before = worked_off(&engines).await?;
    let sessions = (0..SESSIONS).map(|session| chat(mesh.client(), Dice::new(seed, session), session, turns));
    let answers: Vec<Option<Turn>> = join_all(sessions).await.into_iter().flatten().collect();
    let mut chats = Chats { worked_off: worked_off(&engines).await? - before, ..Chats::default() };
    chats.failed = (SESSIONS * turns - answers.iter().flatten().count()) as u64;
    for turn in answers.iter().flatten() {
        chats.first.push(turn.first);
        chats.whole.push(turn.whole);
        chats.prompt += turn.prompt;
    }
    let by = |number: usize| answers.iter().flatten().filter(|turn| turn.node == name(number)).count() as u64;
    chats.shares = (0..ENGINES.len()).map(by).collect();
    Ok(chats)
}

fn name(number: usize) -> String {
    format!("real-{number}")
}

async fn agent(broker: &Broker, number: usize, engine_url: &str) -> Program {
    let (name, nats) = (name(number), broker.url());
    let args = ["--nats", &nats, "--node", &name, "--engine", "openai", "--engine-url", engine_url];
    let args = args.into_iter().chain(["--listen", "127.0.0.1:0"]).map(str::to_owned).collect();
    let agent = Program::new(format!("agent {name}"), "agent", args);
    agent.start().await;
    agent
}

/// Prompt tokens that the engines have worked off so far, by their own count.
async fn worked_off(engines: &[RealEngine]) -> Result<u64, String> {
    let mut sum = 0;
    for engine in engines {
        let address = engine.url().trim_start_matches("http://").parse().map_err(|_| "an odd address")?;
        let metrics = Client::new(address).get("/metrics").send().await.map_err(|error| error.to_string())?;
        let text = metrics.text().await;
        let count = text.lines().find_map(|line| line.strip_prefix("llamacpp:prompt_tokens_total "));
        sum += count.and_then(|count| count.parse::<f64>().ok()).ok_or("no count of prompt tokens")? as u64;
    }
    Ok(sum)
}

/// One person's conversation; a turn that failed is absent and ends it.
async fn chat(client: Client, mut dice: Dice, session: usize, most: usize) -> Vec<Option<Turn>> {
    let system = format!("You are the helper number {session}. {}", dice.words(WORDS.0));
    let mut messages = vec![json!({"role": "system", "content": system})];
    let mut turns = Vec::new();
    while turns.len() < most {
        tokio::time::sleep(dice.pause()).await;
        messages.push(json!({"role": "user", "content": dice.words(WORDS.1)}));
        let turn = ask(client, &messages).await;
        let Some(answered) = &turn else { break };
        messages.push(json!({"role": "assistant", "content": answered.content}));
        turns.push(turn);
    }
    turns
}

async fn ask(client: Client, messages: &[Value]) -> Option<Turn> {
    let options = json!({"num_predict": ANSWER, "temperature": 0});
    let body = json!({"model": "smollm2", "messages": messages, "options": options});
    let asked = Instant::now();
    let mut reply = client.post("/api/chat", &body).send().await.ok()?;
    let node = reply.header("x-echo-node").to_owned();
    let (mut text, mut first) = (Vec::new(), None);
    while let Ok(Some(bytes)) = reply.chunk().await {
        text.extend_from_slice(&bytes);
        // A stream that has to wait says lines without text.
        if first.is_none() && says_something(&text) {
            first = Some(asked.elapsed().as_secs_f64());
        }
    }
    let lines =
        String::from_utf8_lossy(&text).lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
    let lines = lines.ok()?;
    let end = lines.last().filter(|end| end["done"] == true)?;
    let said = lines.iter().filter_map(|line| line["message"]["content"].as_str());
    Some(Turn {
        content: said.collect(),
        node,
        first: first?,
        whole: asked.elapsed().as_secs_f64(),
        prompt: end["prompt_eval_count"].as_u64()?,
    })
}

fn says_something(lines: &[u8]) -> bool {
    let lines =
        lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let mut said = lines.filter_map(|line| line["message"]["content"].as_str().map(str::is_empty));
    said.any(|is_empty| !is_empty)
}

fn at(times: &[f64], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() as f64 * share) as usize).copied().unwrap_or_default()
}

/// Chance that is the same each time.
struct Dice(u64);

impl Dice {
    fn new(seed: u64, session: usize) -> Self {
        Self(seed.wrapping_mul(1_000_003).wrapping_add(session as u64 + 1))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    }

    fn words(&mut self, count: usize) -> String {
        const LIST: [&str; 16] = [
            "harbour", "lantern", "keeper", "storm", "letter", "island", "engine", "bread", "signal",
            "winter", "boat", "morning", "mirror", "ladder", "coast", "journey",
        ];
        let words: Vec<&str> = (0..count).map(|_| LIST[(self.next() >> 40) as usize % LIST.len()]).collect();
        words.join(" ")
    }

    fn pause(&mut self) -> Duration {
        let (most, mean) = THINKS;
        let even = ((self.next() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        Duration::from_secs_f64((-even.ln() * mean).min(most))
    }
}
