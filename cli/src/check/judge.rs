//! What is asked of each answer.

use std::collections::BTreeMap;

use echo_bus::model_name::ModelName;
use serde_json::Value;

use crate::edge::body;

/// What is seen, if it is right; else the complaint.
pub type Verdict = Result<String, String>;

/// How much of an answer a complaint quotes.
const QUOTED: usize = 300;

/// What came back.
pub struct Reply {
    /// 0: no answer.
    code: u16,
    text: String,
    json: Value,
}

impl Reply {
    pub async fn to(request: reqwest::RequestBuilder) -> Self {
        match request.send().await {
            Ok(reply) => {
                let code = reply.status().as_u16();
                let text = body(reply).await.map(|text| String::from_utf8_lossy(&text).into_owned());
                Self::new(code, text.unwrap_or_else(|error| format!("{error:#}")))
            }
            Err(error) => Self::new(0, format!("{:#}", anyhow::Error::new(error.without_url()))),
        }
    }

    fn new(code: u16, text: String) -> Self {
        let json = serde_json::from_str(&text).unwrap_or_default();
        Self { code, text, json }
    }

    fn need(&self, holds: bool, complaint: &str) -> Result<(), String> {
        if holds {
            return Ok(());
        }
        let said: String = self.text.trim().chars().take(QUOTED).collect();
        if self.code == 0 {
            return Err(format!("no answer: {said}"));
        }
        let said = if said.is_empty() { "nothing" } else { &said };
        Err(format!("{complaint} (HTTP {}: {said})", self.code))
    }

    fn nodes(&self) -> &[Value] {
        self.json["nodes"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The models of all nodes.
    fn models(&self) -> Vec<&str> {
        let mut models: Vec<&str> = self.nodes().iter().flat_map(|node| texts(&node["models"])).collect();
        models.sort_unstable();
        models.dedup();
        models
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

pub fn status(reply: &Reply) -> Verdict {
    reply.need(reply.code == 200 && reply.json.is_object(), "not a 200 with JSON")?;
    let nodes = reply.nodes();
    let counted = reply.json["node_count"].as_u64() == u64::try_from(nodes.len()).ok();
    reply.need(!nodes.is_empty() && counted, "no nodes, or node_count does not match")?;
    let ready = |node: &&Value| {
        matches!(text(&node["status"]), "idle" | "busy") && !texts(&node["models"]).is_empty()
    };
    let bad: Vec<&str> =
        nodes.iter().filter(|node| !ready(node)).map(|node| text(&node["node_id"])).collect();
    reply.need(bad.is_empty(), &format!("not ready: {}", bad.join(", ")))?;
    let shown = nodes.iter().map(|node| {
        let models = texts(&node["models"]).join(",");
        format!("{} {} {models}", text(&node["node_id"]), text(&node["status"]))
    });
    Ok(shown.collect::<Vec<_>>().join("; "))
}

pub fn task(reply: &Reply) -> Verdict {
    let it = &reply.json;
    reply.need(reply.code == 200 && it["success"] == true, "no success")?;
    let known = !text(&it["task_id"]).is_empty() && it["latency_ms"].is_number();
    reply.need(known, "task_id or latency_ms is missing")?;
    let content = text(&it["content"]).split_whitespace().collect::<Vec<_>>().join(" ");
    reply.need(!content.is_empty(), "the answer is empty")?;
    let (node, model) = (text(&it["routed_to"]), text(&it["model_used"]));
    reply.need(!node.is_empty() && !model.is_empty(), "routed_to or model_used is missing")?;
    let shown: String = content.chars().take(80).collect();
    Ok(format!("{node}, {model}, {} ms: {shown}", it["latency_ms"]))
}

pub fn stream(reply: &Reply) -> Verdict {
    reply.need(reply.code == 200, "not a 200")?;
    let data = reply.text.lines().filter_map(|line| line.strip_prefix("data:"));
    let events: Vec<Value> = data.map(|data| serde_json::from_str(data).unwrap_or_default()).collect();
    reply.need(!events.is_empty(), "no events")?;
    let (last, before) = events.split_last().ok_or("no events")?;
    let once = last["done"] == true && before.iter().all(|event| event["done"] != true);
    reply.need(once, "not exactly one last event")?;
    reply.need(last["success"] != false, "the stream failed")?;
    let tokens = before.len() > 1 && before.iter().all(|event| event["token"].is_string());
    reply.need(tokens, "no tokens one by one")?;
    let one_task = events.iter().all(|event| event["task_id"] == last["task_id"]);
    reply.need(one_task, "more than one task_id")?;
    reply.need(last["latency_ms"].is_number(), "latency_ms is missing")?;
    let node = before.first().map(|event| text(&event["routed_to"])).unwrap_or_default();
    Ok(format!("{} events from {node}, {} ms", before.len(), last["latency_ms"]))
}

/// Four, or as many as do not fit on one node.
pub fn at_once(status: &Reply) -> u64 {
    let slots = status.nodes().iter().filter_map(|node| node["slots"].as_u64()).map(|slots| slots + 1);
    slots.max().unwrap_or_default().max(4)
}

pub fn together(status: &Reply, answers: &[Reply]) -> Verdict {
    let mut reached: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, answer) in answers.iter().enumerate() {
        let failed = format!("task {} of {} failed", at + 1, answers.len());
        answer.need(answer.code == 200 && answer.json["success"] == true, &failed)?;
        *reached.entry(text(&answer.json["routed_to"])).or_default() += 1;
    }
    let mut all: Vec<&str> = status.nodes().iter().map(|node| text(&node["node_id"])).collect();
    all.sort_unstable();
    let only: Vec<&str> = reached.keys().copied().collect();
    let mut shares: Vec<String> = reached.iter().map(|(node, count)| format!("{count} on {node}")).collect();
    for node in all.iter().filter(|node| !reached.contains_key(*node)) {
        let why = answers.iter().find_map(|answer| against(answer, node)).unwrap_or_default();
        status
            .need(!why.is_empty(), &format!("only {} of {} were reached", only.join(", "), all.join(", ")))?;
        shares.push(format!("none on {node} ({why})"));
    }
    Ok(shares.join(", "))
}

/// What was said to speak against a node: to wait for a much faster one is right. A node that is as good has its share.
fn against<'a>(answer: &'a Reply, node: &str) -> Option<&'a str> {
    let others = answer.json["why"]["instead_of"].as_array()?.iter();
    let mut said = others.filter(|other| other["node"] == node).map(|other| text(&other["because"]));
    said.find(|because| !because.is_empty() && *because != "full" && !because.starts_with("as good"))
}

pub fn unknown(status: &Reply, reply: &Reply) -> Verdict {
    reply.need(reply.code == 503, "not a 503")?;
    let error = text(&reply.json["error"]);
    let served = status.models();
    let short = |model: &str| ModelName::of(model).as_str().trim_end_matches(":latest").to_owned();
    let names = served.iter().any(|model| error.contains(&short(model)));
    reply.need(names, &format!("the error does not name what is served ({})", served.join(", ")))?;
    Ok(error.to_owned())
}

pub fn bad_json(reply: &Reply) -> Verdict {
    reply.need(reply.code == 400, "not a 400")?;
    let error = text(&reply.json["error"]);
    reply.need(reply.json["success"] == false && !error.is_empty(), "no JSON error")?;
    Ok(error.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn replied(code: u16, json: &Value) -> Reply {
        Reply::new(code, json.to_string())
    }

    fn two_nodes() -> Reply {
        let node =
            |id: &str| json!({"node_id": id, "status": "idle", "slots": 6, "models": ["mistral:latest"]});
        replied(200, &json!({"nodes": [node("node-a"), node("node-b")], "node_count": 2}))
    }

    #[test]
    fn nodes_that_are_not_ready_are_named() {
        assert_eq!(status(&two_nodes()).unwrap(), "node-a idle mistral:latest; node-b idle mistral:latest");
        let mut sick = two_nodes().json;
        sick["nodes"][1]["status"] = "unavailable".into();
        assert!(status(&replied(200, &sick)).unwrap_err().starts_with("not ready: node-b"));
        assert!(status(&replied(200, &json!({"nodes": [], "node_count": 0}))).is_err());
        assert!(status(&Reply::new(0, "connection refused".into())).unwrap_err().starts_with("no answer"));
    }

    #[test]
    fn a_stream_ends_once_with_tokens_before() {
        let token = r#"data: {"task_id":"t","token":"a","done":false,"routed_to":"node-a"}"#;
        let end = r#"data: {"task_id":"t","done":true,"success":true,"latency_ms":7}"#;
        let of = |lines: &[&str]| stream(&Reply::new(200, lines.join("\n\n")));
        assert_eq!(of(&[token, token, end]).unwrap(), "2 events from node-a, 7 ms");
        for wrong in [&[token, token][..], &[token, end, end], &[end], &[], &[token, "data: {", end]] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
        let other = token.replace("\"t\"", "\"u\"");
        assert!(of(&[token, &other, end]).unwrap_err().contains("more than one task_id"));
    }

    #[test]
    fn tasks_at_once_must_reach_every_node() {
        let answer = |node: &str| replied(200, &json!({"success": true, "routed_to": node}));
        assert_eq!(at_once(&two_nodes()), 7);
        let shared = [answer("node-a"), answer("node-b"), answer("node-a")];
        assert_eq!(together(&two_nodes(), &shared).unwrap(), "2 on node-a, 1 on node-b");
        let alone = [answer("node-a"), answer("node-a")];
        assert!(together(&two_nodes(), &alone).unwrap_err().starts_with("only node-a of node-a, node-b"));
        let but = |because: &str| {
            let why = json!({"instead_of": [{"node": "node-b", "because": because}]});
            replied(200, &json!({"success": true, "routed_to": "node-a", "why": why}))
        };
        let slow = [answer("node-a"), but("7 tokens/s")];
        assert_eq!(together(&two_nodes(), &slow).unwrap(), "2 on node-a, none on node-b (7 tokens/s)");
        for no_reason in ["as good, used later", "full", ""] {
            assert!(together(&two_nodes(), &[but(no_reason)]).is_err(), "{no_reason}");
        }
        assert!(
            together(&two_nodes(), &[replied(503, &json!({}))])
                .unwrap_err()
                .starts_with("task 1 of 1 failed")
        );
    }

    #[test]
    fn an_error_about_an_unknown_model_names_those_that_are_there() {
        let said = |code, error: &str| unknown(&two_nodes(), &replied(code, &json!({"error": error})));
        assert!(said(503, "there are: mistral").is_ok());
        assert!(said(503, "no").unwrap_err().contains("does not name what is served"));
        assert!(said(404, "there are: mistral").is_err());
    }
}
