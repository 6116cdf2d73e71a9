use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::LazyLock;

use clap::builder::Resettable;
use clap::{Arg, ArgMatches, CommandFactory as _};
use proptest::prelude::*;

use super::settings::{is_list, is_switch, name, tree};
use super::*;
use crate::args::Cli;

/// To make it takes longer than to look at it.
static COMMANDS: LazyLock<Command> = LazyLock::new(Cli::command);

/// The whole command line; nothing is required, so that one flag at a time can be looked at.
fn commands() -> Command {
    static RELAXED: LazyLock<Command> = LazyLock::new(|| relaxed(COMMANDS.clone()));
    fn relaxed(command: Command) -> Command {
        let command =
            command.mut_args(|arg| arg.required(false).requires(Resettable::Reset)).mut_subcommands(relaxed);
        command.subcommand_required(false).arg_required_else_help(false)
    }
    RELAXED.clone()
}

fn read(text: &str) -> Result<File, BadConfig> {
    let file = File::parse(Path::new("config.toml"), text)?;
    settings::check(&file, &COMMANDS)?;
    Ok(file)
}

fn refused(text: &str) -> String {
    read(text).expect_err(text).to_string()
}

/// What one flag is after this command line.
fn parsed(commands: Command, path: &[String], arg: &Arg, flags: &[String]) -> String {
    let line =
        std::iter::once("echo-mesh".to_owned()).chain(path.iter().cloned()).chain(flags.iter().cloned());
    let line: Vec<String> = line.collect();
    let matches = commands.try_get_matches_from(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    let mut inner: &ArgMatches = &matches;
    while let Some((_, below)) = inner.subcommand() {
        inner = below;
    }
    let words = inner.get_raw(arg.get_id().as_str());
    words.map(|words| words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")).unwrap_or_default()
}

/// These settings of every command with three values: another than the default, another than that, and another again.
fn settings_where(is_wanted: impl Fn(&Arg) -> bool) -> Vec<(Vec<String>, Arg, [String; 3])> {
    let commands = commands();
    let mut all = Vec::new();
    for (path, command) in tree(&commands) {
        for arg in command.get_arguments().filter(|arg| name(arg).is_some() && is_wanted(arg)) {
            let samples: Vec<String> = match is_switch(arg) {
                true => ["true", "false"].map(str::to_owned).to_vec(),
                false => example::samples(arg),
            };
            let default = arg.get_default_values().first().map(|word| word.to_string_lossy().into_owned());
            let other = |than: Option<&String>| -> String {
                let found = samples.iter().find(|sample| Some(*sample) != than);
                found.unwrap_or_else(|| panic!("{path:?} --{:?} has no two samples", arg.get_long())).clone()
            };
            let first = other(default.as_ref());
            let second = other(Some(&first));
            let third = other(Some(&second));
            all.push((path.clone(), arg.clone(), [first, second, third]));
        }
    }
    all
}

fn with_file(path: &[String], arg: &Arg, word: &str) -> Command {
    let value = match (is_switch(arg), is_list(arg)) {
        (true, _) => word.to_owned(),
        (false, true) => format!("[{word:?}]"),
        (false, false) => format!("{word:?}"),
    };
    let table = if path.is_empty() { String::new() } else { format!("[{}]\n", path.join(".")) };
    let text = format!("{table}{} = {value}\n", name(arg).unwrap());
    let file = read(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    settings::apply(commands(), &file)
}

const CHILD: &str = "ECHO_TEST_VARIABLE";

#[test]
fn a_flag_comes_before_its_variable_that_before_the_file_and_that_before_the_default() {
    match std::env::var(CHILD).as_deref() {
        Ok("") => return without_variables(),
        Ok(variable) => return in_an_environment(variable),
        Err(_) => {}
    }
    // Each variable in a process of its own: nobody may change a running one's.
    let all = settings_where(|_| true);
    let mut variables: BTreeSet<(String, String)> = [(String::new(), String::new())].into();
    for (_, arg, _) in &all {
        let Some(name) = arg.get_env().and_then(OsStr::to_str) else { continue };
        let args: Vec<&Arg> =
            all.iter().map(|(_, arg, _)| arg).filter(|arg| arg.get_env() == Some(OsStr::new(name))).collect();
        let samples: BTreeSet<String> = match is_switch(arg) {
            true => ["true", "false"].map(str::to_owned).into(),
            false => args.iter().flat_map(|arg| example::samples(arg)).collect(),
        };
        // Commands that share a variable may differ in what they take.
        let is_for_all =
            |sample: &&String| args.iter().all(|arg| is_switch(arg) || settings::parses(arg, sample).is_ok());
        let sample = samples.iter().rev().find(is_for_all);
        let sample = sample.unwrap_or_else(|| panic!("{name} has no sample for all commands"));
        variables.insert((name.to_owned(), sample.clone()));
    }
    assert!(variables.len() > 30, "{variables:?}");
    for (variable, value) in variables {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ECHO_")) {
            child.env_remove(name);
        }
        if !variable.is_empty() {
            child.env(&variable, &value);
        }
        let this = std::thread::current().name().unwrap().to_owned();
        let output = child.args(["--exact", &this, "--nocapture"]).env(CHILD, &variable).output().unwrap();
        let said = format!("{output:?}");
        assert!(output.status.success() && said.contains("1 passed"), "{variable}={value}: {said}");
    }
}

fn without_variables() {
    for (path, arg, [file, _, flag]) in settings_where(|_| true) {
        let commands = with_file(&path, &arg, &file);
        assert_eq!(
            parsed(commands.clone(), &path, &arg, &[]),
            file,
            "{path:?} {arg}: the file was not heard"
        );
        let line = format!("--{}={flag}", name(&arg).unwrap());
        assert_eq!(
            parsed(commands.clone(), &path, &arg, &[line]),
            flag,
            "{path:?} {arg}: the file beat a flag"
        );
        if is_switch(&arg) {
            let line = format!("--{}", name(&arg).unwrap());
            assert_eq!(parsed(commands, &path, &arg, &[line]), "true", "{path:?} {arg}: a flag says yes");
        }
    }
}

fn in_an_environment(variable: &str) {
    let set = std::env::var(variable).unwrap();
    for (path, arg, [file, _, _]) in settings_where(|arg| arg.get_env() == Some(OsStr::new(variable))) {
        let other = example::samples(&arg).into_iter().find(|sample| *sample != set);
        let (file, flag) = match is_switch(&arg) {
            true => ((set != "true").to_string(), (set != "true").to_string()),
            false => (if file == set { other.clone().unwrap() } else { file }, other.unwrap()),
        };
        let commands = with_file(&path, &arg, &file);
        assert_eq!(
            parsed(commands.clone(), &path, &arg, &[]),
            set,
            "{path:?} {arg}: the file beat a variable"
        );
        let line = format!("--{}={flag}", name(&arg).unwrap());
        assert_eq!(parsed(commands, &path, &arg, &[line]), flag, "{path:?} {arg}: a variable beat a flag");
    }
}

#[test]
fn every_setting_of_the_example_is_accepted_and_none_is_missing() {
    let text = example::text(&Cli::command());
    let is_setting = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line.contains(" = ");
    let open: Vec<&str> = text.lines().map(|line| if is_setting(line) { &line[1..] } else { line }).collect();
    let file = read(&open.join("\n")).unwrap();
    assert!(!text.contains("has no example"), "{text}");
    for (path, command) in tree(&Cli::command()) {
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let Some(name) = name(arg) else { continue };
            assert!(file.setting(&path, name).is_some(), "{path:?} {name} is not in the example");
        }
    }
    assert!(read(&text).unwrap().settings.is_empty(), "nothing of the example is in force unasked");
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_what_was_meant() {
    for (text, line, words) in [
        ("[edgee]\nlisten = '127.0.0.1:1'", 1, "a command `edgee`; did you mean [edge]?"),
        ("[broker.fetsch]", 1, "a command `broker fetsch`; did you mean [broker.fetch]?"),
        ("\n[edge]\nlisen = '127.0.0.1:1'", 3, "no setting `lisen` in [edge]; did you mean `listen`?"),
        ("[edge]\nheartbeat = '2s'", 2, "it belongs into [agent]"),
        ("nuts = 'nats://x'", 1, "did you mean `nats`?"),
        ("colour = 'red'", 1, "`echo-mesh config --example` prints all settings"),
        ("[agent]\n\nslots = 'many'", 3, "invalid value 'many' for `slots`"),
        ("[agent]\nslots = 0", 2, "1..=16384"),
        ("log-format = 'xml'", 1, "[possible values: text, json]"),
        ("[agent]\nheartbeat = true", 2, "`heartbeat` wants a value"),
        ("[agent]\nno-calibration = 'yes'", 2, "`no-calibration` is either true or false"),
        ("nats = ['nats://a', 'nats://b']", 1, "`nats` has one value"),
        ("[edge]\nallow-host = [['a']]", 2, "list of lists"),
        ("[edge]\nkeep-limit = 07:32:00", 2, "is a date; put it into quotes"),
        (
            "listen = '127.0.0.1:1'",
            1,
            "something else for each command: put it into [broker], [orchestrator]",
        ),
        ("secret = 'abc'", 1, "secrets do not belong in this file"),
        ("[agent]\nengine_key = 'abc'", 2, "secrets do not belong in this file"),
        ("nats = 'nats://mesh:hush@box:4222'", 1, "holds a password"),
        ("nats = 1\nnats = 2", 2, "duplicate key"),
        ("[agent]\nconfig = 'x'", 2, "no setting `config`"),
        ("x", 1, "="),
    ] {
        let said = refused(text);
        assert!(
            said.starts_with(&format!("config.toml:{line}: ")) && said.contains(words),
            "{text:?}: {said}"
        );
        assert!(!said.contains("hush") && !said.contains("abc"), "{said}");
    }
}

#[test]
fn an_inner_table_comes_before_an_outer_one() {
    let file =
        read("drain-timeout = '1s'\n[agent]\ndrain-timeout = '2s'\n[broker]\ncache-dir = '/x'").unwrap();
    let line = |command: &str, flag| file.setting(&[command.to_owned()], flag).map(|it| it.line);
    assert_eq!((line("agent", "drain-timeout"), line("edge", "drain-timeout")), (Some(3), Some(1)));
    assert_eq!((line("broker", "cache-dir"), line("doctor", "cache-dir")), (Some(5), None));
}

#[test]
fn a_file_that_others_can_write_is_refused_with_the_cure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, "nats = 'nats://127.0.0.1:4222'").unwrap();
    for (mode, good) in [(0o600, true), (0o644, true), (0o664, false), (0o646, false)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        match File::read(&path) {
            Ok(file) => assert!(good && file.settings.len() == 1, "{mode:o}"),
            Err(error) => assert!(!good && error.to_string().contains("chmod go-w"), "{mode:o}: {error}"),
        }
    }
    assert!(File::read(&folder.path().join("none")).unwrap_err().to_string().contains("--config"));
    assert!(File::read(folder.path()).is_err(), "a folder is no file");
    assert!(
        File::read(Path::new("/dev/null")).unwrap().settings.is_empty(),
        "nothing is said by naming nothing"
    );
}

#[test]
fn the_file_is_named_by_flag_or_not_at_all() {
    let named = |line: &[&str]| named(&line.iter().map(OsString::from).collect::<Vec<_>>());
    assert_eq!(named(&["echo-mesh", "edge", "--config", "a"]), Some("a".into()));
    assert_eq!(named(&["echo-mesh", "--config=b", "edge"]), Some("b".into()));
    assert_eq!(named(&["echo-mesh", "ask", "--", "--config", "c"]), None);
    assert_eq!(named(&["echo-mesh", "edge", "--config"]), None);
}

#[test]
fn every_shell_has_completions_and_every_command_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let line = ["echo-mesh", "completions", "man", "--out", folder.path().to_str().unwrap()];
    let Ok(Cli { command: crate::args::Command::Completions(args), .. }) =
        <Cli as clap::Parser>::try_parse_from(line)
    else {
        panic!("completions")
    };
    crate::completions::main(args, Cli::command());
    let commands = Cli::command();
    let all = tree(&commands).into_iter().map(|(path, _)| path).chain([vec!["config".to_owned()]]);
    for path in all {
        let page = [vec!["echo-mesh".to_owned()], path].concat().join("-");
        let text =
            fs::read_to_string(folder.path().join(format!("{page}.1"))).unwrap_or_else(|_| panic!("{page}"));
        assert!(text.contains(".SH NAME"), "{page}");
    }
}

/// Lines that look like a configuration, right and wrong ones.
fn toml() -> impl Strategy<Value = String> {
    let names: Vec<String> = tree(&Cli::command())
        .iter()
        .flat_map(|(path, command)| {
            let args = command.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned));
            args.chain(path.last().cloned()).collect::<Vec<_>>()
        })
        .collect();
    let word = prop_oneof![prop::sample::select(names), "[a-z_-]{1,8}", Just("\"\"".to_owned())];
    let value = prop_oneof![
        any::<bool>().prop_map(|it| it.to_string()),
        any::<i64>().prop_map(|it| it.to_string()),
        any::<f64>().prop_map(|it| it.to_string()),
        "'[^'\r\n]{0,12}'",
        "\\[('[a-z,:/]{0,6}'|[0-9]|\\[|\\]|,| ){0,4}\\]",
        "\"(30s|127.0.0.1:1|nats://a:b@c|text|\\\\u0000|\\\\n)\"",
        "\\PC{0,8}",
    ];
    let line = prop_oneof![
        (word.clone(), value).prop_map(|(key, value)| format!("{key} = {value}")),
        word.clone().prop_map(|name| format!("[{name}]")),
        (word.clone(), word).prop_map(|(a, b)| format!("[{a}.{b}]")),
        "\\PC{0,20}",
    ];
    prop::collection::vec(line, 0..6).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in toml()) {
        if let Ok(file) = read(&text) {
            for (path, _) in tree(&COMMANDS) {
                let line = std::iter::once("echo-mesh".to_owned()).chain(path);
                let _ = settings::apply(commands(), &file).try_get_matches_from(line);
            }
            let shown = force::settings(&COMMANDS, Some(&file), &[]).unwrap();
            let said = force::text(&shown, Some(&file.path));
            prop_assert!(File::parse(Path::new("x"), &said).is_ok(), "what is in force is no TOML: {said}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic(text in "\\PC{0,60}|[\\[\\]=\"'.a-z\n]{0,60}") {
        let _ = read(&text);
    }
}

#[test]
fn spoilt_files() {
    let seed = "nats = \"nats://a:4222, tls://b\"\nwait = 30\n[agent]\nhours = [\"mon-fri 18:00-08:00\", \"22:00-6:00\"]\nbusy-limit = \"cpu=0.5,gpu=0.8\"\nmodels = ['llama3*', \"m\"]\nslots = 2\n[models.pull]\nnode = \"a\"\n[edge]\nkeep-limit = \"10m\"\nopen = true\n";
    let commands = Cli::command();
    echo_fuzz::parser("configuration file", &[seed], |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let Ok(file) = File::parse(Path::new("config.toml"), &text) else { return false };
        let checked = settings::check(&file, &commands);
        if let Err(bad) = checked {
            assert!(bad.to_string().len() <= 8 * bytes.len() + 2_048, "{}", bad.to_string().len());
        }
        true
    });
}
