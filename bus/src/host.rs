//! Hosts that cannot belong to a stranger: what agent and edge ask of the `Host` and `Origin` of a request, so that no web
//! page reaches them under a name that it has pointed at this machine (DNS rebinding).

use std::net::IpAddr;

/// Endings that no public name has.
const RESERVED: [&str; 3] = [".localhost", ".local", ".internal"];

/// A host, as `Host`, `Origin` and the addresses of registries name it, without its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    Address(IpAddr),
    /// In lower case, without the dot that may end it.
    Name(String),
}

impl Host {
    /// From `name`, `name:port` or `[address]:port`. `None` for all else, so that nobody who reads it otherwise finds another
    /// host in it: `localhost:@evil.example` and `evil.example#.localhost` are `evil.example` as a part of a URL.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            let (address, rest) = inner.split_once(']')?;
            let address = address.parse().ok().filter(|_| is_port(rest))?;
            return Some(Self::Address(IpAddr::V6(address)));
        }
        if let Ok(ip) = text.parse() {
            // An IPv6 address without brackets has no port.
            return Some(Self::Address(ip));
        }
        let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
        let name = name.strip_suffix('.').unwrap_or(name);
        let is_name =
            !name.is_empty() && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it));
        if !is_name || !is_port(rest) {
            return None;
        }
        Some(name.parse().map_or_else(|_| Self::Name(name.to_ascii_lowercase()), Self::Address))
    }

    /// Whether it is an address of this machine or its own network, or a name that only they have. `own` is what this
    /// machine is called.
    pub fn is_near(&self, own: Option<&str>) -> bool {
        match self {
            Self::Address(ip) => is_near_address(*ip),
            Self::Name(name) => {
                let is_own = own.is_some_and(|own| own.eq_ignore_ascii_case(name));
                name == "localhost" || is_own || RESERVED.iter().any(|end| name.ends_with(end))
            }
        }
    }

    /// Whether nobody else can say what it points to: an address, or a name that is resolved on this machine. Names like
    /// `box.local` are given by whoever answers on the network.
    pub fn is_certain(&self) -> bool {
        match self {
            Self::Address(_) => true,
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }
}

/// What may stand behind a host.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|it| it.is_ascii_digit()))
}

fn is_near_address(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_unspecified() || ip.is_link_local(),
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_near(text: &str) -> bool {
        Host::parse(text).is_some_and(|host| host.is_near(Some("workshop")))
    }

    #[test]
    fn only_names_of_this_machine_and_its_network_are_near() {
        for near in [
            "127.0.0.1:9001",
            "localhost",
            "LOCALHOST:9001",
            "[::1]:9001",
            "::1",
            "[fe80::1]",
            "192.168.1.4",
            "a.localhost:1",
            "box.local",
            "Workshop:8080",
        ] {
            assert!(is_near(near), "{near}");
        }
        for far in [
            "",
            "evil.example",
            "evil.example:9001",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "8.8.8.8",
            "[2001:db8::1]:80",
            "workshop.evil.example",
            "evil.example#@..localhost",
            "evil.example/.local",
            "somebody@box.local",
            "localhost:@evil.example",
            "box.local:80#@evil.example",
            "[::1]evil.example",
            "[::1",
        ] {
            assert!(!is_near(far), "{far}");
        }
        for (name, certain) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("a.localhost", true),
            ("box.local", false),
            ("localhost.local", false),
        ] {
            assert_eq!(Host::parse(name).unwrap().is_certain(), certain, "{name}");
        }
    }

    #[test]
    fn what_names_no_host_is_none() {
        for none in [
            "",
            ".",
            ":80",
            "a:80:80",
            "a:b",
            "a b",
            "a/b",
            "user@a",
            "[127.0.0.1]",
            "[::1",
            "[::1]x",
            "::1:x",
            "fe80::1%eth0",
            "b\u{fc}ro.local",
        ] {
            assert_eq!(Host::parse(none), None, "{none}");
        }
        let name = |name: &str| Some(Host::Name(name.to_owned()));
        assert_eq!((Host::parse("Box.Local.:80"), Host::parse("a_b-c")), (name("box.local"), name("a_b-c")));
        let loopback = Some(Host::Address([127, 0, 0, 1].into()));
        assert_eq!((Host::parse("127.0.0.1.:9"), Host::parse("127.0.0.1")), (loopback.clone(), loopback));
    }
}
