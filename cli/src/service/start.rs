//! What a service starts.

use std::path::PathBuf;

use echo_bus::process::BadConfig;

use super::place::Place;
use crate::config;

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

    /// # Errors
    /// The command would not take its arguments, or one is a code: a sentence that says what to do.
    pub fn parses(&self, user: bool, commands: clap::Command) -> Result<(), BadConfig> {
        // The variables of whoever installs it do not reach the service.
        let commands = config::without(commands, &|_| true);
        let line = ["echo-mesh", self.command].into_iter().chain(self.arguments.iter().map(String::as_str));
        let matches = commands.try_get_matches_from(line).map_err(|error| {
            let said = error.render().to_string();
            let said = said.trim_end().trim_start_matches("error: ");
            let whole = format!("the service could not start `echo-mesh {}`: {said}", self.words());
            BadConfig(if error.use_stderr() {
                whole
            } else {
                format!("a service is not for asking: {}", self.words())
            })
        })?;
        let has_code = matches
            .subcommand_matches("join")
            .is_some_and(|join| join.try_contains_id("code").unwrap_or(false) && join.contains_id("code"));
        if !has_code {
            return Ok(());
        }
        let how = match user {
            true => {
                "`echo-mesh join CODE`, Ctrl-C once it is in, and then `echo-mesh service install join --user`"
            }
            false => {
                "`sudo -u echo-mesh echo-mesh join CODE --run-dir /var/lib/echo-mesh`, Ctrl-C once it is in, and then \
                 `sudo echo-mesh service install join`"
            }
        };
        Err(BadConfig(format!(
            "a code is good once, and everybody can read the arguments of a service: let this machine join first: {how}"
        )))
    }

    fn words(&self) -> String {
        let words = [self.command].into_iter().chain(self.arguments.iter().map(String::as_str));
        words.collect::<Vec<_>>().join(" ")
    }
}
