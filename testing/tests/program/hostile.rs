//! A node that wants to take over the terminals of those who look at it.

use std::process::Stdio;
use std::time::Duration;

use echo_testing::mesh::{Mesh, Observer, binaries, soon};
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

/// What a terminal would obey: clears the screen, changes the title, moves the cursor, turns the direction of the text; and
/// C1's one-character forms.
pub const ORDERS: [&str; 6] = ["\x1b[2J", "\x1b]0;owned\x07", "\x1b[1;1H", "\u{202e}", "\u{9b}31m", "\r\n"];

/// Beats as the node `evil`, with orders for terminals in each text, until it is dropped.
pub async fn node(mesh: &Mesh) -> AbortOnDropHandle<()> {
    let part = Observer::listen(&mesh.broker.url(), "echo.event.>").await;
    let spoilt = ORDERS.concat();
    let beat = move |number: u64| {
        json!({
            "node": "evil", "boot": "b", "number": number, "status": "unavailable",
            "reason": format!("reason{spoilt}end"), "active": [], "slots": 1,
            "models": [{"name": format!("model{spoilt}end"), "loaded": true, "unavailable": format!("closed{spoilt}")}],
            "engine": {"kind": format!("kind{spoilt}"), "version": spoilt}, "memory": {"total": 9, "free": 1},
            "disk": {"total": 9, "free": 1}, "agent_host": spoilt, "agent_port": 1, "version": format!("v{spoilt}"),
            "uptime_ms": 1,
        })
    };
    AbortOnDropHandle::new(tokio::spawn(async move {
        for number in 1.. {
            let bytes = beat(number).to_string().into();
            part.client().publish("echo.node.evil.heartbeat", bytes).await.unwrap();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }))
}

/// Fails if one of the orders is in what was written to a terminal.
pub fn assert_harmless(written: &str, allowed: &[&str]) {
    for order in ORDERS.iter().filter(|order| !allowed.contains(order)) {
        assert!(!written.contains(order), "{order:?} was written to a terminal:\n{written:?}");
    }
}

/// Whatever shows a mesh in lines; those that draw have tests of their own.
#[tokio::test]
async fn a_hostile_node_reaches_no_terminal_by_any_command() {
    let mesh = Mesh::start().nodes(1).await;
    let (edge, nats) = (format!("http://{}", mesh.edge(0).address()), mesh.broker.url());
    let _evil = node(&mesh).await;
    mesh.node_is("evil", "unavailable").await;
    let at = ["--edge", &edge[..]];
    for words in [
        &["doctor", "--nats", &nats][..],
        &["doctor", "--json", "--nats", &nats],
        &["models"],
        &["models", "--json"],
        &["check"],
        &["ask", "--json", "-q", "count [tokens=2]"],
        &["ask", "--json", "-q", "-m", "no-such-model", "hello"],
    ] {
        let mut command = tokio::process::Command::new(binaries::program("echo-mesh"));
        command.args(words).args(at).stdin(Stdio::null());
        let output = soon("a command to end", command.output()).await.unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains("evil") || words[0] == "ask", "{words:?}: {text}");
        assert_harmless(&text, &[]);
    }
}
