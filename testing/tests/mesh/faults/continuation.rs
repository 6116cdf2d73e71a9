//! A node dies in mid-answer, on each kind of engine, whatever was going on: the answer goes on, begins anew, or ends with
//! an error that says what was going on. The table in docs/faults.md has the same rows.

use echo_scripted_engine::{Api, Fault, FaultKind, Model, Script};
use echo_testing::{client::Reply, mesh::Mesh};
use serde_json::{Value, json};

/// Thoughts and texts of each answer.
const LENGTH: u64 = 7;
/// So much has been seen when the node dies.
const SEEN: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Doing {
    Text,
    Thoughts,
    /// Text, after thoughts.
    Answer,
    /// The first of several tool calls has been sent.
    Called,
    /// Text has been sent, and of the tool calls nothing yet, though the engine writes them.
    Calling,
    Raw,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// The client has every thought, text and call once.
    GoesOn,
    /// The same, from a node that knew of nothing.
    BeginsAnew,
    /// One error with these words, and no end that looks finished.
    Ends(&'static str),
}
use Doing::{Answer, Called, Calling, Raw, Text, Thoughts};
use Outcome::{BeginsAnew, Ends, GoesOn};

#[derive(Clone, Copy, Debug)]
struct Row {
    doing: Doing,
    tools: bool,
    images: bool,
    format: bool,
    /// The client waits for the whole answer, so it has read nothing.
    unread: bool,
    outcome: Outcome,
}

const fn row(doing: Doing, outcome: Outcome) -> Row {
    Row { doing, tools: false, images: false, format: false, unread: false, outcome }
}

impl Row {
    const fn tools(mut self) -> Self {
        self.tools = true;
        self
    }

    const fn images(mut self) -> Self {
        self.images = true;
        self
    }

    const fn format(mut self) -> Self {
        self.format = true;
        self
    }

    const fn unread(mut self) -> Self {
        self.unread = true;
        self
    }

    const fn thinks(self) -> bool {
        matches!(self.doing, Thoughts | Answer)
    }

    const fn calls(self) -> bool {
        matches!(self.doing, Called | Calling)
    }

    /// After so many chunks the engine stands still, so that its node dies in the middle however slow the machine is.
    fn stalls_at(self, api: Api) -> u64 {
        let (seen, calling) = (SEEN as u64 + 1, u64::from(api != Api::Ollama));
        match self.doing {
            Text | Thoughts | Raw => seen,
            Answer => LENGTH + seen,
            Called => LENGTH + 1,
            Calling => LENGTH + calling,
        }
    }

    fn path(self) -> &'static str {
        if self.doing == Raw { "/api/generate" } else { "/api/chat" }
    }

    fn body(self) -> Value {
        let tool = if self.tools { "[tool=now]" } else { "" };
        let thoughts = if self.thinks() { LENGTH } else { 0 };
        let prompt = format!("count [tokens={LENGTH}][thoughts={thoughts}][delay=5]{tool}\n");
        let mut body = json!({"model": "scripted", "stream": !self.unread, "options": {"temperature": 0}});
        if self.doing == Raw {
            (body["prompt"], body["raw"]) = (prompt.into(), true.into());
            return body;
        }
        body["messages"] = json!([{"role": "user", "content": prompt}]);
        body["think"] = self.thinks().into();
        if self.images {
            body["messages"][0]["images"] = json!(["iVBORw0KGgo="]);
        }
        if self.tools || self.calls() {
            body["tools"] = json!([{"type": "function", "function": {"name": "now",
                "parameters": {"type": "object", "properties": {}}}}]);
        }
        if self.format {
            body["format"] = "json".into();
        }
        body
    }
}

/// What a client heard.
#[derive(Debug, Default)]
struct Heard {
    text: String,
    thoughts: String,
    calls: usize,
    ends: usize,
    errors: Vec<String>,
    rest: String,
}

impl Heard {
    fn add(&mut self, bytes: &[u8]) {
        self.rest.push_str(std::str::from_utf8(bytes).expect("UTF-8"));
        while let Some((line, rest)) = self.rest.split_once('\n') {
            let said: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
            self.rest = rest.to_owned();
            self.line(&said);
        }
    }

    fn line(&mut self, said: &Value) {
        let text = |at: &str| said.pointer(at).and_then(Value::as_str).unwrap_or_default();
        self.text += text("/message/content");
        self.text += text("/response");
        self.thoughts += text("/message/thinking");
        self.calls += said.pointer("/message/tool_calls").and_then(Value::as_array).map_or(0, Vec::len);
        self.ends += usize::from(said["done"] == true);
        self.errors.extend(said["error"].as_str().map(str::to_owned));
    }

    fn has(&self, doing: Doing) -> bool {
        let words = |text: &str| text.split_whitespace().count() >= SEEN;
        match doing {
            Thoughts => words(&self.thoughts),
            Called => self.calls > 0,
            Calling => self.text.split_whitespace().count() as u64 == LENGTH,
            Text | Answer | Raw => words(&self.text),
        }
    }
}

async fn read(reply: &mut Reply, heard: &mut Heard, until: impl Fn(&Heard) -> bool) {
    while !until(heard) {
        let Some(bytes) = reply.chunk().await.expect("a body that does not break off") else { return };
        heard.add(&bytes);
    }
}

/// Only what is asked from now on answers without a stop.
fn heal(mesh: &Mesh) {
    mesh.nodes().iter().for_each(|node| node.engine().heal());
}

/// Asks, and kills the node that answers once so much has come.
async fn play(mesh: &Mesh, row: Row) -> Heard {
    for node in mesh.nodes() {
        let engine = node.engine();
        engine.fault(Fault::at(FaultKind::Stall, row.stalls_at(engine.script().api)));
    }
    let (call, mut heard) = (mesh.client().post(row.path(), &row.body()), Heard::default());
    if row.unread {
        let asked = tokio::spawn(call.send());
        let node = in_the_middle(mesh).await;
        heal(mesh);
        mesh.node(&*node).kill().await;
        let (reply, ()) = tokio::join!(asked, mesh.node(&*node).start());
        heard.line(&reply.expect("no panic").expect("a reply").json().await);
    } else {
        let mut reply = call.send().await.expect("a reply");
        if reply.status() != 200 {
            panic!("{row:?}: {}", reply.text().await);
        }
        read(&mut reply, &mut heard, |heard| heard.has(row.doing)).await;
        let node = reply.header("x-echo-node").to_owned();
        heal(mesh);
        mesh.node(&*node).kill().await;
        tokio::join!(read(&mut reply, &mut heard, |_| false), mesh.node(&*node).start());
    }
    mesh.is_whole().await;
    heard
}

/// The node whose engine has made some of an answer.
async fn in_the_middle(mesh: &Mesh) -> String {
    let made = || -> u64 { mesh.nodes().iter().map(|node| node.engine().counters().tokens).sum() };
    let enough = made() + SEEN as u64;
    mesh.until("a node to be in the middle of the answer", || async {
        let busy = mesh.nodes().iter().find(|node| node.engine().counters().running > 0);
        let busy = busy.filter(|_| made() >= enough).map(|node| node.id().to_owned());
        busy.ok_or_else(|| format!("{} tokens of {enough}", made()))
    })
    .await
}

fn judge(mesh: &Mesh, engine: &str, row: Row, resumed: u64, heard: &Heard) {
    let what = || format!("{engine}, {row:?}: {heard:?}");
    let now: u64 = mesh.nodes().iter().map(|node| node.engine().counters().resumed).sum();
    if let Ends(words) = row.outcome {
        assert_eq!((heard.ends, heard.errors.len()), (0, 1), "{}", what());
        for words in [words, "ask again", "what broke it off: node"] {
            assert!(heard.errors[0].contains(words), "no {words:?}: {}", what());
        }
        return;
    }
    let all = |name: &str| (0..LENGTH).map(|index| format!("{name}{index} ")).collect::<String>();
    let text = if row.format { format!("{{\"text\":\"{}\"}}", all("t")) } else { all("t") };
    assert_eq!(heard.text.trim_end_matches('\n'), text, "{}", what());
    let thoughts = if row.thinks() { all("h") } else { String::new() };
    assert_eq!(heard.thoughts.trim_end_matches('\n'), thoughts, "{}", what());
    let calls = match row.doing {
        Calling => CALLS,
        _ => usize::from(row.tools),
    };
    assert_eq!((heard.calls, heard.ends, heard.errors.len()), (calls, 1, 0), "{}", what());
    assert_eq!(now > resumed, row.outcome == GoesOn, "whether it went on, or began anew: {}", what());
    let misfits: u64 = mesh.nodes().iter().map(|node| node.engine().counters().misfits).sum();
    assert_eq!(misfits, 0, "a broken seam: {}", what());
}

/// All rows of engines that are set up alike.
async fn holds_on(engine: &str, change: impl FnOnce(&mut Script), rows: &[Row]) {
    let mesh = Mesh::start().script(|script| {
        script.models = vec![Model::named("scripted").able("thinking").able("vision")];
        change(script);
    });
    let mesh = mesh.await;
    for row in rows {
        let api = mesh.engine(0).script().api;
        for node in mesh.nodes() {
            node.engine()
                .edit(|script| script.tool_chunks = if row.calls() { calls(api) } else { Vec::new() });
        }
        let resumed = mesh.nodes().iter().map(|node| node.engine().counters().resumed).sum();
        let heard = play(&mesh, *row).await;
        judge(&mesh, engine, *row, resumed, &heard);
    }
    mesh.is_quiet().await;
}

const CALLS: usize = 3;

/// Tool calls that come one after the other, in the words of the API.
fn calls(api: Api) -> Vec<Value> {
    let call = |index: usize| match api {
        Api::Ollama => json!([{"function": {"index": index, "name": "now", "arguments": {}}}]),
        _ => {
            json!([{"index": index, "id": format!("c{index}"), "function": {"name": "now", "arguments": "{}"}}])
        }
    };
    (0..CALLS).map(call).collect()
}

const FORMAT: Outcome = Ends("under a JSON format");
const NO_CALL_FORM: Outcome = Ends("in the middle of its text, with tools offered");
const NO_MARKS: Outcome = Ends("does not show how its thoughts begin and end");
const NO_THOUGHTS: Outcome = Ends("this engine cannot go on in the middle of thoughts");

#[tokio::test]
async fn an_answer_of_ollama_goes_on_wherever_it_honestly_can() {
    let open = [
        row(Text, GoesOn),
        row(Text, GoesOn).tools(),
        row(Text, GoesOn).images(),
        row(Thoughts, GoesOn),
        row(Thoughts, GoesOn).tools(),
        row(Answer, GoesOn),
    ];
    let ended = [
        row(Text, GoesOn),
        row(Text, GoesOn).tools(),
        row(Text, GoesOn).images(),
        row(Thoughts, GoesOn),
        row(Thoughts, GoesOn).tools(),
        row(Answer, GoesOn),
        row(Text, FORMAT).format(),
        row(Text, BeginsAnew).format().unread(),
        row(Called, Ends("after a tool call was sent")),
        row(Calling, GoesOn),
        row(Raw, GoesOn),
    ];
    let unmarked = [
        row(Text, NO_CALL_FORM).tools(),
        row(Text, BeginsAnew).tools().unread(),
        row(Text, GoesOn),
        row(Thoughts, NO_MARKS),
        row(Thoughts, BeginsAnew).unread(),
        row(Answer, NO_MARKS),
        row(Answer, BeginsAnew).unread(),
    ];
    tokio::join!(
        holds_on("Ollama, template continues", |_| (), &open),
        holds_on("Ollama, template ends the turn", |script| script.continues = false, &ended),
        holds_on("Ollama, no marks", |script| (script.continues, script.marks) = (false, false), &unmarked),
    );
}

#[tokio::test]
async fn an_answer_of_llama_cpp_goes_on_wherever_it_honestly_can() {
    let open = [
        row(Text, GoesOn),
        row(Text, GoesOn).tools(),
        row(Text, GoesOn).images(),
        row(Thoughts, GoesOn),
        row(Thoughts, GoesOn).tools(),
        row(Answer, GoesOn),
        row(Thoughts, GoesOn).images(),
        row(Text, FORMAT).format(),
        row(Text, BeginsAnew).format().unread(),
        // Calls are handed on at the end, so none has been sent.
        row(Calling, GoesOn),
        row(Raw, GoesOn),
    ];
    let ended = [
        row(Text, GoesOn),
        row(Text, GoesOn).tools(),
        row(Text, Ends("its images cannot be sent with a raw prompt")).images(),
        row(Text, BeginsAnew).images().unread(),
        row(Thoughts, GoesOn),
        row(Thoughts, GoesOn).tools(),
        row(Answer, GoesOn),
    ];
    let unmarked = [
        row(Text, NO_CALL_FORM).tools(),
        row(Thoughts, NO_MARKS),
        row(Thoughts, BeginsAnew).unread(),
        row(Answer, NO_MARKS),
    ];
    let api = |script: &mut Script, continues, marks| {
        (script.api, script.continues, script.marks) = (Api::Openai, continues, marks);
    };
    tokio::join!(
        holds_on("llama.cpp, template continues", |script| api(script, true, true), &open),
        holds_on("llama.cpp, template ends the turn", |script| api(script, false, true), &ended),
        holds_on("llama.cpp, no marks", |script| api(script, false, false), &unmarked),
    );
}

#[tokio::test]
async fn an_answer_of_another_openai_server_goes_on_wherever_it_honestly_can() {
    let rows = [
        row(Text, GoesOn),
        row(Text, GoesOn).tools(),
        row(Text, GoesOn).images(),
        row(Thoughts, NO_THOUGHTS),
        row(Thoughts, NO_THOUGHTS).tools(),
        row(Thoughts, BeginsAnew).unread(),
        row(Answer, GoesOn),
        row(Text, FORMAT).format(),
        row(Calling, GoesOn),
        row(Raw, GoesOn),
    ];
    let vllm = |script: &mut Script| (script.api, script.max_model_len) = (Api::Openai, Some(4096));
    let plain = |script: &mut Script| (script.api, script.plain) = (Api::Openai, true);
    tokio::join!(holds_on("vLLM", vllm, &rows), holds_on("another server", plain, &rows));
}

/// The node that dies is a llama.cpp. The one that is free then is a vLLM, which does not go on in thoughts; the other llama.cpp is.
#[tokio::test]
async fn an_answer_that_one_engine_cannot_go_on_with_goes_on_at_another() {
    let engine = |own: &str, max_model_len| Script {
        api: Api::Openai,
        slots: 1,
        max_model_len,
        models: ["scripted", own].map(|name| Model::named(name).able("thinking")).to_vec(),
        ..Script::default()
    };
    let engines = vec![engine("first", None), engine("second", None), engine("other", Some(4096))];
    let mesh = Mesh::start().uneven(engines).await;
    let ids: Vec<String> = mesh.nodes().iter().map(|node| node.id().to_owned()).collect();
    let hold =
        |own: &str| mesh.stream(&json!({"prompt": "wait [tokens=100000][delay=20]", "model_hint": own}));
    let (mut second, mut other) = (hold("second"), hold("other"));
    assert_eq!((second.node().await, other.node().await), (ids[1].clone(), ids[2].clone()));
    let prompt = format!("count [tokens={LENGTH}][thoughts={LENGTH}][delay=5]");
    mesh.engine(0).fault(Fault::at(FaultKind::Stall, SEEN as u64 + 1));
    let mut answer = mesh.stream(&json!({"prompt": prompt, "model_hint": "scripted", "think": true}));
    answer.read_tokens(SEEN).await;
    assert_eq!(answer.node().await, ids[0]);
    drop(other.hang_up());
    mesh.node_is(&ids[2], "idle").await;
    mesh.node(0).kill().await;
    answer.comment("queued").await;
    drop(second.hang_up());
    let answer = answer.rest().await;
    answer.assert_answered();
    assert_eq!(
        (answer.nodes(), answer.attempts()),
        (vec![ids[0].clone(), ids[1].clone()], 3),
        "{}",
        answer.summary()
    );
    let thoughts: String = answer.events.iter().filter_map(|event| event.json["thinking"].as_str()).collect();
    let all = |name: &str| (0..LENGTH).map(|index| format!("{name}{index} ")).collect::<String>();
    assert_eq!((thoughts.trim_end(), answer.content()), (all("h").trim_end(), all("t")));
}
