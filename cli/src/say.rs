//! What people read on their terminal.

use std::io::{IsTerminal as _, Write as _};

/// A line on stdout. Whoever has closed it hears no more.
pub fn say(line: impl std::fmt::Display) {
    heard(line);
}

/// The same, and whether somebody still hears it.
pub fn heard(line: impl std::fmt::Display) -> bool {
    writeln!(std::io::stdout().lock(), "{line}").is_ok()
}

/// A line on stderr.
pub fn warn(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Whether somebody looks at stdout, and wants to see motion and colour.
pub fn is_watched() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether the system's journal keeps what stdout says.
pub fn is_kept() -> bool {
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::MetadataExt as _;
    let file = std::io::stdout().as_fd().try_clone_to_owned().map(std::fs::File::from);
    let about = file.and_then(|file| file.metadata()).map(|it| format!("{}:{}", it.dev(), it.ino()));
    about.is_ok_and(|about| std::env::var("JOURNAL_STREAM").is_ok_and(|journal| journal == about))
}

/// Whether people want colours here. Other programs' rule: <https://no-color.org>.
pub fn colours(terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    terminal && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}

/// A line on stderr that is not what was asked for, only about it.
pub fn aside(line: impl std::fmt::Display) {
    if colours(std::io::stderr().is_terminal()) {
        warn(format_args!("\x1b[2m{line}\x1b[0m"));
    } else {
        warn(line);
    }
}
