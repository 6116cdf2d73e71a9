//! The page in a real Chromium, its logic under node, and its types. A program of its own, since a browser takes a core to
//! itself: the tests of the mesh run before or after it, and not beside.

use echo_testing::skip;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use echo_scripted_engine::Model;
use echo_testing::{
    client::package::set_up,
    mesh::{Mesh, Program, add_key, keyed_edge},
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

/// Where Debian and others put it.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

async fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

async fn passes(mut command: Command) {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
}

#[tokio::test]
async fn the_pages_logic_under_node() {
    if !has("node").await {
        return skip::machine_lacks("the page's logic: there is no node");
    }
    let mut command = Command::new("node");
    command.arg("--test").arg(folder("testing/page/logic.test.mjs"));
    passes(command).await;
}

#[tokio::test]
async fn the_pages_types() {
    if !has("node").await {
        return skip::machine_lacks("the page's types: there is no node");
    }
    let home = match set_up("page").await {
        Ok(home) => home,
        Err(why) => return skip::skip("the page's types", &why),
    };
    let mut command = Command::new(format!("{home}/node_modules/.bin/tsc"));
    command.arg("-p").arg(folder("http-edge/page"));
    passes(command).await;
}

/// The browser, if there is one.
async fn browser() -> Option<String> {
    if let Ok(named) = std::env::var("ECHO_CHROMIUM") {
        return Some(named);
    }
    for name in BROWSERS {
        let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output().await.ok()?;
        if found.status.success() {
            return Some(String::from_utf8_lossy(&found.stdout).trim().to_owned());
        }
    }
    None
}

fn part<'a>(mesh: &'a Mesh, name: &str) -> &'a Program {
    match name {
        "broker" => &mesh.broker,
        "edge" => mesh.edge(0),
        node => mesh.node(node),
    }
}

/// Does to the mesh what the script says on its stdout, and says so on its stdin.
async fn obey(mesh: &Mesh, order: &str) {
    let (what, name) = order.split_once(' ').expect("an order and a part");
    match what {
        "kill" => part(mesh, name).kill().await,
        "start" => part(mesh, name).start().await,
        other => panic!("the script orders {other}"),
    }
}

#[tokio::test]
async fn the_page_in_a_real_browser() {
    const TEST: &str = "the page in a browser";
    if !has("node").await {
        return skip::machine_lacks("the page in a browser: there is no node");
    }
    let Some(browser) = browser().await else {
        return skip::machine_lacks("the page in a browser: there is no Chromium");
    };
    let home = match set_up("page").await {
        Ok(home) => PathBuf::from(home),
        Err(why) => return skip::skip(TEST, &why),
    };
    let models = vec![Model::named("mistral").able("vision"), Model::named("qwen3")];
    // On a port of its own, since a page that has lost its edge looks for it where it was.
    let mesh = Mesh::start().nodes(3).slots(2).script(|script| script.models = models).await;
    mesh.edge(0).set("--listen", mesh.edge(0).address().to_string());
    // A script finds its packages beside itself.
    let beside = home.join(format!("run-{}", std::process::id()));
    std::fs::create_dir_all(&beside).expect("the cache can be written");
    std::fs::copy(folder("testing/page/check.mjs"), beside.join("check.mjs")).expect("the script is copied");
    let shots =
        std::env::var_os("ECHO_PAGE_SHOTS").map_or_else(|| mesh.folder().join("shots"), PathBuf::from);
    std::fs::create_dir_all(&shots).expect("a folder for screenshots");
    let mut command = Command::new("node");
    command.arg(beside.join("check.mjs")).args(std::env::var("ECHO_PAGE_ONLY").ok());
    command.env("ECHO_EDGE_URL", format!("http://{}", mesh.edge(0).address()));
    command.env("ECHO_CHROMIUM", browser).env("ECHO_SHOTS", &shots);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut script = command.spawn().expect("node starts");
    let mut stdin = script.stdin.take().expect("piped");
    let mut lines = BufReader::new(script.stdout.take().expect("piped")).lines();
    let mut said = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        println!("{line}");
        if let Some(order) = line.strip_prefix("mesh: ") {
            obey(&mesh, order).await;
            stdin.write_all(b"done\n").await.expect("the script listens");
        }
        said.push(line);
    }
    let output = script.wait_with_output().await.expect("the script ends");
    std::fs::remove_dir_all(&beside).expect("the cache can be written");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{errors}", said.join("\n"));
}

#[tokio::test]
async fn the_page_asks_for_a_key_where_one_is_wanted() {
    const TEST: &str = "the page with a key";
    let (true, Some(browser)) = (has("node").await, browser().await) else {
        return skip::machine_lacks("the page with a key: there is no node, or no Chromium");
    };
    let home = match set_up("page").await {
        Ok(home) => PathBuf::from(home),
        Err(why) => return skip::skip(TEST, &why),
    };
    let mesh = Mesh::start().nodes(1).slots(2).await;
    let keys = mesh.folder().join("keys.json");
    let key = add_key(&keys, "ada", &[]);
    let edge = keyed_edge(&mesh.broker.url(), &keys, &[]);
    edge.start().await;
    // A script finds its packages beside itself.
    let script = home.join(format!("key-{}.mjs", std::process::id()));
    std::fs::copy(folder("testing/page/key.mjs"), &script).expect("the script is copied");
    let mut command = Command::new("node");
    command.arg(&script).env("ECHO_EDGE_URL", format!("http://{}", edge.address()));
    command.env("ECHO_KEY", key).env("ECHO_CHROMIUM", browser);
    passes(command).await;
    std::fs::remove_file(script).expect("the cache can be written");
}
