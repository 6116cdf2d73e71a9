//! What people read on their terminal.

use std::io::{IsTerminal as _, Write as _};

/// A line on stdout. Whoever has closed it hears no more.
pub fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A line on stderr.
pub fn warn(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Whether somebody looks at stdout, and wants to see motion and colour.
pub fn is_watched() -> bool {
    std::io::stdout().is_terminal()
}
