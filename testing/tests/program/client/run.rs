//! `echo-mesh` in a pipe.

use std::process::{Output, Stdio};

use echo_testing::mesh::{Mesh, binaries, soon};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

/// Where the first edge is.
pub fn url(mesh: &Mesh) -> String {
    format!("http://{}", mesh.edge(0).address())
}

pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(binaries::program("echo-mesh"));
    command.args(args).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ECHO_")) {
        command.env_remove(name);
    }
    command
}

/// What came of a command.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// Runs it on the first edge of this mesh.
pub async fn run(mesh: &Mesh, args: &[&str]) -> Ended {
    with_input(mesh, args, None).await
}

/// The same with a text on stdin.
pub async fn fed(mesh: &Mesh, args: &[&str], input: &str) -> Ended {
    with_input(mesh, args, Some(input)).await
}

async fn with_input(mesh: &Mesh, args: &[&str], input: Option<&str>) -> Ended {
    let mut command = command(args);
    command.env("ECHO_EDGE_URL", url(mesh)).env("ECHO_RUN_DIR", mesh.folder());
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().unwrap();
    if let Some(input) = input {
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
    }
    rest(child).await
}

/// Reads it to its end.
pub async fn rest(child: Child) -> Ended {
    soon("the command to end", child.wait_with_output()).await.unwrap().into()
}

/// Reads stdout until it holds this, and gives what was read.
pub async fn read_until(child: &mut Child, text: &str) -> String {
    let out = child.stdout.as_mut().unwrap();
    let mut read = Vec::new();
    soon(&format!("{text:?} on stdout"), async {
        while !String::from_utf8_lossy(&read).contains(text) {
            assert_ne!(out.read_buf(&mut read).await.unwrap(), 0, "{:?}", String::from_utf8_lossy(&read));
        }
    })
    .await;
    String::from_utf8(read).unwrap()
}
