//! A terminal that is drawn on as a whole, and given back as it was: after a key, a signal, an error, or a panic.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::mpsc;

/// How soon the reader of keys notices that nobody wants them any more.
const LOOK: Duration = Duration::from_millis(200);
/// Keys that wait to be taken. Who types faster than the program takes them waits.
const WAITING: usize = 64;

/// What a person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    Key(KeyCode),
    /// Ctrl-C, which is a key while a screen is drawn.
    Interrupt,
    /// The window has another size now.
    Resized,
}

/// The terminal, while it is drawn on.
pub struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    /// Whether there is a terminal to draw on, and one to type on.
    pub fn is_possible() -> bool {
        io::stdout().is_terminal() && io::stdin().is_terminal()
    }

    /// Takes the terminal. A panic gives it back, too, before it is told.
    ///
    /// # Errors
    /// The terminal cannot be put into raw mode.
    pub fn open() -> io::Result<Self> {
        let terminal = ratatui::try_init().inspect_err(|_| give_back())?;
        Ok(Self { terminal })
    }

    /// Draws all of it.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(|_| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.terminal.show_cursor();
        give_back();
    }
}

fn give_back() {
    let _ = ratatui::try_restore();
}

/// What is typed from now on, until the receiver is dropped; it ends when the terminal is gone. Reading keys blocks, so it
/// has a thread.
pub fn inputs() -> mpsc::Receiver<Input> {
    let (typed, inputs) = mpsc::channel(WAITING);
    std::thread::spawn(move || {
        while !typed.is_closed() {
            match event::poll(LOOK).and_then(|is_there| is_there.then(event::read).transpose()) {
                Ok(None) => {}
                Ok(Some(event)) => {
                    if let Some(input) = input(&event)
                        && typed.blocking_send(input).is_err()
                    {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    });
    inputs
}

fn input(event: &Event) -> Option<Input> {
    match event {
        Event::Key(KeyEvent { kind: KeyEventKind::Release, .. }) => None,
        Event::Key(KeyEvent { code: KeyCode::Char('c'), modifiers, .. })
            if modifiers.contains(KeyModifiers::CONTROL) =>
        {
            Some(Input::Interrupt)
        }
        Event::Key(KeyEvent { code, modifiers, .. })
            if !modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) =>
        {
            Some(Input::Key(*code))
        }
        Event::Resize(..) => Some(Input::Resized),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use portable_pty::{CommandBuilder, PtySize, native_pty_system};

    use super::*;

    /// Says to this test that it is the program in the terminal.
    const INSIDE: &str = "ECHO_TEST_PANICS";

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_is_told() {
        if std::env::var_os(INSIDE).is_some() {
            let _screen = Screen::open().unwrap();
            panic!("as by a fault");
        }
        let pair = native_pty_system().openpty(PtySize::default()).unwrap();
        let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            "--nocapture",
            "screen::tests::a_panic_gives_the_terminal_back_before_it_is_told",
        ]);
        command.env(INSIDE, "1");
        let before = pair.master.get_termios().unwrap().local_flags;
        let mut child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut written = Vec::new();
        // Linux says that the other side is gone by an error.
        let _ = pair.master.try_clone_reader().unwrap().read_to_end(&mut written);
        assert!(!child.wait().unwrap().success());
        let text = String::from_utf8_lossy(&written);
        let at = |what: &str| text.rfind(what).unwrap_or_else(|| panic!("{what:?} is missing in {text:?}"));
        assert!(
            at("\x1b[?1049h") < at("\x1b[?1049l") && text.find("\x1b[?1049l") < text.find("as by a fault"),
            "{text:?}"
        );
        assert_eq!(pair.master.get_termios().unwrap().local_flags, before);
    }

    #[test]
    fn control_keys_are_no_letters_and_a_key_that_is_let_go_is_none() {
        let key = |code, modifiers| Event::Key(KeyEvent::new(code, modifiers));
        let control = |letter| key(KeyCode::Char(letter), KeyModifiers::CONTROL);
        assert_eq!(input(&control('c')), Some(Input::Interrupt));
        assert_eq!(input(&control('d')), None, "it drains nothing");
        let plain = key(KeyCode::Char('d'), KeyModifiers::NONE);
        assert_eq!(input(&plain), Some(Input::Key(KeyCode::Char('d'))));
        assert_eq!(
            input(&key(KeyCode::Char('G'), KeyModifiers::SHIFT)),
            Some(Input::Key(KeyCode::Char('G')))
        );
        let mut released = KeyEvent::new(KeyCode::Char('d'), KeyModifiers::NONE);
        released.kind = KeyEventKind::Release;
        assert_eq!(input(&Event::Key(released)), None);
    }
}
