//! What a service starts.

use std::path::PathBuf;

use echo_bus::process::BadConfig;

use super::place::Place;

/// A command of this program, with its arguments.
#[derive(Debug)]
pub struct Start {
    pub program: PathBuf,
    pub command: &'static str,
    pub arguments: Vec<String>,
}

/// Folders that a service of the system does not see, or that are emptied.
const HIDDEN: [&str; 6] = ["/home", "/root", "/run", "/tmp", "/var/tmp", "/Users"];

impl Start {
    /// # Errors
    /// The system could not run it.
    pub fn check(&self, user: bool, place: &Place) -> Result<(), BadConfig> {
        let odd = |text: &str| text.chars().any(char::is_control);
        if odd(&self.program.to_string_lossy()) || self.arguments.iter().any(|argument| odd(argument)) {
            return Err(BadConfig(
                "an argument of a service may not hold line breaks or control characters".into(),
            ));
        }
        let hidden = !user && HIDDEN.iter().any(|folder| self.program.starts_with(folder));
        if hidden && place.hides_homes {
            let program = self.program.display();
            return Err(BadConfig(format!(
                "a service of the system cannot run {program}, because it sees neither home folders nor /tmp: \
                 `sudo install {program} /usr/local/bin/echo-mesh`, and call that one; or take --user"
            )));
        }
        Ok(())
    }
}
