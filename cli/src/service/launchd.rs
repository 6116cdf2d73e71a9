//! Services of launchd, on macOS: of a user, or of the system, which then runs them as whoever called sudo.

use std::path::PathBuf;

use echo_bus::process::BadConfig;

use super::place::Place;
use super::start::Start;
use super::steps::{self, Step};

const LABEL: &str = "local.echo-mesh";
const PLIST: &str = include_str!("../../../packaging/launchd/local.echo-mesh.plist");
const PLIST_PROGRAM: &str =
    "        <string>/usr/local/bin/echo-mesh</string>\n        <string>up</string>\n";
const PLIST_LOG: &str = "/tmp/echo-mesh.log";
const PLIST_LABEL: &str = "    <key>Label</key>\n";

/// What makes the service run, now and at each start.
pub fn install(start: &Start, user: bool, place: &Place) -> Result<Vec<Step>, BadConfig> {
    let job = Job::of(user, place)?;
    let text = job.plist(start);
    let mut steps = Vec::new();
    if std::fs::read_to_string(&job.file).is_ok_and(|there| there == text) {
        steps.push(Step::Word(format!("{} is as it should be.", job.file.display())));
    } else {
        if job.file.exists() {
            // launchd reads a file once.
            steps.push(Step::run(&["launchctl", "bootout", &job.target()]));
        }
        steps.push(Step::Write { path: job.file.clone(), text });
        steps.push(Step::run(&["launchctl", "bootstrap", &job.domain, &job.file.to_string_lossy()]));
    }
    steps.push(Step::run(&["launchctl", "kickstart", &job.target()]));
    Ok(steps)
}

/// What takes the service away again. What it has stored stays.
pub fn remove(user: bool, place: &Place) -> Result<Vec<Step>, BadConfig> {
    let job = Job::of(user, place)?;
    if !job.file.exists() {
        return Ok(vec![Step::Word("No service is installed.".into())]);
    }
    Ok(vec![Step::run(&["launchctl", "bootout", &job.target()]), Step::Delete { path: job.file }])
}

/// How the service is, as text, and whether it runs.
pub fn status(user: bool, place: &Place) -> anyhow::Result<(String, bool)> {
    let job = Job::of(user, place)?;
    if !job.file.exists() {
        return Ok(("the service is not installed: `echo-mesh service install` does that".into(), false));
    }
    let shown = steps::output(&["launchctl", "print", &job.target()]);
    let running = shown.is_ok_and(|text| text.contains("state = running"));
    let state = if running { "runs" } else { "does not run" };
    Ok((format!("the service {state}\nunit   {}\nlogs   {}", job.file.display(), job.log.display()), running))
}

/// One service as launchd knows it.
struct Job {
    /// Of launchd: `system`, or the one of a user.
    domain: String,
    file: PathBuf,
    log: PathBuf,
    /// Whom the system runs it as.
    runs_as: Option<String>,
}

impl Job {
    fn of(user: bool, place: &Place) -> Result<Self, BadConfig> {
        if user {
            let home = place.home().ok_or_else(|| {
                BadConfig("HOME is not set, so there is no folder for a service of your own".into())
            })?;
            return Ok(Self {
                domain: format!("gui/{}", steps::user_id().unwrap_or_default()),
                file: home.join(format!("Library/LaunchAgents/{LABEL}.plist")),
                log: home.join("Library/Logs/echo-mesh.log"),
                runs_as: None,
            });
        }
        Ok(Self {
            domain: "system".into(),
            file: place.at(&format!("/Library/LaunchDaemons/{LABEL}.plist")),
            log: place.at("/Library/Logs/echo-mesh.log"),
            runs_as: Some(std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty()).ok_or_else(
                || {
                    BadConfig(
                        "the service runs as the user who calls sudo: call it with sudo, or take --user"
                            .into(),
                    )
                },
            )?),
        })
    }

    fn target(&self) -> String {
        format!("{}/{LABEL}", self.domain)
    }

    fn plist(&self, start: &Start) -> String {
        plist(start, &self.log.to_string_lossy(), self.runs_as.as_deref())
    }
}

/// The text of the file that starts this.
pub fn plist(start: &Start, log: &str, runs_as: Option<&str>) -> String {
    let program = start.program.to_string_lossy();
    let words =
        [program.as_ref(), start.command].into_iter().chain(start.arguments.iter().map(String::as_str));
    let words: String = words.map(|word| format!("        <string>{}</string>\n", escaped(word))).collect();
    let text = PLIST.replace(PLIST_PROGRAM, &words).replace(PLIST_LOG, &escaped(log));
    let Some(name) = runs_as else {
        return text;
    };
    let user = format!("    <key>UserName</key>\n    <string>{}</string>\n{PLIST_LABEL}", escaped(name));
    text.replacen(PLIST_LABEL, &user, 1)
}

fn escaped(word: &str) -> String {
    word.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
