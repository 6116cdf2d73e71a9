//! The ports that a start needs, all looked at before anything is started, so that one answer tells everything.

mod owner;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use super::address::{Address, absent};

pub use owner::owner;

/// A listener on this machine answers at once.
const NEAR: Duration = Duration::from_secs(2);
/// Ports below are the system's.
const FIRST_FREE_FOR_ALL: u16 = 1024;

/// A port that is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The setting that says otherwise.
    pub name: String,
    pub address: Address,
    /// What that setting is written with, before the address and before the setting itself.
    pub scheme: &'static str,
    pub with: &'static str,
}

/// What a look at an address has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Free,
    Taken,
    /// This user may not open it.
    Denied,
    /// It is no address of this machine.
    Absent,
}

impl Wanted {
    pub fn new(name: impl Into<String>, address: Address) -> Self {
        Self { name: name.into(), address, scheme: "", with: "" }
    }
}

/// What is wrong with the ports, a sentence each. `again` is what a person types to start the mesh.
pub fn refused(
    wanted: &[Wanted],
    look: impl Fn(&Address) -> State,
    owner: impl Fn(u16) -> String,
    again: &str,
) -> Vec<String> {
    let mut kept: BTreeSet<u16> = wanted.iter().map(|wanted| wanted.address.port).collect();
    let mut seen = BTreeSet::new();
    let mut sentences = Vec::new();
    for Wanted { name, address, scheme, with } in wanted {
        let twice = !seen.insert(address.port);
        let state = if twice { State::Taken } else { look(address) };
        if state == State::Free {
            continue;
        }
        let free = next_free(address, &kept, &look).unwrap_or(address.port);
        kept.insert(free);
        let other = format!("{with}{name}={scheme}{} {again}", address.with(free));
        sentences.push(match state {
            _ if twice => format!(
                "{address} ({name}) is wanted by two parts of this mesh: choose another port: {other}"
            ),
            State::Denied => format!(
                "{address} ({name}) may not be opened by this user: choose a port above 1023: {other}"
            ),
            State::Absent => absent(address, name),
            State::Free | State::Taken => format!(
                "{address} ({name}) is taken by {}: stop that, or choose another port: {other}",
                owner(address.port)
            ),
        });
    }
    sentences
}

/// The first free port above an address's own that nobody of us wants.
pub fn next_free(address: &Address, kept: &BTreeSet<u16>, look: impl Fn(&Address) -> State) -> Option<u16> {
    let first = address.port.saturating_add(1).max(FIRST_FREE_FOR_ALL);
    let mut others = (first..=u16::MAX).filter(|port| !kept.contains(port));
    others.find(|port| look(&address.with(*port)) == State::Free)
}

/// Looks at an address.
pub fn look(address: &Address) -> State {
    let near = address.reach();
    let resolved = |address: &Address| (address.host.as_str(), address.port).to_socket_addrs();
    // Some systems let one bind beside a listener on every address, so it is asked first.
    for target in resolved(&near).into_iter().flatten() {
        if TcpStream::connect_timeout(&target, NEAR).is_ok() {
            return State::Taken;
        }
    }
    let bound = resolved(address).and_then(|targets| {
        targets.into_iter().map(TcpListener::bind).next().unwrap_or(Err(ErrorKind::AddrNotAvailable.into()))
    });
    match bound.map_err(|error| error.kind()) {
        Ok(_) => State::Free,
        Err(ErrorKind::PermissionDenied) => State::Denied,
        Err(ErrorKind::AddrInUse) => State::Taken,
        Err(_) => State::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::read("", text).unwrap()
    }

    fn wanted(name: &str, text: &str) -> Wanted {
        Wanted::new(name, address(text))
    }

    fn refusals(list: &[Wanted], taken: &[u16]) -> Vec<String> {
        let look = |address: &Address| match address.port {
            port if taken.contains(&port) => State::Taken,
            1..1024 => State::Denied,
            _ if address.host == "far" => State::Absent,
            _ => State::Free,
        };
        refused(list, look, |port| format!("somebody (pid {port})"), "echo-mesh up")
    }

    #[test]
    fn each_taken_port_is_named_with_its_owner_and_a_free_one() {
        let list =
            [wanted("ECHO_EDGE_LISTEN", "127.0.0.1:8080"), wanted("ECHO_NATS_LISTEN", "127.0.0.1:8081")];
        assert_eq!(refusals(&list, &[]), Vec::<String>::new());
        // 8081 is ours, and 8082 is taken as well.
        assert_eq!(
            refusals(&list, &[8080, 8082]),
            [
                "127.0.0.1:8080 (ECHO_EDGE_LISTEN) is taken by somebody (pid 8080): stop that, or choose another port: \
              ECHO_EDGE_LISTEN=127.0.0.1:8083 echo-mesh up"
            ]
        );
        let both = refusals(&list, &[8080, 8081]);
        assert!(both[0].contains("ECHO_EDGE_LISTEN=127.0.0.1:8082") && both[1].contains(":8083"), "{both:?}");
    }

    #[test]
    fn an_engines_port_is_written_as_a_url() {
        let engine = Wanted { scheme: "http://", ..wanted("ECHO_ENGINE_A_URL", "127.0.0.1:11434") };
        let refusal = refusals(&[engine], &[11434]).remove(0);
        assert!(
            refusal.ends_with("choose another port: ECHO_ENGINE_A_URL=http://127.0.0.1:11435 echo-mesh up"),
            "{refusal}"
        );
    }

    #[test]
    fn two_parts_never_share_a_port_and_what_cannot_be_opened_is_said() {
        let refusals = refusals(
            &[
                wanted("A", "127.0.0.1:9001"),
                wanted("B", "127.0.0.1:9001"),
                wanted("C", "127.0.0.1:80"),
                wanted("D", "far:9003"),
            ],
            &[],
        );
        let words = [
            "wanted by two parts",
            "may not be opened by this user: choose a port above 1023: C=127.0.0.1:1024",
            "is no address of this machine",
        ];
        assert_eq!(refusals.len(), 3);
        for (refusal, words) in refusals.iter().zip(words) {
            assert!(refusal.contains(words), "{refusal}");
        }
    }

    #[test]
    fn the_machine_says_what_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(look(&address(&format!("127.0.0.1:{port}"))), State::Taken);
        assert_eq!(look(&address(&format!("*:{port}"))), State::Taken);
        drop(listener);
        assert_eq!(look(&address(&format!("127.0.0.1:{port}"))), State::Free);
        assert_eq!(look(&address("192.0.2.1:9999")), State::Absent);
    }
}
