use clap::Parser as _;

use super::*;

#[derive(Debug, clap::Parser)]
struct Command {
    #[command(flatten)]
    settings: Settings,
}

/// Flags; `NAME=value` is a variable that clap has not seen.
fn read(words: &[&str]) -> Result<Set, String> {
    let (variables, flags): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with("ECHO_"));
    let variables: Vec<(String, String)> = variables
        .iter()
        .map(|word| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap())
        .collect();
    let flags = std::iter::once("up").chain(flags);
    let mut settings = Command::try_parse_from(flags).map_err(|error| error.to_string())?.settings;
    let env = |name: &str| variables.iter().find(|(one, _)| one == name).map(|(_, value)| value.clone());
    // What clap does with those of its own; the test's own environment must not matter.
    settings.edge_listen = settings.edge_listen.or_else(|| env("ECHO_EDGE_LISTEN"));
    settings.engines.slots = settings.engines.slots.or_else(|| env("ECHO_SLOTS"));
    settings.engines.engines = settings.engines.engines.or_else(|| env("ECHO_ENGINE_MODE"));
    settings.engines.engine_urls.extend(env("ECHO_ENGINE_URL"));
    settings.engines.model = settings.engines.model.or_else(|| env("ECHO_MODEL"));
    settings.read(&env).map_err(|error| error.to_string())
}

#[test]
fn nothing_needs_to_be_set() {
    let set = read(&[]).unwrap();
    assert_eq!(set.engines.layout, Layout::Local(Vec::new()));
    assert_eq!(set.mesh.edge.to_string(), "127.0.0.1:8080");
    assert_eq!(
        (set.mesh.nats.to_string(), set.mesh.monitor.to_string()),
        ("127.0.0.1:4222".into(), "127.0.0.1:8222".into())
    );
    assert_eq!(
        (set.engines.wish.mode, set.engines.wish.pull, set.engines.agents.len()),
        (Mode::Auto, None, 0)
    );
}

#[test]
fn each_node_of_a_number_has_its_engine_and_its_agent() {
    let set =
        read(&["--nodes", "3", "ECHO_ENGINE_B_URL=http://127.0.0.1:9/", "ECHO_AGENT_C_LISTEN=127.0.0.1:7"])
            .unwrap();
    let Layout::PerNode(engines) = &set.engines.layout else { panic!("{set:?}") };
    let urls: Vec<&str> = engines.iter().map(|named| crate::up::address::shown(&named.value)).collect();
    assert_eq!(urls, ["http://127.0.0.1:11434", "http://127.0.0.1:9", "http://127.0.0.1:11436"]);
    assert_eq!(engines[2].name, "ECHO_ENGINE_C_URL");
    let agents: Vec<String> = set.engines.agents.iter().map(|named| named.value.to_string()).collect();
    assert_eq!(agents, ["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:7"]);
    assert!(read(&["--nodes", "27"]).is_err() && read(&["--nodes", "0"]).is_err());
    assert_eq!(read(&["--nodes", "26"]).unwrap().engines.agents[25].name, "ECHO_AGENT_Z_LISTEN");
}

#[test]
fn a_bad_setting_gets_a_sentence_that_names_it_as_it_was_written() {
    for (words, sentence) in [
        (&["ECHO_EDGE_LISTEN=8080"][..], "ECHO_EDGE_LISTEN=8080 has no port: write it as 127.0.0.1:8080."),
        (&["--edge-listen", "8080"], "--edge-listen 8080 has no port: write it as 127.0.0.1:8080."),
        (
            &["ECHO_EDGE_LISTEN=127.0.0.1:99999"],
            "ECHO_EDGE_LISTEN=127.0.0.1:99999: a port is a number from 1 to 65535.",
        ),
        (
            &["ECHO_EDGE_LISTEN=box:80"],
            "box:80 (ECHO_EDGE_LISTEN) is no address of this machine: choose 127.0.0.1:80.",
        ),
        (
            &["ECHO_SLOTS=none"],
            "ECHO_SLOTS=none: the number of answers that a node gives at a time is at least 1, and at most 16384.",
        ),
        (
            &["--slots", "0"],
            "--slots 0: the number of answers that a node gives at a time is at least 1, and at most 16384.",
        ),
        (
            &["ECHO_ENGINE_MODE=magic"],
            "ECHO_ENGINE_MODE=magic is not known: use auto, ollama, openai or embedded.",
        ),
        (
            &["--nodes", "2", "ECHO_ENGINE_B_URL=h:1"],
            "ECHO_ENGINE_B_URL=h:1 is not a URL: write it as http://127.0.0.1:11434.",
        ),
        (&["--engine-url", "h:1"], "--engine-url h:1 is not a URL: write it as http://127.0.0.1:11434."),
        (
            &["--nodes", "2", "ECHO_AGENT_A_LISTEN=x"],
            "ECHO_AGENT_A_LISTEN=x has no port: write it as 127.0.0.1:8080.",
        ),
        (&["--nats-listen", "4222"], "--nats-listen 4222 has no port: write it as 127.0.0.1:8080."),
        (
            &["--nats-conf", "/no/such.conf"],
            "ECHO_NATS_CONF=/no/such.conf cannot be read: No such file or directory (os error 2).",
        ),
    ] {
        assert_eq!(read(words).unwrap_err(), sentence);
    }
}

#[test]
fn an_empty_setting_is_an_unset_one() {
    let set = read(&[
        "ECHO_EDGE_LISTEN=",
        "ECHO_SLOTS=",
        "ECHO_ENGINE_MODE=",
        "ECHO_MODEL=",
        "ECHO_ENGINE_A_URL=",
        "--nodes",
        "1",
    ]);
    let set = set.unwrap();
    assert_eq!(
        (set.mesh.edge.port(), set.engines.wish.slots, set.engines.wish.mode, set.engines.wish.model),
        (8080, None, Mode::Auto, None)
    );
}

#[test]
fn a_word_for_pulls_is_given_by_flag_or_number() {
    let pull = |words: &[&str]| read(words).unwrap().engines.wish.pull;
    assert_eq!(pull(&["--pull"]), Some(true));
    assert_eq!(pull(&["--pull=0"]), Some(false));
    assert_eq!(pull(&["--pull=maybe"]), None, "then it is asked");
}

#[test]
fn an_edited_nats_conf_is_obeyed_and_a_setting_wins() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(
        &mut file,
        b"# port: 1\nhost: \"0.0.0.0\"\nport: 4333 # ours\n  port: 2\nhttp = 8333\nports: 9\n",
    )
    .unwrap();
    let conf = file.path().to_str().unwrap();
    let set = read(&["--nats-conf", conf]).unwrap();
    assert_eq!(
        (set.mesh.nats.to_string(), set.mesh.monitor.to_string()),
        ("0.0.0.0:4333".into(), "0.0.0.0:8333".into())
    );
    let set = read(&["--nats-conf", conf, "--nats-listen", "127.0.0.1:1", "--nats-monitor", "8444"]).unwrap();
    assert_eq!(
        (set.mesh.nats.to_string(), set.mesh.monitor.to_string()),
        ("127.0.0.1:1".into(), "127.0.0.1:8444".into())
    );
    assert_eq!(set.mesh.conf.as_deref(), Some(file.path()));
}

#[test]
fn an_agents_own_variable_is_no_setting_of_a_number_of_nodes() {
    let first = |words: &[&str]| match read(words).unwrap().engines.layout {
        Layout::PerNode(engines) | Layout::Local(engines) => engines[0].value.to_string(),
    };
    assert_eq!(first(&["ECHO_ENGINE_URL=http://h:1"]), "http://h:1/");
    assert_eq!(first(&["--nodes", "2", "ECHO_ENGINE_URL=http://h:1"]), "http://127.0.0.1:11434/");
    assert_eq!(first(&["--nodes", "2", "--engine-url", "http://h:1"]), "http://h:1/");
}

#[test]
fn engines_and_agents_can_be_listed() {
    let set = read(&["--engine-url", "http://a:1,http://b:2", "--agent-listen", "127.0.0.1:7001"]).unwrap();
    let Layout::Local(engines) = &set.engines.layout else { panic!("{set:?}") };
    assert_eq!(engines.len(), 2);
    assert_eq!(set.engines.agents.len(), 1);
}

#[test]
fn open_to_other_machines_the_broker_listens_to_them() {
    let nats = |words: &[&str]| read(words).map(|set| set.mesh.nats.to_string());
    assert_eq!(nats(&["--lan"]).unwrap(), "0.0.0.0:4222");
    assert_eq!(nats(&["--lan", "--nats-listen", "10.0.0.1:5222"]).unwrap(), "10.0.0.1:5222");
    let refused = nats(&["--lan", "--nats-listen", "127.0.0.1:5222"]).unwrap_err();
    assert!(refused.contains("write 0.0.0.0:5222"), "{refused}");
}
