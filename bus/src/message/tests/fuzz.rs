//! Spoilt messages. No bytes make a reader panic; whatever is understood is written and read again as the same, and the text is
//! about as long as what came.

use super::*;
use crate::key::PublicKey;
use crate::model_name::ModelName;
use crate::subject;

const BEAT: &str = r#"{"node":"node-a","boot":"b1","number":9,"status":"draining","reason":"outside of its hours","paused":"hours","limits":["offers 1 of 2 slots"],"active":[{"task":"00000000-0000-0000-0000-000000000007","attempt":2,"seq":4}],"progress":[{"model":"m","tokens":5}],"slots":2,"models":[{"name":"mistral:latest","size":4,"loaded":true,"capabilities":["tools","newer"],"tokens_per_second":12.5,"speeds":[{"at_once":1,"tokens_per_second":30.5},{"at_once":4,"tokens_per_second":12.0,"age_s":9}],"long_run":28.5,"prompt_tokens_per_second":400.5,"tokens_per_kb":250.5,"lengths":[0,0,3],"memory":5,"load_ms":7,"context_length":4096,"loaded_with":{"num_ctx":8192,"use_mmap":false},"extra":{"digest":"d"}}],"engine":{"kind":"ollama","version":"0.33.0"},"memory":{"total":8,"free":3},"model_memory":6,"disk":{"total":80,"free":30},"agent_host":"127.0.0.1","agent_port":9001,"version":"0.1.0","uptime_ms":5}"#;
const CHAT: &str = r#"{"kind":"chat","model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"see"},{"type":"image","data":"aGk="}],"foreign":{"openai":{"name":"ann"}}},{"role":"assistant","content":[{"type":"thinking","text":"hm","signature":"s"},{"type":"tool_call","id":"c","index":1,"name":"f","arguments":{"a":[1,-2.5e3,null]}}]},{"role":"user","content":[{"type":"tool_result","id":"c","name":"f","content":[{"type":"text","text":"1"}]}]},{"role":"tool","content":"r","tool_name":"f","tool_call_id":"c","extra":{"x":1}}],"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"only":"f"},"parallel_tool_calls":false,"settings":{"max_tokens":3,"temperature":0.5,"top_k":4,"seed":-1,"stop":["x"],"format":{"type":"object"},"think":"low","think_if_able":true,"top_logprobs":2,"keep_alive":"5m","extra":{"options":{"num_ctx":8}},"openai":{"n":1}}}"#;
const DONE: &str = r#"{"reason":"length","prompt_tokens":18,"so_far_tokens":2,"cached_tokens":9,"tokens":2,"timings":{"total_ns":7,"load_ns":1,"prompt_ns":2,"eval_ns":3},"vectors":[[0.5,-1,2e-7]],"extra":{"context":[1,2]}}"#;
const FAILURE: &str = r#"{"verdict":"elsewhere","code":"engine_error","message":"failed","retry_after_ms":7,"served":["m"],"said":{"status":500,"words":"no","too_long":true},"fault":"request","harm":3}"#;
const PIECES: &str = r#"[{"content":"Hi \ud83d\ude00","thinking":"hm","tool_calls":[{"id":"c","index":1,"name":"f","arguments":{"a":1},"extra":{"b":[]}}],"logprobs":[1],"progress":{"status":"x"},"last":true,"extra":{"remote_host":"h"},"tokens":3,"prompt_tokens":16}]"#;
const WHY: &str = r#"{"node":"node-a","expected_ms":{"load":0,"prompt":310,"answer":3900},"measured_ms":{"wait":90,"whole":4300},"instead_of":[{"node":"node-b","expected_ms":9100,"because":"cold: 7.0 s to load"},{"node":"c","because":"full"}]}"#;

/// With the parts above in place of their names, and an object spliced in where its name stands alone.
fn seeds(texts: &[&str]) -> Vec<String> {
    let inner = |text: &str| text[1..text.len() - 1].to_owned();
    let whole = |text: &&str| {
        let text =
            text.replace("..DONE", &inner(DONE)).replace("..FAILURE", &inner(FAILURE)).replace("TASK", TASK);
        let text = text
            .replace("BEAT", BEAT)
            .replace("CHAT", CHAT)
            .replace("DONE", DONE)
            .replace("FAILURE", FAILURE);
        text.replace("PIECES", PIECES).replace("WHY", WHY)
    };
    texts.iter().map(whole).collect()
}

#[track_caller]
fn message<T: Payload + PartialEq + std::fmt::Debug>(name: &str, texts: &[&str]) {
    echo_fuzz::parser(name, &seeds(texts), |bytes| {
        let Ok(read) = T::read(bytes) else { return false };
        let written = serde_json::to_vec(&read).expect("what was read can be written");
        // A control character is six bytes; what has a default or another name adds a little.
        assert!(written.len() <= 6 * bytes.len() + 1_024, "{} bytes of {}", written.len(), bytes.len());
        assert_eq!(T::read(&written).expect("what was written can be read"), read);
        true
    });
}

#[test]
fn heartbeats_and_caches() {
    message::<Heartbeat>("heartbeat", &["BEAT"]);
    message::<CacheDigest>(
        "cache digest",
        &[
            r#"{"node":"node-a","boot":"b1","models":[{"model":"m","slots":[{"blocks":[18446744073709551615,7],"tokens":300,"idle_ms":5,"session":9,"tool":true},{"attempt":{"task":"TASK","attempt":2},"busy":true}],"aside":[{"tokens":3}]}]}"#,
        ],
    );
}

#[test]
fn frames_of_an_answer() {
    message::<Frame>(
        "frame",
        &[
            r#"{"frame":"queued","orchestrator":"o1","position":3,"expected_wait_ms":7}"#,
            r#"{"frame":"accepted","seq":0,"node":"node-a","boot":"b1","model":"m","waited_ms":4,"chosen":"least busy","why":WHY}"#,
            r#"{"frame":"token","seq":1,"pieces":PIECES}"#,
            r#"{"frame":"done","seq":2,"pieces":PIECES,..DONE}"#,
            r#"{"seq":2,"frame":"done",..DONE}"#,
            r#"{"frame":"done","seq":1,"reason":"stop","body":{"embeddings":[[0.5]],"model":"m"}}"#,
            r#"{"frame":"failed","seq":2,..FAILURE}"#,
        ],
    );
}

#[test]
fn frames_of_several_attempts() {
    let token = r#"{"frame":"token","seq":1,"pieces":PIECES}"#;
    let end = r#"{"frame":"failed","seq":2,..FAILURE}"#;
    let several = format!(r#"{{"frame":"several","of":[["k-1",{token}],["k-2",{end}]]}}"#);
    message::<Frames>("frames", &[token, &several]);
}

#[test]
fn tasks_and_the_answers_to_them() {
    message::<Task>(
        "task",
        &[
            r#"{"task":"TASK","attempt":2,"boot":"b1","inbox":"_INBOX.edge.e1.k","edge":"e1","remaining_ms":1000,"first_token_ms":20,"token_ms":10,"waited_ms":5,"excluded":[{"node":"node-a","boot":"b1"}],"so_far":{"content":"One","thinking":"t","tokens":1,"exact":true},"second_opinion":true,"joins_end":true,"takes_several":true,"chosen":"least busy","why":WHY,"client":"ann","request":CHAT}"#,
            r#"{"request":{"kind":"generate","model":"m","prompt":"p","system":"s","suffix":"x","images":["aGk="],"raw":true}}"#,
            r#"{"request":{"kind":"embed","model":"m","input":["a","b"],"dimensions":3,"truncate":false,"unscaled":true}}"#,
            r#"{"request":{"kind":"pull","model":"m","nodes":["node-a"],"extra":{"insecure":true}}}"#,
            r#"{"request":{"kind":"delete","model":"m","extra":{"nodes":["node-a"]}}}"#,
        ],
    );
    message::<Submission>(
        "submission",
        &[
            r#"{"answer":"taken","orchestrator":"o1","boot":"b1","by":{"node":"n","boot":"b"}}"#,
            r#"{"answer":"refused",..FAILURE}"#,
        ],
    );
    message::<Dispatch>(
        "dispatch",
        &[r#"{"answer":"accepted","boot":"b1","heartbeat":9}"#, r#"{"answer":"refused",..FAILURE}"#],
    );
}

#[test]
fn proof_that_an_attempt_is_held() {
    let held = r#"[{"task":"TASK","attempt":2,"seq":3},{"task":"TASK","attempt":4294967295,"ended":true}]"#;
    let pulse = format!(r#"{{"holder":{{"role":"agent","id":"node-a"}},"boot":"b1","held":{held}}}"#);
    message::<Pulse>("pulse", &[&pulse]);
    let missing = r#"[{"task":"TASK","attempt":2,"from":1,"to":18446744073709551615}]"#;
    message::<PulseAnswer>("pulse answer", &["{}", &format!(r#"{{"unwanted":{held},"missing":{missing}}}"#)]);
    message::<Pong>("pong", &[&format!(r#"{{"boot":"b1","uptime_ms":5,"held":{held}}}"#)]);
    message::<Cancel>("cancel", &[r#"{"task":"TASK","attempt":2}"#]);
}

#[test]
fn an_answer_at_another_edge() {
    let asks = r#"{"task":"TASK","after":20,"attempts":1,"wait_ms":5000,"stays":true,"leaves":true,"stops":true,"asks_request":true,"cancels":true,"key":9}"#;
    message::<ReadAnswer>("question for an answer", &[asks]);
    let turn = r#"{"after":20,"node":"node-a","model":"m","attempts":2,"waited_ms":3,"chosen":"c"}"#;
    let end = |ending: &str| {
        format!(
            r#"{{"ending":{ending},"nodes":["node-a"],"model":"m","chosen":"c","why":WHY,"attempts":1,"latency_ms":5,"waited_ms":6}}"#
        )
    };
    let part = |end: &str| {
        let memo = r#"{"asked_at":9,"own_system":true,"said":{"user":"ann"}}"#;
        format!(
            r#"{{"answer":"part","first":21,"pieces":PIECES,"turns":[{turn}],"end":{end},"request":CHAT,"memo":{memo}}}"#
        )
    };
    let parts = [part(&end(r#"{"Ok":DONE}"#)), part(&end(r#"{"Err":FAILURE}"#))];
    let (first, second) = (parts[0].as_str(), parts[1].as_str());
    message::<AnswerPart>(
        "part of an answer",
        &[first, second, r#"{"answer":"gone","evicted":true}"#, r#"{"answer":"ahead","pieces":3}"#],
    );
}

#[test]
fn what_people_watch_and_order() {
    message::<Event>(
        "event",
        &[
            r#"{"what":"lost","at":1,"node":"node-a","task":"TASK","attempt":1,"model":"m","tokens":4,"latency_ms":5,"position":2,"expected_wait_ms":900,"detail":"gone","why":WHY}"#,
        ],
    );
    message::<MeshStatus>(
        "mesh status",
        &[
            r#"{"orchestrator":"o1","nodes":[{"node_id":"node-a","boot":"b1","status":"busy","active_tasks":1,"slots":1,"models":["m"],"model_details":[],"agent_host":"127.0.0.1","agent_port":9001,"last_heartbeat":2,"registered_at":1,"engine":{"kind":"ollama"},"memory":{"total":0,"free":0},"disk":{"total":0,"free":0},"version":"0.1.0","uptime_ms":5}],"node_count":1,"queued":0,"default_model":"m","server_time":3}"#,
        ],
    );
    message::<Order>("order", &[r#"{"wish":"drain"}"#]);
    message::<Ordered>("ordered", &[r#"{"draining":true,"stopping":false}"#]);
    message::<Disconnect>(
        "disconnect",
        &[
            r#"{"type":"t","client":{"start":"2026-01-01T00:00:00Z","id":5,"name":"agent.node-a.b1","lang":"rust"},"reason":"Client Closed"}"#,
        ],
    );
}

#[test]
fn machines_that_join_and_that_are_listed() {
    message::<JoinRequest>(
        "join request",
        &[
            r#"{"ask":"hello","pake":"420a"}"#,
            r#"{"ask":"prove","exchange":"01","proof":"02ab","sealed":"ff00ff"}"#,
        ],
    );
    message::<JoinAnswer>(
        "join answer",
        &[
            r#"{"answer":"hello","exchange":"01","pake":"41"}"#,
            r#"{"answer":"welcome","proof":"02","sealed":""}"#,
            r#"{"answer":"refused","why":"node_taken","node":"node-a"}"#,
        ],
    );
    let key = public_key();
    let admit = format!(
        r#"{{"ask":"admit","keys":[{{"name":"box","duty":"agent","node":"node-a","key":"{key}"}}]}}"#
    );
    message::<MachinesRequest>(
        "machines request",
        &[&admit, r#"{"ask":"list"}"#, r#"{"ask":"revoke","names":["box"]}"#],
    );
    message::<MachinesAnswer>(
        "machines answer",
        &[r#"{"answer":"refused","why":"no"}"#, r#"{"answer":"machines","machines":[]}"#],
    );
}

fn public_key() -> String {
    nkeys::KeyPair::new_user().public_key()
}

/// What is safe inside a subject has no letter that means something there, and is the same when it is read again.
#[test]
fn ids_and_inboxes() {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"*>".contains(&byte));
    let ids = [
        "node-a",
        "workshop.example.org",
        "_INBOX.edge.e1.k",
        "_R_.x.y",
        "agent.node-a.b1",
        TASK,
        "a/b:latest",
    ];
    echo_fuzz::parser("ids, inboxes, connection names", &ids, |bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let host = NodeId::from_host_name(&text);
        let node = text.parse::<NodeId>().ok();
        for id in host.iter().chain(&node) {
            assert!(plain(id.as_str()) && !id.as_str().contains('.') && id.as_str().len() <= 63);
            assert_eq!(id.as_str().parse().as_ref(), Ok(id));
            assert_eq!(subject::heartbeat(id).to_string().split('.').count(), 4);
        }
        let inbox = Inbox::try_from(text.clone()).ok();
        if let Some(inbox) = &inbox {
            assert!(plain(inbox.as_str()) && inbox.as_str().len() <= 255);
        }
        let peer = Peer::from_connection_name(&text);
        if let Some((peer, boot)) = &peer {
            assert_eq!(format!("{peer}.{boot}"), text);
        }
        let task = text.parse::<TaskId>().ok();
        if let Some(task) = &task {
            assert_eq!(task.to_string().parse().as_ref(), Ok(task));
        }
        let model = ModelName::of(&text);
        assert_eq!(ModelName::of(model.as_str()), model, "a name stands for itself");
        host.is_ok() || node.is_some() || inbox.is_some() || peer.is_some() || task.is_some()
    });
}

#[test]
fn keys_and_bytes() {
    let seeds = [public_key(), "00ff".repeat(16)];
    echo_fuzz::parser("public keys and bytes", &seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let key = text.parse::<PublicKey>();
        if let Ok(key) = &key {
            assert_eq!(key.as_str(), text);
            assert_eq!(key.process().as_str().len(), 20);
        }
        let bytes = Hex::try_from(text.clone());
        if let Ok(bytes) = &bytes {
            assert_eq!(String::from(bytes.clone()), text);
        }
        key.is_ok() || bytes.is_ok()
    });
}

/// Times in flags, files and fields; addresses, as `Host` and `Origin` name them.
#[test]
fn times_and_addresses() {
    let seeds = ["1.5m", "500ms", " 30 ", "[::1]:8080", "box.local:80", "127.0.0.1", "\"60s\""];
    echo_fuzz::parser("times and addresses", &seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let time = crate::time::parse(&text);
        let _ = serde_json::from_slice(bytes).map(|value| crate::time::of_json(&value));
        let host = crate::host::Host::parse(&text);
        let near = host.is_some_and(|host| host.is_near(Some("own")) | host.is_certain());
        time.is_ok() || near || serde_json::from_slice::<serde_json::Value>(bytes).is_ok()
    });
}

/// What an agent and an orchestrator reckon from a request: its blocks, its needs, its fingerprint, its options.
#[test]
fn what_is_reckoned_from_a_request() {
    echo_fuzz::parser("what is reckoned from a request", &seeds(&["CHAT"]), |bytes| {
        let Ok(request) = serde_json::from_slice::<Request>(bytes) else { return false };
        let prefix = Prefix::cut(&request, None, 64, 40);
        assert!(prefix.blocks.len() <= 40 && prefix.bytes <= 2 * bytes.len() as u64 + 1_024);
        let _ = (request.needs(), request.fingerprint(), request.load_options(), request.is_load());
        if let Request::Chat(chat) = &request {
            let flat: usize = chat.messages.iter().map(|message| message.flat().len()).sum();
            assert!(flat <= bytes.len());
        }
        true
    });
}
