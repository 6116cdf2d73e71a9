//! What is decided, from what is there.

use std::fs;
use std::path::PathBuf;

use super::place::Place;
use super::start::Start;
use super::steps::Step;
use super::{launchd, systemd};

fn start(program: &str, arguments: &[&str]) -> Start {
    let arguments = arguments.iter().map(ToString::to_string).collect();
    Start { program: program.into(), command: "up", arguments }
}

fn written(steps: &[Step]) -> Vec<PathBuf> {
    let path = |step: &Step| match step {
        Step::Write { path, .. } => Some(path.clone()),
        _ => None,
    };
    steps.iter().filter_map(path).collect()
}

fn runs(steps: &[Step]) -> Vec<String> {
    let command = |step: &Step| match step {
        Step::Run { command } => Some(command.join(" ")),
        _ => None,
    };
    steps.iter().filter_map(command).collect()
}

/// As if the steps had been taken, programs aside.
fn write(steps: &[Step]) {
    for step in steps {
        if let Step::Write { path, text } = step {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }
}

#[test]
fn a_second_install_writes_nothing_and_starts_nothing_anew() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::below(root.path());
    for user in [false, true] {
        let start = start("/usr/local/bin/echo-mesh", &[]);
        let first = systemd::install(&start, user, &place).unwrap();
        assert!(runs(&first).last().unwrap().ends_with("restart echo-mesh.service"), "{first:?}");
        write(&first);
        let second = systemd::install(&start, user, &place).unwrap();
        assert!(written(&second).is_empty(), "{second:?}");
        assert!(runs(&second).last().unwrap().ends_with(" start echo-mesh.service"), "{second:?}");
    }
}

#[test]
fn other_arguments_write_the_unit_again_and_the_settings_of_a_person_stay() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::below(root.path());
    write(&systemd::install(&start("/usr/local/bin/echo-mesh", &[]), false, &place).unwrap());
    fs::write(place.at("/etc/echo-mesh/config.toml"), "# mine\n").unwrap();
    let steps = systemd::install(&start("/usr/local/bin/echo-mesh", &["--lan"]), false, &place).unwrap();
    assert_eq!(written(&steps), [place.at("/etc/systemd/system/echo-mesh.service")]);
}

#[test]
fn the_unit_of_the_package_is_used_where_it_says_the_same() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::below(root.path());
    let unit = place.at("/usr/lib/systemd/system/echo-mesh.service");
    write(&[Step::Write { path: unit.clone(), text: systemd::SYSTEM_UNIT.into() }]);
    let steps = systemd::install(&start("/usr/bin/echo-mesh", &[]), false, &place).unwrap();
    assert_eq!(written(&steps), [place.at("/etc/echo-mesh/config.toml")]);
    // Removal leaves what is the package's.
    let steps = systemd::remove(false, &place).unwrap();
    assert_eq!(runs(&steps), ["systemctl disable --now echo-mesh.service"]);
    assert!(!steps.contains(&Step::Delete { path: unit }), "{steps:?}");
}

#[test]
fn what_was_installed_is_removed_and_a_second_removal_finds_nothing() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::below(root.path());
    write(&systemd::install(&start("/usr/local/bin/echo-mesh", &[]), true, &place).unwrap());
    let unit = root.path().join("home/ada/.config/systemd/user/echo-mesh.service");
    let steps = systemd::remove(true, &place).unwrap();
    assert_eq!(runs(&steps)[0], "systemctl --user disable --now echo-mesh.service");
    assert!(steps.contains(&Step::Delete { path: unit.clone() }), "{steps:?}");
    fs::remove_file(unit).unwrap();
    assert_eq!(systemd::remove(true, &place).unwrap(), [Step::Word("No service is installed.".into())]);
}

#[test]
fn the_unit_starts_this_program_with_its_arguments_as_they_are() {
    for user in [false, true] {
        let odd = ["--engine", "a b", "50%", "$HOME", "say \"hi\"", ""];
        let unit = systemd::unit(&start("/opt/echo mesh/echo-mesh", &odd), user);
        let line = unit.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
        assert_eq!(
            line,
            r#"ExecStart="/opt/echo mesh/echo-mesh" up --engine "a b" "50%%" $$HOME "say \"hi\"" """#
        );
    }
}

#[test]
fn a_program_that_the_service_would_not_see_is_refused_and_so_is_a_line_break() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::below(root.path());
    for hidden in ["/home/ada/bin/echo-mesh", "/root/echo-mesh", "/tmp/echo-mesh"] {
        let refused = start(hidden, &[]).check(false, &place).unwrap_err().to_string();
        assert!(refused.contains("/usr/local/bin/echo-mesh"), "{refused}");
        start(hidden, &[]).check(true, &place).unwrap();
    }
    start("/usr/local/bin/echo-mesh", &[]).check(false, &place).unwrap();
    // A line of its own would be a setting: what runs before the start, and as whom.
    for user in [false, true] {
        start("/usr/bin/echo-mesh", &["x\nExecStartPre=/bin/true"]).check(user, &place).unwrap_err();
        start("/opt/x\nExecStartPre=/bin/true", &[]).check(user, &place).unwrap_err();
    }
}

#[test]
fn what_the_command_would_not_take_and_a_code_are_refused_before_anything_is_written() {
    use clap::CommandFactory as _;
    let refused = |command: &'static str, user: bool, arguments: &[&str]| {
        let start = Start { command, ..start("/usr/bin/echo-mesh", arguments) };
        start.parses(user, crate::args::Cli::command()).map_err(|error| error.to_string())
    };
    refused("up", false, &["--lan"]).unwrap();
    refused("join", true, &[]).unwrap();
    let error = refused("up", false, &["--lann"]).unwrap_err();
    assert!(error.contains("`echo-mesh up --lann`") && error.contains("--lan"), "{error}");
    refused("up", false, &["--help"]).unwrap_err();
    let error = refused("join", false, &["ABCD-1234"]).unwrap_err();
    assert!(error.contains("sudo -u echo-mesh echo-mesh join CODE --run-dir /var/lib/echo-mesh"), "{error}");
    assert!(!error.contains("ABCD"), "the code is secret: {error}");
    let error = refused("join", true, &["ABCD-1234"]).unwrap_err();
    assert!(error.contains("service install join --user") && !error.contains("sudo"), "{error}");
}

#[test]
fn the_state_is_told_in_words_and_only_a_running_service_counts() {
    let active = "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\n\
                  FragmentPath=/etc/systemd/system/echo-mesh.service\nMainPID=77\nNRestarts=2\n\
                  ActiveEnterTimestamp=Thu 2026-11-26 20:38:51 UTC\n";
    let (text, running) = systemd::described(active, false);
    assert!(running && text.contains("pid 77; starts at boot; started again 2 times"), "{text}");
    assert!(text.contains("journalctl -u echo-mesh"), "{text}");
    let failed = "LoadState=loaded\nActiveState=failed\nExecMainStatus=2\nUnitFileState=disabled\n";
    let (text, running) = systemd::described(failed, true);
    assert!(!running && text.contains("has failed, exit status 2; is not started by itself"), "{text}");
    let (text, running) = systemd::described("LoadState=not-found\n", true);
    assert!(!running && text.contains("echo-mesh service install --user"), "{text}");
}

#[test]
fn without_systemd_it_says_what_to_do_instead() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::below(root.path());
    let refused = systemd::running(&place).unwrap_err().to_string();
    assert!(refused.contains("echo-mesh up --detach"), "{refused}");
    fs::create_dir_all(place.at("/run/systemd/system")).unwrap();
    systemd::running(&place).unwrap();
}

/// systemd's own opinion of both units; a machine without it has none.
#[test]
fn systemd_finds_no_fault_with_the_units() {
    let dir = tempfile::tempdir().unwrap();
    for (user, flag) in [(false, "--system"), (true, "--user")] {
        let file = dir.path().join("echo-mesh.service");
        // The program must be there, and no manual page is.
        let unit = systemd::unit(&start("/bin/true", &["--lan", "50%"]), user);
        fs::write(&file, unit.replace("Documentation=man:echo-mesh(1)\n", "")).unwrap();
        let verify = std::process::Command::new("systemd-analyze")
            .args(["verify", flag])
            .arg(&file)
            .env("XDG_RUNTIME_DIR", dir.path())
            .output();
        let Ok(said) = verify else { return };
        let words = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success() && !words.contains("echo-mesh"), "{words}");
    }
}

#[test]
fn the_plist_starts_this_program_and_escapes_what_xml_would_read() {
    let text = launchd::plist(&start("/opt/echo-mesh", &["--model", "<a&b>"]), "/logs/echo.log", Some("ada"));
    for expected in [
        "<string>/opt/echo-mesh</string>\n        <string>up</string>\n        <string>--model</string>",
        "<string>&lt;a&amp;b&gt;</string>",
        "<string>/logs/echo.log</string>",
        "<key>UserName</key>\n    <string>ada</string>",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert!(!text.contains("/usr/local/bin/echo-mesh") && !text.contains("/tmp/"), "{text}");
}
