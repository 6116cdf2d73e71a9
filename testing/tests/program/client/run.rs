//! `echo-mesh` in a pipe.

use std::process::Stdio;

use echo_testing::mesh::{Mesh, soon};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;

use crate::terminal::{Run, command};

/// Where the first edge is.
pub fn url(mesh: &Mesh) -> String {
    format!("http://{}", mesh.edge(0).address())
}

/// A terminal that is large enough for all that these tests look at.
pub const SIZE: (u16, u16) = (140, 40);

/// Runs it on the first edge of this mesh.
pub async fn run(mesh: &Mesh, args: &[&str]) -> Run {
    with_input(mesh, args, None).await
}

/// The same with a text on stdin.
pub async fn fed(mesh: &Mesh, args: &[&str], input: &str) -> Run {
    with_input(mesh, args, Some(input)).await
}

async fn with_input(mesh: &Mesh, args: &[&str], input: Option<&str>) -> Run {
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
pub async fn rest(child: Child) -> Run {
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
