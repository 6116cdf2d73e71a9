//! A program in a real terminal: what is on its screen, what it was sent to the letter, and the keys.

use std::io::{Read as _, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use echo_testing::mesh::{binaries, until};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

const SIZE: PtySize = PtySize { rows: 40, cols: 140, pixel_width: 0, pixel_height: 0 };

struct Shown {
    screen: vt100::Parser,
    raw: Vec<u8>,
}

/// `echo-mesh` in a terminal. It is killed on drop.
pub struct Terminal {
    shown: Arc<Mutex<Shown>>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    _master: Box<dyn MasterPty + Send>,
}

impl Terminal {
    pub fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        let pair = native_pty_system().openpty(SIZE).unwrap();
        let mut command = CommandBuilder::new(binaries::program("echo-mesh"));
        command.args(args);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ECHO_") || name == "NO_COLOR")
        {
            command.env_remove(name);
        }
        command.env("TERM", "xterm-256color");
        env.iter().for_each(|(name, value)| command.env(name, value));
        let child = pair.slave.spawn_command(command).unwrap();
        let (mut output, keys) =
            (pair.master.try_clone_reader().unwrap(), pair.master.take_writer().unwrap());
        let screen = vt100::Parser::new(SIZE.rows, SIZE.cols, 1_000);
        let shown = Arc::new(Mutex::new(Shown { screen, raw: Vec::new() }));
        let to = shown.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                let mut shown = to.lock().unwrap();
                shown.screen.process(&bytes[..read]);
                shown.raw.extend_from_slice(&bytes[..read]);
            }
        });
        Self { shown, keys, child, _master: pair.master }
    }

    pub fn keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// What a person sees, the lines that have left the screen not among it.
    pub fn screen(&self) -> String {
        self.shown().screen.screen().contents()
    }

    /// All that the program has sent.
    pub fn raw(&self) -> String {
        String::from_utf8_lossy(&self.shown().raw).into_owned()
    }

    /// How often this is on the screen.
    pub fn count(&self, text: &str) -> usize {
        self.screen().matches(text).count()
    }

    /// Waits until this was on the screen, or is in what was sent.
    pub async fn shows(&self, text: &str) {
        until(&format!("{text:?} on the screen"), || async {
            let screen = self.screen();
            if screen.contains(text) { Ok(()) } else { Err(format!("\n{screen}\n")) }
        })
        .await;
    }

    /// The exit code, once it has ended.
    pub async fn exit(&mut self) -> u32 {
        for _ in 0..3_000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.exit_code();
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("it goes on:\n{}", self.screen());
    }

    fn shown(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        if thread::panicking() {
            eprintln!("==== the screen\n{}", self.screen());
        }
    }
}
