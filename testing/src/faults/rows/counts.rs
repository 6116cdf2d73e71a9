//! The counts of an answer that went on from another node are those of an answer that did not.

use serde_json::{Value, json};

use super::super::{fixture::Fixture, row::Row, setting::Setting};

/// Between two texts, in milliseconds.
const PACE: u64 = 10;
/// What a machine that is busy or measures badly may add to the speed that the pace allows, as a share.
const SLACK: f64 = 0.25;
/// All that any route says of counts.
const COUNTS: [&str; 9] = [
    "/prompt_eval_count",
    "/eval_count",
    "/prompt_tokens",
    "/tokens",
    "/usage/prompt_tokens",
    "/usage/completion_tokens",
    "/usage/total_tokens",
    "/done_reason",
    "/choices/0/finish_reason",
];
const TEXTS: [&str; 7] = [
    "/message/content",
    "/response",
    "/token",
    "/content",
    "/choices/0/delta/content",
    "/choices/0/message/content",
    "/choices/0/text",
];

pub fn rows() -> Vec<Row> {
    let row = |row: Row| {
        row.says(
            "engine fails in mid-answer, asked on every route",
            "tokens, prompt tokens, limit and speed are those of an answer that was not cut",
        )
        .whole(None)
    };
    vec![
        row(Row::new("counts-ollama", Setting::Pair, counts)),
        row(Row::new("counts-llama", Setting::LlamaPair, counts)),
    ]
}

/// One answer, and what its prompt orders.
#[derive(Clone, Copy, Debug)]
struct Asked {
    path: &'static str,
    streams: bool,
    /// Each text is a character of several tokens.
    wide: bool,
    texts: u64,
    limit: Option<u64>,
}

impl Asked {
    fn body(self, fault: &str) -> Value {
        let wide = if self.wide { "[wide=1]" } else { "" };
        let prompt = format!("count [tokens={}][delay={PACE}]{wide}{fault}\n", self.texts);
        let mut body = json!({"model": "scripted", "stream": self.streams});
        match self.path {
            "/api/chat" | "/v1/chat/completions" => {
                body["messages"] = json!([{"role": "user", "content": prompt}])
            }
            _ => body["prompt"] = prompt.into(),
        }
        if self.path.starts_with("/v1") {
            body["max_tokens"] = json!(self.limit);
            body["stream_options"] = json!({"include_usage": self.streams});
        } else {
            body["options"] = json!({"num_predict": self.limit.map_or(-1, |limit| limit as i64)});
        }
        body
    }

    async fn answer(self, fixture: &Fixture, fault: &str) -> Said {
        let path = if self.path == "/task" && self.streams { "/task/stream" } else { self.path };
        let reply = fixture.mesh.client().post(path, &self.body(fault)).send().await.expect("a reply");
        let body = reply.text().await;
        let mut said = Said::default();
        for line in body.lines().map(|line| line.strip_prefix("data: ").unwrap_or(line)) {
            if let Ok(event) = serde_json::from_str(line) {
                said.add(&event);
            }
        }
        said
    }
}

/// What was heard of an answer.
#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    counts: Vec<(&'static str, Value)>,
    /// Which durations were told.
    names: Vec<String>,
    speed: Option<f64>,
    /// Whether the whole time holds all of its parts.
    adds_up: bool,
}

impl Said {
    fn add(&mut self, event: &Value) {
        self.text.extend(TEXTS.iter().find_map(|at| event.pointer(at)?.as_str()));
        for at in COUNTS {
            if let Some(count) = event.pointer(at).filter(|count| !count.is_null()) {
                self.counts.retain(|(known, _)| *known != at);
                self.counts.push((at, count.clone()));
            }
        }
        let time = |name: &str| event[name].as_u64().unwrap_or_default();
        let names = event.as_object().into_iter().flatten().map(|(name, _)| name);
        // The shortest times come and go.
        self.names.extend(
            names.filter(|name| ["total_duration", "eval_duration"].contains(&name.as_str())).cloned(),
        );
        if time("eval_duration") > 0 {
            self.speed = Some(time("eval_count") as f64 / time("eval_duration") as f64 * 1e9);
        }
        let parts = ["load_duration", "prompt_eval_duration", "eval_duration"].map(time);
        self.adds_up = parts.iter().sum::<u64>() <= time("total_duration");
    }
}

async fn counts(fixture: &Fixture) {
    for path in ["/task", "/api/generate", "/api/chat", "/v1/chat/completions", "/v1/completions"] {
        for wide in [false, true] {
            let texts = if wide { 12 } else { 30 };
            let tokens = if wide { texts * 3 } else { texts };
            let limit = (fixture.pick(0..2) == 0).then_some(tokens - 6);
            let asked = Asked { path, streams: fixture.pick(0..2) == 0, wide, texts, limit };
            let cut = fixture.pick(3..texts - 3);
            let uncut = asked.answer(fixture, "").await;
            let continued = asked.answer(fixture, &format!("[fault=error@{cut}]")).await;
            alike(fixture, asked, cut, &uncut, &continued);
        }
    }
    fixture.promise(!fixture.mesh.nodes().iter().any(|node| node.engine().counters().misfits > 0), || {
        "a broken seam".to_owned()
    });
}

fn alike(fixture: &Fixture, asked: Asked, cut: u64, uncut: &Said, continued: &Said) {
    let same = (&uncut.text, &uncut.counts, &uncut.names, uncut.adds_up)
        == (&continued.text, &continued.counts, &continued.names, continued.adds_up);
    fixture.promise(same && uncut.counts.len() > 1, || {
        format!("{asked:?} cut at {cut}: {continued:?} in place of {uncut:?}")
    });
    let width = if asked.wide { 3.0 } else { 1.0 };
    let fastest = 1e3 / PACE as f64 * width * (1.0 + SLACK);
    fixture.promise(continued.speed.is_none_or(|speed| speed < fastest), || {
        format!("{asked:?} cut at {cut}: {:?} tokens a second where {fastest} can be", continued.speed)
    });
}
