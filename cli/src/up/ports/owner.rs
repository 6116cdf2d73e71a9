//! Who listens on a port, as far as this user may see.

use std::process::Command;

/// In words.
pub fn owner(port: u16) -> String {
    match named(port) {
        Named::Is(owner) => owner,
        Named::Hidden => {
            format!("a process of another user (sudo lsof -nP -iTCP:{port} -sTCP:LISTEN tells which)")
        }
        Named::NoTool => {
            "a process that cannot be named here, as neither lsof nor ss is installed".to_owned()
        }
    }
}

enum Named {
    Is(String),
    Hidden,
    NoTool,
}

fn named(port: u16) -> Named {
    let lsof = said("lsof", &["-nP", &format!("-iTCP:{port}"), "-sTCP:LISTEN", "-Fpc"]);
    let ss = || said("ss", &["-ltnp", &format!("sport = :{port}")]);
    if let Some(owner) = lsof.as_deref().and_then(of_lsof) {
        return Named::Is(owner);
    }
    let ss = ss();
    match ss.as_deref().and_then(of_ss) {
        Some(owner) => Named::Is(owner),
        None if lsof.is_some() || ss.is_some() => Named::Hidden,
        None => Named::NoTool,
    }
}

/// What a tool says; none where it is not installed.
fn said(tool: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(tool).args(args).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first process of `lsof -Fpc`: a line `pPID`, and one `cNAME`.
fn of_lsof(text: &str) -> Option<String> {
    let field = |letter| text.lines().find_map(|line| line.strip_prefix(letter));
    Some(format!("{} (pid {})", field('c')?, field('p')?))
}

/// The first process of `ss -ltnp`: `users:(("NAME",pid=PID,fd=3))`.
fn of_ss(text: &str) -> Option<String> {
    let (_, users) = text.split_once("users:((\"")?;
    let (name, rest) = users.split_once("\",pid=")?;
    let pid: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some(format!("{name} (pid {pid})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_are_read_as_they_write() {
        assert_eq!(of_lsof("p12\ncollama\nf3\n").as_deref(), Some("ollama (pid 12)"));
        assert_eq!(of_lsof(""), None);
        let line = "LISTEN 0 5 127.0.0.1:8080 0.0.0.0:* users:((\"python3\",pid=77,fd=3),(\"x\",pid=9,fd=3))";
        assert_eq!(of_ss(line).as_deref(), Some("python3 (pid 77)"));
        assert_eq!(of_ss("State Recv-Q\n"), None);
    }

    #[test]
    fn our_own_listener_is_known() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let words = owner(listener.local_addr().unwrap().port());
        let ours = format!("(pid {})", std::process::id());
        assert!(words.contains(&ours) || words.contains("neither lsof nor ss"), "{words}");
    }
}
