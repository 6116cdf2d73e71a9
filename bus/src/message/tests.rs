//! Golden JSON: the shapes on the wire, to the letter. A change here is a change of the contract.

mod fuzz;
mod join;
mod why;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::*;
use crate::id::{AttemptId, BootId, Inbox, NodeId, Peer, ProcessId, TaskId};

const TASK: &str = "00000000-0000-0000-0000-000000000007";

fn task() -> TaskId {
    TaskId::from_u128(7)
}

fn attempt() -> AttemptId {
    AttemptId { task: task(), attempt: 2 }
}

fn node() -> NodeId {
    "node-a".parse().unwrap()
}

fn boot() -> BootId {
    "b1".parse().unwrap()
}

fn id(text: &str) -> ProcessId {
    text.parse().unwrap()
}

/// The value is written as this text, and read from it.
#[track_caller]
fn golden<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T, text: &str) {
    assert_eq!(serde_json::to_string(value).unwrap(), text);
    assert_eq!(&serde_json::from_str::<T>(text).unwrap(), value);
}

fn held(seq: Option<u64>) -> Held {
    Held { id: attempt(), seq, ended: false }
}

#[test]
fn heartbeat() {
    let beat = Heartbeat {
        node: node(),
        boot: boot(),
        number: 9,
        status: NodeStatus::Idle,
        reason: String::new(),
        paused: None,
        limits: Vec::new(),
        active: vec![held(Some(4))],
        progress: Vec::new(),
        slots: 2,
        models: None,
        engine: Engine { kind: "ollama".into(), version: "0.33.0".into() },
        memory: Space { total: 8, free: 3 },
        model_memory: 0,
        disk: Space { total: 80, free: 30 },
        agent_host: "127.0.0.1".into(),
        agent_port: 9001,
        version: "0.1.0".into(),
        uptime_ms: 5,
        model_management: false,
        site: None,
    };
    let text = format!(
        r#"{{"node":"node-a","boot":"b1","number":9,"status":"idle","active":[{{"task":"{TASK}","attempt":2,"seq":4}}],"slots":2,"engine":{{"kind":"ollama","version":"0.33.0"}},"memory":{{"total":8,"free":3}},"disk":{{"total":80,"free":30}},"agent_host":"127.0.0.1","agent_port":9001,"version":"0.1.0","uptime_ms":5}}"#
    );
    golden(&beat, &text);
    let progress = vec![Progress { model: "m".into(), tokens: 5, prompt: false }];
    let more = Heartbeat { progress, model_memory: 6, ..beat };
    let text = text
        .replace(r#""slots""#, r#""progress":[{"model":"m","tokens":5}],"slots""#)
        .replace(r#""disk""#, r#""model_memory":6,"disk""#);
    golden(&more, &text);
    let (paused, limits) = (Some(Paused::Hours), vec!["offers 1 of 2 slots".into()]);
    let (status, reason) = (NodeStatus::Draining, "outside of its hours".into());
    let paused = Heartbeat { status, reason, paused, limits, ..more };
    let text = text.replace(
        r#""idle","#,
        r#""draining","reason":"outside of its hours","paused":"hours","limits":["offers 1 of 2 slots"],"#,
    );
    golden(&paused, &text);
    let placed = Heartbeat { site: Some("berlin".parse().unwrap()), ..paused };
    golden(&placed, &text.replace(r#""uptime_ms":5"#, r#""uptime_ms":5,"site":"berlin""#));
    for (paused, word) in [
        (Paused::Hours, "hours"),
        (Paused::Load, "load"),
        (Paused::Owner, "owner"),
        (Paused::Stopping, "stopping"),
    ] {
        golden(&paused, &format!("\"{word}\""));
    }
    assert_eq!(serde_json::from_str::<Paused>("\"newer\"").unwrap(), Paused::Unknown);
    golden(&Progress { model: "m".into(), tokens: 0, prompt: true }, r#"{"model":"m","prompt":true}"#);
    let statuses = [
        (NodeStatus::Busy, "busy"),
        (NodeStatus::Draining, "draining"),
        (NodeStatus::Unavailable, "unavailable"),
    ];
    for (status, word) in statuses {
        golden(&status, &format!("\"{word}\""));
    }
    assert_eq!(serde_json::from_str::<NodeStatus>("\"newer\"").unwrap(), NodeStatus::Unavailable);
}

#[test]
fn model() {
    let mut model = Model { name: "mistral:latest".into(), loaded: true, ..Model::default() };
    golden(&model, r#"{"name":"mistral:latest","loaded":true}"#);
    model.size = 4;
    model.capabilities = vec![Capability::Tools, "newer".into()];
    model.tokens_per_second = Some(12.5);
    model.speeds = vec![
        Speed { at_once: 1, tokens_per_second: 30.5, age_s: 0 },
        Speed { at_once: 4, tokens_per_second: 12.0, age_s: 9 },
    ];
    model.long_run = Some(28.5);
    model.prompt_tokens_per_second = Some(400.5);
    model.tokens_per_kb = Some(250.5);
    model.lengths = vec![0, 0, 3];
    model.memory = 5;
    model.load_ms = Some(7);
    model.context_length = Some(4096);
    model.loaded_with = Some(LoadOptions::default());
    model.extra = json!({"digest": "d"}).as_object().cloned().unwrap();
    golden(
        &model,
        r#"{"name":"mistral:latest","size":4,"loaded":true,"capabilities":["tools","newer"],"tokens_per_second":12.5,"speeds":[{"at_once":1,"tokens_per_second":30.5},{"at_once":4,"tokens_per_second":12.0,"age_s":9}],"long_run":28.5,"prompt_tokens_per_second":400.5,"tokens_per_kb":250.5,"lengths":[0,0,3],"memory":5,"load_ms":7,"context_length":4096,"loaded_with":{},"extra":{"digest":"d"}}"#,
    );
    let with = r#"{"num_ctx":8192,"use_mmap":false}"#;
    golden(&serde_json::from_str::<LoadOptions>(with).unwrap(), with);
}

#[test]
fn a_task_by_hand_needs_only_its_request() {
    let by_hand: Task = serde_json::from_str(r#"{"request":{"kind":"generate","prompt":"hi"}}"#).unwrap();
    assert_eq!((by_hand.attempt, by_hand.remaining_ms, by_hand.inbox), (1, 300_000, None));
}

#[test]
fn whole_task() {
    let whole = Task {
        client: Some("team-a".parse().unwrap()),
        site: Some("berlin".parse().unwrap()),
        task: task(),
        attempt: 2,
        boot: Some(boot()),
        inbox: Some(Inbox::try_from("_INBOX.edge.e1.k".to_owned()).unwrap()),
        edge: Some(id("e1")),
        remaining_ms: 1000,
        first_token_ms: 20,
        token_ms: 10,
        waited_ms: 5,
        excluded: vec![Excluded { node: node(), boot: boot() }],
        so_far: Some(SoFar { content: "One".into(), thinking: String::new(), tokens: 1, exact: true }),
        second_opinion: true,
        joins_end: true,
        takes_several: true,
        chosen: "least busy".into(),
        why: None,
        request: Request::Generate(Generate { prompt: "hi".into(), ..Generate::default() }),
        traceparent: None,
    };
    let text = format!(
        r#"{{"task":"{TASK}","attempt":2,"boot":"b1","inbox":"_INBOX.edge.e1.k","edge":"e1","remaining_ms":1000,"first_token_ms":20,"token_ms":10,"waited_ms":5,"excluded":[{{"node":"node-a","boot":"b1"}}],"so_far":{{"content":"One","tokens":1,"exact":true}},"second_opinion":true,"joins_end":true,"takes_several":true,"chosen":"least busy","client":"team-a","site":"berlin","request":{{"kind":"generate","prompt":"hi"}}}}"#
    );
    golden(&whole, &text);
    let more = Task { why: Some(Why::at(node()).into()), ..whole };
    golden(&more, &text.replace(r#""client""#, r#""why":{"node":"node-a"},"client""#));
}

#[test]
fn frames_in_one_message() {
    let one = Frame::Token { seq: 1, pieces: vec![Piece::text("Hi")] };
    let text = r#"{"frame":"token","seq":1,"pieces":[{"content":"Hi"}]}"#;
    golden(&Frames::One(one.clone()), text);
    let several = Frames::Several(vec![("k-1".to_owned(), one.clone()), ("k-2".to_owned(), one.clone())]);
    golden(&several, &format!(r#"{{"frame":"several","of":[["k-1",{text}],["k-2",{text}]]}}"#));
    let spoilt =
        format!(r#"{{"frame":"several","of":[["k-1",{{"frame":"token","seq":"x"}}],["k-2",{text}]]}}"#);
    let read = Frames::read(spoilt.as_bytes()).unwrap();
    let wanted = vec![("k-1".to_owned(), Frame::Unknown), ("k-2".to_owned(), one)];
    assert_eq!(read, Frames::Several(wanted), "one that cannot be read costs the others nothing");
}

#[test]
fn a_hostile_inbox_or_edge_makes_no_task() {
    for bad in [r#""inbox":"echo.task.submit""#, r#""inbox":"_INBOX.>""#, r#""edge":"*""#, r#""boot":"a.b""#]
    {
        let text = format!(r#"{{{bad},"request":{{"kind":"generate"}}}}"#);
        assert!(serde_json::from_str::<Task>(&text).is_err(), "{bad} was taken");
    }
}

#[test]
fn requests() {
    let settings = Settings { max_tokens: Some(3), stop: vec!["x".into()], ..Settings::default() };
    let generate = Generate { model: Some("m".into()), prompt: "p".into(), settings, ..Generate::default() };
    golden(
        &Request::Generate(generate),
        r#"{"kind":"generate","model":"m","prompt":"p","settings":{"max_tokens":3,"stop":["x"]}}"#,
    );
    let message = Message::said("user", "hi");
    golden(
        &Request::Chat(Chat { messages: vec![message], ..Chat::default() }),
        r#"{"kind":"chat","messages":[{"role":"user","content":"hi"}]}"#,
    );
    golden(
        &Request::Embed(Embed { input: vec!["a".into()], ..Embed::default() }),
        r#"{"kind":"embed","input":["a"]}"#,
    );
    golden(
        &Request::Embed(Embed { input: vec!["a".into()], truncate: Some(false), ..Embed::default() }),
        r#"{"kind":"embed","input":["a"],"truncate":false}"#,
    );
    golden(
        &Request::Embed(Embed { input: vec!["a".into()], unscaled: true, ..Embed::default() }),
        r#"{"kind":"embed","input":["a"],"unscaled":true}"#,
    );
    let openai = json!({"tool_choice": "required"}).as_object().cloned().unwrap();
    let settings = Settings { openai, ..Settings::default() };
    golden(
        &Request::Generate(Generate { prompt: "p".into(), settings, ..Generate::default() }),
        r#"{"kind":"generate","prompt":"p","settings":{"openai":{"tool_choice":"required"}}}"#,
    );
    let chat = Chat {
        tools: vec![json!({})],
        tool_choice: Some(ToolChoice::Only("f".into())),
        parallel_tool_calls: Some(false),
        settings: Settings { think: Some("low".into()), think_if_able: true, ..Settings::default() },
        ..Chat::default()
    };
    golden(
        &Request::Chat(chat),
        r#"{"kind":"chat","messages":[],"tools":[{}],"tool_choice":{"only":"f"},"parallel_tool_calls":false,"settings":{"think":"low","think_if_able":true}}"#,
    );
    golden(&ToolChoice::Required, r#""required""#);
    golden(&Request::Count(Chat::default()), r#"{"kind":"count","messages":[]}"#);
    let named = Named { model: "m".into(), ..Named::default() };
    golden(&Request::Show(named.clone()), r#"{"kind":"show","model":"m"}"#);
    let some = Named { nodes: vec![node()], ..named.clone() };
    golden(&Request::Pull(named.clone()), r#"{"kind":"pull","model":"m"}"#);
    golden(&Request::Pull(some.clone()), r#"{"kind":"pull","model":"m","nodes":["node-a"]}"#);
    golden(&Request::Delete(named.clone()), r#"{"kind":"delete","model":"m"}"#);
    golden(&Request::Unload(named), r#"{"kind":"unload","model":"m"}"#);
    let old = r#"{"kind":"delete","model":"m","extra":{"nodes":["node-a"]}}"#;
    assert_eq!(serde_json::from_str::<Request>(old).unwrap(), Request::Delete(some));
    for bad in
        [r#""nodes":["*"]"#, r#""nodes":"a""#, r#""extra":{"nodes":["*"]}"#, r#""extra":{"nodes":"a"}"#]
    {
        let text = format!(r#"{{"kind":"pull","model":"m",{bad}}}"#);
        assert!(serde_json::from_str::<Request>(&text).is_err(), "{bad} was taken");
    }
    assert_eq!(serde_json::from_str::<Request>(r#"{"kind":"sing"}"#).unwrap(), Request::Unknown);
}

#[test]
fn answers_to_a_task() {
    golden(
        &Submission::Taken { orchestrator: id("o1"), boot: boot(), by: None },
        r#"{"answer":"taken","orchestrator":"o1","boot":"b1"}"#,
    );
    let by = Some(Excluded { node: node(), boot: boot() });
    golden(
        &Submission::Taken { orchestrator: id("o1"), boot: boot(), by },
        r#"{"answer":"taken","orchestrator":"o1","boot":"b1","by":{"node":"node-a","boot":"b1"}}"#,
    );
    let failure = Failure {
        served: vec!["smollm2".into()],
        ..Failure::give_up(Code::ModelNotServed, "no node serves x")
    };
    golden(
        &Submission::Refused(failure),
        r#"{"answer":"refused","verdict":"give_up","code":"model_not_served","message":"no node serves x","served":["smollm2"]}"#,
    );
    golden(
        &Dispatch::Accepted { boot: boot(), heartbeat: 9 },
        r#"{"answer":"accepted","boot":"b1","heartbeat":9}"#,
    );
    golden(
        &Dispatch::Refused(Failure::elsewhere(Code::Full, "full")),
        r#"{"answer":"refused","verdict":"elsewhere","code":"full","message":"full"}"#,
    );
    let fault = Fault::Request;
    golden(
        &Failure {
            fault,
            harm: Some(3),
            ..Failure::elsewhere(Code::EngineError, "failed").saying(Some(500), "no")
        },
        r#"{"verdict":"elsewhere","code":"engine_error","message":"failed","said":{"status":500,"words":"no"},"fault":"request","harm":3}"#,
    );
    golden(
        &Failure::give_up(Code::Harmful, "gone").saying(None, "x"),
        r#"{"verdict":"give_up","code":"harmful","message":"gone","said":{"words":"x"}}"#,
    );
    assert_eq!(serde_json::from_str::<Fault>(r#""newer""#).unwrap(), Fault::Unknown);
    assert_eq!(serde_json::from_str::<Dispatch>(r#"{"answer":"maybe"}"#).unwrap(), Dispatch::Unknown);
}

#[test]
fn frames() {
    golden(
        &Frame::Queued { orchestrator: id("o1"), position: 3, expected_wait_ms: None },
        r#"{"frame":"queued","orchestrator":"o1","position":3}"#,
    );
    golden(
        &Frame::Accepted(Box::new(Accepted {
            seq: 0,
            node: node(),
            boot: boot(),
            model: "m".into(),
            waited_ms: 0,
            chosen: "least busy".into(),
            why: None,
        })),
        r#"{"frame":"accepted","seq":0,"node":"node-a","boot":"b1","model":"m","chosen":"least busy"}"#,
    );
    golden(
        &Frame::Token { seq: 1, pieces: vec![Piece::text("Hi")] },
        r#"{"frame":"token","seq":1,"pieces":[{"content":"Hi"}]}"#,
    );
    let counted = Piece { tokens: Some(3), prompt_tokens: Some(16), ..Piece::text("é") };
    golden(
        &Frame::Token { seq: 1, pieces: vec![counted] },
        r#"{"frame":"token","seq":1,"pieces":[{"content":"é","tokens":3,"prompt_tokens":16}]}"#,
    );
    let cached_tokens = Some(9);
    let continued =
        Done { prompt_tokens: Some(18), so_far_tokens: Some(2), cached_tokens, ..Done::default() };
    golden(
        &Frame::Done { seq: 2, pieces: Vec::new(), done: Box::new(continued) },
        r#"{"frame":"done","seq":2,"reason":"stop","prompt_tokens":18,"so_far_tokens":2,"cached_tokens":9}"#,
    );
    let done = Done { tokens: Some(2), ..Done::default() };
    golden(
        &Frame::Done { seq: 2, pieces: Vec::new(), done: Box::new(done.clone()) },
        r#"{"frame":"done","seq":2,"reason":"stop","tokens":2}"#,
    );
    golden(
        &Frame::Done { seq: 1, pieces: vec![Piece::text("Hi")], done: Box::new(done) },
        r#"{"frame":"done","seq":1,"pieces":[{"content":"Hi"}],"reason":"stop","tokens":2}"#,
    );
    let vectors: Option<Vec<Vector>> = serde_json::from_str("[[0.5,-1,2e-7]]").unwrap();
    golden(
        &Frame::Done { seq: 1, pieces: Vec::new(), done: Box::new(Done { vectors, ..Done::default() }) },
        r#"{"frame":"done","seq":1,"reason":"stop","vectors":[[0.5,-1,2e-7]]}"#,
    );
    let failure = Box::new(Failure::wait(Code::Draining, "later"));
    golden(
        &Frame::Failed { seq: Some(2), failure: failure.clone() },
        r#"{"frame":"failed","seq":2,"verdict":"wait","code":"draining","message":"later"}"#,
    );
    golden(
        &Frame::Failed { seq: None, failure },
        r#"{"frame":"failed","verdict":"wait","code":"draining","message":"later"}"#,
    );
    let old = r#"{"frame":"done","seq":1,"reason":"stop","body":{"embeddings":[[0.5]],"model":"m","prompt_eval_count":2}}"#;
    let Frame::Done { done, .. } = Frame::read(old.as_bytes()).unwrap() else { panic!("no end") };
    assert_eq!((serde_json::to_string(&done.vectors).unwrap().as_str(), done.body), ("[[0.5]]", None));
    let spaced = old.replacen('{', "{ ", 1);
    assert!(
        matches!(Frame::read(spaced.as_bytes()).unwrap(), Frame::Done { done, .. } if done.vectors.is_some())
    );
    assert_eq!(serde_json::from_str::<Frame>(r#"{"frame":"newer","seq":1}"#).unwrap(), Frame::Unknown);
}

#[test]
fn the_quick_way_to_read_a_frame_reads_what_the_general_one_does() {
    for text in [
        r#"{"frame":"token","seq":1,"pieces":[{"content":"Hi","newer":1},{"thinking":"hm"}]}"#,
        r#"{"seq":1,"pieces":[],"frame":"token"}"#,
        r#"{"frame":"token","seq":1,"pieces":[],"newer":true}"#,
        r#"{"frame":"newer","seq":1,"pieces":[]}"#,
        r#"{"frame":"accepted","seq":0,"node":"a","boot":"b","model":"m","chosen":"c","newer":[1]}"#,
        r#"{"node":"a","frame":"accepted","seq":0,"boot":"b","model":"m"}"#,
        r#"{"frame":"done","seq":2,"reason":"stop"}"#,
        r#"{"frame":"done","seq":2,"pieces":[{"content":"Hi","last":true}],"reason":"stop","prompt_tokens":4,"so_far_tokens":3,"cached_tokens":2,"body":[1]}"#,
        r#"{"frame":"done","seq":2,"reason":"stop","vectors":[[1.5,2]]}"#,
        r#"{"frame":"done","seq":2,"reason":"stop","timings":{"total_ns":7,"newer":1}}"#,
        r#"{"frame":"done","seq":2,"reason":"length","tokens":3,"newer":{},"extra":{"seq":7,"context":[1]}}"#,
        r#"{ "frame": "done", "seq": 2, "reason": "newer" }"#,
    ] {
        assert_eq!(
            Frame::read(text.as_bytes()).unwrap(),
            serde_json::from_str::<Frame>(text).unwrap(),
            "{text}"
        );
    }
    for text in [
        "",
        "{}",
        r#"{"frame":"token","seq":-1,"pieces":[]}"#,
        r#"{"frame":"token","seq":1}"#,
        r#"{"frame":"done","reason":"stop"}"#,
    ] {
        assert!(Frame::read(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn pieces() {
    let call = ToolCall {
        id: "c".into(),
        index: 1,
        name: "f".into(),
        arguments: json!({"a": 1}),
        ..ToolCall::default()
    };
    golden(
        &Piece { tool_calls: vec![call], thinking: "hm".into(), ..Piece::default() },
        r#"{"thinking":"hm","tool_calls":[{"id":"c","index":1,"name":"f","arguments":{"a":1}}]}"#,
    );
    golden(
        &Piece { progress: Some(Box::new(json!({"status": "x"}))), ..Piece::default() },
        r#"{"progress":{"status":"x"}}"#,
    );
    golden(
        &Piece { logprobs: Some(Box::new(json!([1]))), ..Piece::text("a") },
        r#"{"content":"a","logprobs":[1]}"#,
    );
    let extra = json!({"remote_host": "h"}).as_object().cloned().map(Box::new);
    golden(
        &Piece { last: true, extra, ..Piece::text("a") },
        r#"{"content":"a","last":true,"extra":{"remote_host":"h"}}"#,
    );
}

#[test]
fn pulse_and_ping() {
    golden(
        &Pulse { holder: Peer::agent(&node()), boot: boot(), held: vec![held(Some(3))] },
        &format!(
            r#"{{"holder":{{"role":"agent","id":"node-a"}},"boot":"b1","held":[{{"task":"{TASK}","attempt":2,"seq":3}}]}}"#
        ),
    );
    golden(&PulseAnswer::default(), "{}");
    let missing = Missing { id: attempt(), from: 1, to: 3 };
    golden(
        &PulseAnswer { unwanted: vec![Held { ended: true, ..held(None) }], missing: vec![missing] },
        &format!(
            r#"{{"unwanted":[{{"task":"{TASK}","attempt":2,"ended":true}}],"missing":[{{"task":"{TASK}","attempt":2,"from":1,"to":3}}]}}"#
        ),
    );
    golden(&Pong { boot: boot(), uptime_ms: 5, held: vec![] }, r#"{"boot":"b1","uptime_ms":5,"held":[]}"#);
    golden(&Cancel(attempt()), &format!(r#"{{"task":"{TASK}","attempt":2}}"#));
    golden(&Empty {}, "{}");
}

#[test]
fn cache() {
    let slot = SlotCache {
        blocks: vec![u64::MAX, 7],
        tokens: 300,
        idle_ms: 5,
        session: 9,
        tool: true,
        busy: false,
        attempt: None,
    };
    let busy = SlotCache { busy: true, attempt: Some(held(None)), ..SlotCache::default() };
    golden(
        &CacheDigest {
            node: node(),
            boot: boot(),
            models: vec![ModelCache { model: "m".into(), slots: vec![slot, busy], aside: vec![] }],
        },
        &r#"{"node":"node-a","boot":"b1","models":[{"model":"m","slots":[{"blocks":[18446744073709551615,7],"tokens":300,"idle_ms":5,"session":9,"tool":true},{"attempt":{"task":"TASK","attempt":2},"busy":true}]}]}"#.replace("TASK", TASK),
    );
}

#[test]
fn what_a_cache_keeps_aside() {
    let aside = vec![SlotCache { tokens: 3, ..SlotCache::default() }];
    golden(
        &ModelCache { model: "m".into(), slots: vec![], aside },
        r#"{"model":"m","slots":[],"aside":[{"tokens":3}]}"#,
    );
}

#[test]
fn a_disconnect_event_of_the_server_names_the_part() {
    let event = r#"{"type":"io.nats.server.advisory.v1.client_disconnect","client":{"start":"2026-01-01T00:00:00Z","id":5,"name":"agent.node-a.b1","lang":"rust"},"reason":"Client Closed"}"#;
    let gone: Disconnect = serde_json::from_str(event).unwrap();
    assert_eq!(gone.peer(), Some((Peer::agent(&node()), boot())));
    assert_eq!(gone.reason, "Client Closed");
}

#[test]
fn status_and_events() {
    let state = NodeState {
        node_id: node(),
        boot: boot(),
        status: NodeStatus::Busy,
        reason: String::new(),
        paused: None,
        limits: Vec::new(),
        active_tasks: 1,
        slots: 1,
        models: vec!["mistral:latest".into()],
        model_details: vec![],
        agent_host: "127.0.0.1".into(),
        agent_port: 9001,
        last_heartbeat: 2,
        registered_at: 1,
        engine: Engine { kind: "ollama".into(), version: String::new() },
        memory: Space::default(),
        disk: Space::default(),
        version: "0.1.0".into(),
        uptime_ms: 5,
        model_management: false,
        site: None,
    };
    golden(
        &state,
        r#"{"node_id":"node-a","boot":"b1","status":"busy","active_tasks":1,"slots":1,"models":["mistral:latest"],"model_details":[],"agent_host":"127.0.0.1","agent_port":9001,"last_heartbeat":2,"registered_at":1,"engine":{"kind":"ollama"},"memory":{"total":0,"free":0},"disk":{"total":0,"free":0},"version":"0.1.0","uptime_ms":5}"#,
    );
    golden(
        &MeshStatus {
            orchestrator: id("o1"),
            nodes: vec![],
            node_count: 0,
            queued: 0,
            default_model: None,
            server_time: 3,
        },
        r#"{"orchestrator":"o1","nodes":[],"node_count":0,"queued":0,"server_time":3}"#,
    );
    golden(
        &Event { node: Some(node()), attempt: Some(1), detail: "gone".into(), ..Event::new(What::Lost, 1) },
        r#"{"what":"lost","at":1,"node":"node-a","attempt":1,"detail":"gone"}"#,
    );
    golden(
        &Event { position: Some(2), expected_wait_ms: Some(900), ..Event::new(What::Queued, 1) },
        r#"{"what":"queued","at":1,"position":2,"expected_wait_ms":900}"#,
    );
    golden(
        &Event { client: "ada".parse().ok(), ..Event::new(What::Done, 1) },
        r#"{"what":"done","at":1,"client":"ada"}"#,
    );
}

#[test]
fn an_operators_order_and_the_answer_to_it() {
    golden(&Order { wish: Wish::Drain }, r#"{"wish":"drain"}"#);
    golden(&Order { wish: Wish::Resume }, r#"{"wish":"resume"}"#);
    golden(&Ordered { draining: true, stopping: false }, r#"{"draining":true,"stopping":false}"#);
    let newer: Order = serde_json::from_str(r#"{"wish":"sing","song":"x"}"#).unwrap();
    assert_eq!(newer.wish, Wish::Unknown);
}

#[test]
fn an_answer_is_read_at_another_edge_in_these_words() {
    let task = TaskId::from_u128(7);
    golden(
        &ReadAnswer { attempts: 1, wait_ms: 5_000, stays: true, ..ReadAnswer::after(task, 20) },
        r#"{"task":"00000000-0000-0000-0000-000000000007","after":20,"attempts":1,"wait_ms":5000,"stays":true}"#,
    );
    let turn = AnswerTurn {
        after: 20,
        node: node(),
        model: "m".into(),
        attempts: 2,
        waited_ms: 3,
        chosen: String::new(),
    };
    let portion =
        Portion { first: 21, pieces: vec![Piece::text("a")], turns: vec![turn], ..Portion::default() };
    golden(
        &AnswerPart::Part(Box::new(portion)),
        r#"{"answer":"part","first":21,"pieces":[{"content":"a"}],"turns":[{"after":20,"node":"node-a","model":"m","attempts":2,"waited_ms":3}]}"#,
    );
    golden(
        &ReadAnswer { cancels: true, key: Some(9), ..ReadAnswer::after(task, 0) },
        r#"{"task":"00000000-0000-0000-0000-000000000007","cancels":true,"key":9}"#,
    );
    golden(
        &ReadAnswer {
            cancels: true,
            manages: true,
            client: "ada".parse().ok(),
            ..ReadAnswer::after(task, 0)
        },
        r#"{"task":"00000000-0000-0000-0000-000000000007","cancels":true,"client":"ada","manages":true}"#,
    );
    golden(&AnswerPart::Gone { evicted: true }, r#"{"answer":"gone","evicted":true}"#);
    golden(&AnswerPart::TooLarge, r#"{"answer":"too_large"}"#);
    golden(&AnswerPart::Unknown, r#"{"answer":"unknown"}"#);
    let newer: AnswerPart = serde_json::from_str(r#"{"answer":"sung"}"#).unwrap();
    assert_eq!(newer, AnswerPart::Unknown);
}

#[test]
fn what_was_asked_is_relayed_unread() {
    let asked = Request::Chat(Chat { messages: vec![Message::said("user", "hi")], ..Chat::default() });
    let said = json!({"user": "ann"}).as_object().cloned().unwrap_or_default();
    let memo = Memo { asked_at: 9, own_system: true, said };
    let (request, memo) = (Written::new(&asked).unwrap(), Written::new(&memo).unwrap());
    let portion = Portion { request: Some(request), memo: Some(memo.clone()), ..Portion::default() };
    let text = concat!(
        r#"{"answer":"part","request":{"kind":"chat","messages":[{"role":"user","content":"hi"}]},"#,
        r#""memo":{"asked_at":9,"own_system":true,"said":{"user":"ann"}}}"#
    );
    let part = AnswerPart::Part(Box::new(portion));
    assert_eq!(serde_json::to_string(&part).unwrap(), text);
    assert_eq!(AnswerPart::read(text.as_bytes()).unwrap(), part);
    assert_eq!(memo.read().map(|memo| memo.asked_at), Some(9));
    // What a newer version asks is passed on as it is, and its kind may stand anywhere.
    let newer = r#"{"request": {"kind" :"song"}, "first":3, "answer":"part"}"#;
    let AnswerPart::Part(part) = AnswerPart::read(newer.as_bytes()).unwrap() else { panic!("no part") };
    assert_eq!((part.first, part.request.unwrap().text()), (3, r#"{"kind" :"song"}"#));
    for text in ["", "{}", "[]", r#"{"answer":1}"#, r#"{"answer":"part","pieces":3}"#] {
        assert!(AnswerPart::read(text.as_bytes()).is_err(), "{text}");
    }
    assert_eq!(
        AnswerPart::read(br#"{"answer":"gone","evicted":true}"#).unwrap(),
        AnswerPart::Gone { evicted: true }
    );
    assert_eq!(AnswerPart::read(br#"{"answer":"sung","request":[]}"#).unwrap(), AnswerPart::Unknown);
}

#[test]
fn an_event_is_published_under_its_own_word() {
    use What::*;
    for what in
        [Joined, Changed, Suspect, Left, Queued, Placed, Released, Lost, Retried, Done, Failed, Cancelled]
    {
        assert_eq!(serde_json::to_value(what).unwrap(), what.as_str());
    }
}

#[test]
fn fields_of_a_newer_version_are_passed_over() {
    let text = format!(r#"{{"task":"{TASK}","attempt":2,"mood":"good"}}"#);
    assert!(serde_json::from_str::<Cancel>(&text).is_ok());
}
