//! `echo-mesh` in a real terminal, as a person has it: what is on its screen, and keys.

use std::io::{Read as _, Write as _};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use echo_testing::mesh::{binaries, holds, soon, until};
use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};

/// The most that is kept of what a program has written.
const KEPT: usize = 16 << 20;

pub struct Terminal {
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn std::io::Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    state: Arc<Mutex<State>>,
}

struct State {
    parser: vt100::Parser,
    /// All that was written, as it came.
    raw: Vec<u8>,
    /// No more will come.
    is_over: bool,
}

impl Terminal {
    /// Starts the program in a terminal of this size.
    pub fn start(size: (u16, u16), args: &[&str], env: &[(&str, &str)]) -> Self {
        let (columns, rows) = size;
        let pair = native_pty_system().openpty(sized(columns, rows)).unwrap();
        let mut command = CommandBuilder::new(binaries::program("echo-mesh"));
        command.args(args);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ECHO_")) {
            command.env_remove(name);
        }
        command.env_remove("NO_COLOR");
        command.env("TERM", "xterm-256color");
        env.iter().for_each(|(name, value)| command.env(name, value));
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let parser = vt100::Parser::new(rows, columns, 0);
        let state = Arc::new(Mutex::new(State { parser, raw: Vec::new(), is_over: false }));
        let mut reader = pair.master.try_clone_reader().unwrap();
        let written = state.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                let mut state = written.lock().unwrap_or_else(PoisonError::into_inner);
                state.parser.process(&bytes[..count]);
                state.raw.extend_from_slice(&bytes[..count]);
                assert!(state.raw.len() < KEPT, "a program writes without end");
            }
            written.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        });
        Self { keys: pair.master.take_writer().unwrap(), master: pair.master, child, state }
    }

    /// What is on the screen.
    pub fn screen(&self) -> String {
        self.with(|state| state.parser.screen().contents())
    }

    /// All that was written.
    pub fn raw(&self) -> String {
        self.with(|state| String::from_utf8_lossy(&state.raw).into_owned())
    }

    /// Whether the screen is the one that a program draws on.
    pub fn is_drawn_on(&self) -> bool {
        self.with(|state| state.parser.screen().alternate_screen())
    }

    /// Whether the terminal takes lines and shows what is typed, as a shell wants it.
    pub fn takes_lines(&self) -> bool {
        let termios = self.master.get_termios().unwrap();
        format!("{:?}", termios.local_flags).contains("ICANON")
    }

    /// Whether anything on the screen has a colour.
    pub fn has_colour(&self) -> bool {
        self.with(|state| {
            let screen = state.parser.screen();
            let (rows, columns) = screen.size();
            let cells = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
            let mut cells = cells.filter_map(|(row, column)| screen.cell(row, column));
            cells.any(|cell| {
                (cell.fgcolor(), cell.bgcolor()) != (vt100::Color::Default, vt100::Color::Default)
            })
        })
    }

    /// Whether a line was too long for the window.
    pub fn wraps(&self) -> bool {
        self.with(|state| {
            (0..state.parser.screen().size().0).any(|row| state.parser.screen().row_wrapped(row))
        })
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    pub fn resize(&mut self, (columns, rows): (u16, u16)) {
        self.with(|state| state.parser.screen_mut().set_size(rows, columns));
        self.master.resize(sized(columns, rows)).unwrap();
    }

    #[allow(unsafe_code)]
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.process_id().unwrap()).unwrap();
        // Safe: no memory is involved.
        unsafe { libc::kill(pid, signal) };
    }

    /// How often this is on the screen.
    pub fn count(&self, text: &str) -> usize {
        self.screen().matches(text).count()
    }

    /// Waits until the screen holds all of these.
    pub async fn shows(&self, wanted: &[&str]) -> String {
        until(&format!("{wanted:?} on the screen"), || async {
            let screen = self.screen();
            let is_there = wanted.iter().all(|wanted| screen.contains(wanted));
            holds(is_there, format!("\n{screen}")).map(|()| screen)
        })
        .await
    }

    /// Waits for its end, and until all that it has written is read.
    pub async fn exit(&mut self) -> ExitStatus {
        until("the last of what the program has written", || async {
            holds(self.with(|state| state.is_over), self.screen())
        })
        .await;
        let child = Mutex::new(&mut self.child);
        until("the program to end", || async {
            let ended = child.lock().unwrap_or_else(PoisonError::into_inner).try_wait().unwrap();
            ended.ok_or("it goes on")
        })
        .await
    }

    fn with<T>(&self, read: impl FnOnce(&mut State) -> T) -> T {
        read(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        if std::thread::panicking() {
            eprintln!("==== the screen\n{}", self.screen());
        }
    }
}

/// What a run without a terminal came to.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs the program to its end, without a terminal.
pub async fn run(args: &[&str]) -> Run {
    soon("echo-mesh to end", command(args).output()).await.unwrap().into()
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// The program, without a terminal and without anything of a mesh outside.
pub fn command(args: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(binaries::program("echo-mesh"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ECHO_")) {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

fn sized(cols: u16, rows: u16) -> PtySize {
    PtySize { rows, cols, ..PtySize::default() }
}
