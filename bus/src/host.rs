//! Host names that cannot belong to a stranger: what agent and edge ask of the `Host` and `Origin` of a request, so that
//! no web page reaches them under a name that it has pointed at this machine (DNS rebinding).

use std::net::IpAddr;

/// Endings that no public name has.
const RESERVED: [&str; 3] = [".localhost", ".local", ".internal"];

/// The name in `name:port`, in lower case and without the brackets of an IPv6 address. What has something else behind the
/// name is a name as a whole, and nobody's: `localhost:@evil.example` is another host for who reads it as a part of a URL.
pub fn name(host: &str) -> String {
    let (name, rest) = match host.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some(parts) => parts,
        // An IPv6 address without brackets has no port.
        None if host.matches(':').count() > 1 => (host, ""),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let name = if rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port) { name } else { host };
    name.to_ascii_lowercase()
}

/// Whether a [`name`] is an address of this machine or its own network, or a name that only they have. `own` is what
/// this machine is called.
pub fn is_near(name: &str, own: Option<&str>) -> bool {
    if let Ok(ip) = name.parse::<IpAddr>() {
        return is_near_address(ip);
    }
    let is_own = own.is_some_and(|own| !own.is_empty() && own.eq_ignore_ascii_case(name));
    name == "localhost" || is_own || RESERVED.iter().any(|end| is_below(name, end))
}

/// Whether nobody else can say what a [`name`] points to: an address, or a name that is resolved on this machine. Names
/// like `box.local` are given by whoever answers on the network.
pub fn is_certain(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok() || name == "localhost" || is_below(name, ".localhost")
}

/// Whether it is a name, and ends so: what only looks like one may name another host for who reads it otherwise, as
/// `evil.example#.localhost` does.
fn is_below(name: &str, end: &str) -> bool {
    let is_name = || name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    name.ends_with(end) && is_name()
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
            assert!(is_near(&name(near), Some("workshop")), "{near}");
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
            assert!(!is_near(&name(far), Some("workshop")), "{far}");
        }
        for (name, certain) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("a.localhost", true),
            ("box.local", false),
            ("localhost.local", false),
            ("evil.example#@..localhost", false),
        ] {
            assert_eq!(is_certain(name), certain, "{name}");
        }
        assert!(!is_near("", Some("")), "a machine without a name is not everybody");
    }
}
