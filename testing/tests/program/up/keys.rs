//! A mesh whose edge other machines reach: this machine's own commands have a key, others need one.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::Value;

use super::here::Here;

/// How a command ends, and what it says.
async fn says(mut command: Command) -> (Option<i32>, String) {
    // The engines live in this process: nothing here may keep them waiting.
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[tokio::test]
async fn a_mesh_that_others_reach_wants_keys_of_them_and_this_machines_commands_have_one() {
    let mut here = Here::new().await;
    let address = here.setting("ECHO_EDGE_LISTEN");
    here.set("ECHO_EDGE_LISTEN", address.replace("127.0.0.1", "0.0.0.0"));
    here.up().await;
    let client = echo_testing::client::Client::new(address.parse().unwrap());
    let status = client.get("/status").send().await.unwrap();
    assert_eq!((status.status(), status.json().await["code"].as_str()), (401, Some("invalid_api_key")));
    for words in
        [&["ask", "-q", "count [tokens=2]"][..], &["models"], &["status"], &["check"], &["drain", "node-a"]]
    {
        here.says(words).await.ended(0);
    }
    // Another machine knows the address, and nothing else.
    let url = format!("http://{address}");
    let elsewhere = here.run_dir().with_file_name("elsewhere").to_string_lossy().into_owned();
    let from = |words: &[&str]| here.command(&[words, &["--edge", &url, "--run-dir", &elsewhere]].concat());
    for words in [&["ask", "-q", "hello"][..], &["models"], &["status"]] {
        let (code, text) = says(from(words)).await;
        assert!(code == Some(1) && text.contains("wants an API key: set ECHO_API_KEY"), "{words:?}: {text}");
    }
    let key = here.command(&["keys", "add", "ada"]).output().unwrap().stdout;
    let key = String::from_utf8(key).unwrap();
    let file = here.file("ada.key", &key);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    echo_testing::mesh::until("the edge to know the key", || async {
        let (code, text) = says(from(&["models", "--key-file", &file.to_string_lossy()])).await;
        echo_testing::mesh::holds(code == Some(0) && text.contains("scripted"), text)
    })
    .await;
    let mut by_variable = from(&["ask", "-q", "count [tokens=2]"]);
    by_variable.env("ECHO_API_KEY", key.trim());
    let (code, text) = says(by_variable).await;
    assert_eq!(code, Some(0), "{text}");
    let listed: Value = serde_json::from_str(&here.says(&["keys", "list", "--json"]).await.text).unwrap();
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ada", "this-machine"]);
    here.says(&["keys", "revoke", "ada", "bob"]).await.ended(2).has("none was revoked");
    here.says(&["keys", "revoke", "ada"]).await.ended(0);
    let record = here.record().to_string();
    assert!(!record.contains(key.trim()), "a key in the record");
    here.says(&["down"]).await.ended(0);
    // Keys outlive a mesh; nothing of it runs.
    assert!(here.processes().is_empty());
}

#[tokio::test]
async fn a_mesh_with_a_certificate_speaks_https_to_those_who_believe_it() {
    let mut here = Here::new().await;
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let own = rcgen::generate_simple_self_signed(names).unwrap();
    let certificate = here.file("edge.pem", &own.cert.pem()).to_string_lossy().into_owned();
    let key = here.file("edge.key", &own.signing_key.serialize_pem());
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    here.set("ECHO_TLS_CERT", &certificate);
    here.set("ECHO_TLS_KEY", key.to_string_lossy());
    here.up().await;
    let url = format!("https://{}", here.setting("ECHO_EDGE_LISTEN"));
    assert_eq!(here.record()["edge"], url);
    // This machine's own commands know that it is theirs.
    for words in [&["ask", "-q", "count [tokens=2]"][..], &["models"], &["status"], &["check"]] {
        here.says(words).await.ended(0);
    }
    here.says(&["check"]).await.has("this works: curl -X POST https://localhost:");
    let elsewhere = here.run_dir().with_file_name("elsewhere").to_string_lossy().into_owned();
    let from = |words: &[&str]| here.command(&[words, &["--edge", &url, "--run-dir", &elsewhere]].concat());
    let (code, text) = says(from(&["models"])).await;
    assert!(code == Some(1) && text.contains("certificate"), "{text}");
    let (code, text) = says(from(&["models", "--edge-ca", &certificate])).await;
    assert!(code == Some(0) && text.contains("scripted"), "{text}");
    here.says(&["down"]).await.ended(0);
    here.assert_clean();
}
