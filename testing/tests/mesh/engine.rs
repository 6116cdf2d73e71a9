//! The scripted engine as the program that other tests start: its one line on stdout, its script over HTTP, its death.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use echo_testing::{client::Client, mesh::binaries};
use serde_json::{Value, json};
use tokio::{io::AsyncBufReadExt, process::Command, time::timeout};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_program_prints_its_address_takes_a_script_and_dies_for_real() {
    let mut program = Command::new(binaries::program("echo-scripted-engine"))
        .args(["--model", "small", "--slots", "2", "--tokens", "3"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let mut out = tokio::io::BufReader::new(program.stdout.take().expect("piped")).lines();
    let address = out.next_line().await.expect("a line").expect("an address");
    let engine = Client::new(address.parse::<SocketAddr>().expect("an address"));
    let post = async |path: &str, body: Value| engine.post(path, &body).send().await.expect("a reply");
    let request = json!({"model": "small", "prompt": "hi"});
    let answer = post("/api/generate", request.clone()).await.text().await;
    assert!(answer.contains("t2 ") && !answer.contains("t3 "), "{answer}");
    let counters = engine.get("/counters").send().await.expect("a reply").json().await;
    assert_eq!(counters["finished"], 1, "{counters}");
    assert_eq!(post("/script", json!({"tokenz": 1})).await.status(), 400);
    let faults = json!([{"kind": "die", "at": 2, "times": 1}]);
    assert_eq!(post("/script", json!({"tokens": 5, "faults": faults})).await.status(), 200);
    let mut reply = post("/api/generate", request).await;
    while let Ok(Some(_)) = reply.chunk().await {}
    assert!(reply.chunk().await.is_err(), "the answer breaks off");
    let exit = timeout(SOON, program.wait()).await.expect("it exits").expect("a status");
    assert_eq!(exit.code(), Some(1));
}
