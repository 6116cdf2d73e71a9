//! Services of systemd: of the system, with a user of their own and little that they may do, or of a user.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use echo_bus::process::BadConfig;

use super::place::Place;
use super::start::Start;
use super::steps::{self, Step};

pub const UNIT: &str = "echo-mesh.service";

/// The units are those of the Debian package, which start `echo-mesh up`.
pub const SYSTEM_UNIT: &str = include_str!("../../../packaging/systemd/system/echo-mesh.service");
pub const USER_UNIT: &str = include_str!("../../../packaging/systemd/user/echo-mesh.service");
const PACKAGED_START: &str = "ExecStart=/usr/bin/echo-mesh up\n";
const CONFIG: &str = include_str!("../../../packaging/config.toml");

/// What makes the service run, now and at each boot.
pub fn install(start: &Start, user: bool, place: &Place) -> Result<Vec<Step>, BadConfig> {
    let files = Files::of(user, place)?;
    let unit = unit(start, user);
    let mut steps = Vec::new();
    if !user {
        steps.push(Step::User { name: "echo-mesh", home: "/var/lib/echo-mesh" });
        let config = place.at("/etc/echo-mesh/config.toml");
        if !config.exists() {
            steps.push(Step::Write { path: config, text: CONFIG.into() });
        }
    }
    let changed = !files.say(&unit);
    if changed {
        steps.push(Step::Write { path: files.own, text: unit });
    }
    steps.push(systemctl(user, &["daemon-reload"]));
    steps.push(systemctl(user, &["enable", UNIT]));
    // A service that runs the old text would go on with it.
    steps.push(systemctl(user, &[if changed { "restart" } else { "start" }, UNIT]));
    let flag = if user { " --user" } else { "" };
    steps.push(Step::Word(format!("`echo-mesh service status{flag}` shows how it is.")));
    if user {
        steps.push(Step::Word("It ends when you log out, unless you call `loginctl enable-linger`.".into()));
    }
    Ok(steps)
}

/// What takes the service away again. Its user, its settings and what it has stored stay.
pub fn remove(user: bool, place: &Place) -> Result<Vec<Step>, BadConfig> {
    let files = Files::of(user, place)?;
    let packaged = files.packaged.iter().any(|path| path.exists());
    if !files.own.exists() && !packaged {
        return Ok(vec![Step::Word("No service is installed.".into())]);
    }
    let mut steps = vec![systemctl(user, &["disable", "--now", UNIT])];
    if files.own.exists() {
        steps.push(Step::Delete { path: files.own });
        steps.push(systemctl(user, &["daemon-reload"]));
    }
    if packaged {
        steps.push(Step::Word("The unit of the package stays, and is not started any more.".into()));
    }
    Ok(steps)
}

/// How the service is, as text, and whether it runs.
pub fn status(user: bool, place: &Place) -> anyhow::Result<(String, bool)> {
    running(place)?;
    let mut command = vec!["systemctl"];
    if user {
        command.push("--user");
    }
    command.extend(["show", UNIT, "--property", PROPERTIES]);
    let shown = steps::output(&command).context("systemd does not tell how the service is")?;
    Ok(described(&shown, user))
}

const PROPERTIES: &str = "LoadState,ActiveState,SubState,UnitFileState,FragmentPath,MainPID,ExecMainStatus,\
                          NRestarts,ActiveEnterTimestamp";

/// What `systemctl show` says, for a person.
pub fn described(shown: &str, user: bool) -> (String, bool) {
    let value = |name: &str| {
        let of = |line: &&str| line.split_once('=').is_some_and(|(key, _)| key == name);
        shown.lines().find(of).and_then(|line| line.split_once('=')).map_or("", |(_, value)| value)
    };
    let (whose, flag) = if user { ("your service", " --user") } else { ("the service of the system", "") };
    if value("LoadState") != "loaded" {
        let text = format!("{whose} is not installed: `echo-mesh service install{flag}` does that");
        return (text, false);
    }
    let running = value("ActiveState") == "active";
    let state = match (running, value("ActiveState")) {
        (true, _) => format!("runs since {}, pid {}", value("ActiveEnterTimestamp"), value("MainPID")),
        (false, "failed") => format!("has failed, exit status {}", value("ExecMainStatus")),
        (false, other) => format!("does not run ({other}, {})", value("SubState")),
    };
    let boot = match value("UnitFileState") {
        "enabled" if user => "starts when you log in",
        "enabled" => "starts at boot",
        _ => "is not started by itself",
    };
    let restarts = match value("NRestarts") {
        "" | "0" => String::new(),
        count => format!("; started again {count} times"),
    };
    let mut text = format!("{whose} {state}; {boot}{restarts}\nunit   {}\n", value("FragmentPath"));
    text.push_str(if user {
        "logs   journalctl --user -u echo-mesh    of the parts: echo-mesh logs"
    } else {
        "logs   journalctl -u echo-mesh    of the parts: /var/log/echo-mesh"
    });
    (text, running)
}

/// Where units lie.
struct Files {
    /// Ours.
    own: PathBuf,
    /// Those of a package; ours comes before them.
    packaged: [PathBuf; 2],
}

impl Files {
    fn of(user: bool, place: &Place) -> Result<Self, BadConfig> {
        if !user {
            let [own, usr, lib] =
                ["/etc", "/usr/lib", "/lib"].map(|dir| place.at(&format!("{dir}/systemd/system/{UNIT}")));
            return Ok(Self { own, packaged: [usr, lib] });
        }
        let home = place.config_home().ok_or_else(|| {
            BadConfig("HOME is not set, so there is no folder for a service of your own".into())
        })?;
        let [usr, lib] = ["/usr/lib", "/lib"].map(|dir| place.at(&format!("{dir}/systemd/user/{UNIT}")));
        Ok(Self { own: home.join("systemd/user").join(UNIT), packaged: [usr, lib] })
    }

    /// Whether systemd would read this very text.
    fn say(&self, unit: &str) -> bool {
        let is = |path: &PathBuf| fs::read_to_string(path).is_ok_and(|text| text == unit);
        if self.own.exists() { is(&self.own) } else { self.packaged.iter().any(is) }
    }
}

/// The text of the unit that starts this.
pub fn unit(start: &Start, user: bool) -> String {
    let text = if user { USER_UNIT } else { SYSTEM_UNIT };
    let program = quoted(&start.program.to_string_lossy());
    // systemd puts no variables into the name of a program.
    let words = start.arguments.iter().map(|argument| quoted(argument).replace('$', "$$"));
    let line: Vec<_> = [program, start.command.into()].into_iter().chain(words).collect();
    text.replace(PACKAGED_START, &format!("ExecStart={}\n", line.join(" ")))
}

/// A word of ExecStart as systemd reads it.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:,=@$".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%"))
}

fn systemctl(user: bool, words: &[&str]) -> Step {
    let own: &[&str] = if user { &["systemctl", "--user"] } else { &["systemctl"] };
    Step::run(&[own, words].concat())
}

/// # Errors
/// systemd does not run this machine.
pub fn running(place: &Place) -> Result<(), BadConfig> {
    if place.at("/run/systemd/system").is_dir() {
        return Ok(());
    }
    Err(BadConfig(
        "systemd does not run on this machine: start the mesh with `echo-mesh up --detach`, or have what starts \
         services here run `echo-mesh up`; --dry-run shows the unit that systemd would get"
            .into(),
    ))
}
