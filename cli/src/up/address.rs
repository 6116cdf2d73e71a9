//! `HOST:PORT` as people write it, and the URLs of engines, each mistake with the sentence that mends it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use echo_bus::process::BadConfig;
use reqwest::Url;

/// Where a part listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
}

impl Address {
    /// `said` is the setting as it was written, such as `ECHO_EDGE_LISTEN=8080`.
    ///
    /// # Errors
    /// The sentence that says how to write it.
    pub fn read(said: &str, value: &str) -> Result<Self, BadConfig> {
        let bad = |why: &str| BadConfig(format!("{said}{why}"));
        let Some((host, port)) = value.rsplit_once(':') else {
            return Err(bad(" has no port: write it as 127.0.0.1:8080."));
        };
        if port.is_empty() || port.len() > 5 || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad(" has no usable port: write it as 127.0.0.1:8080."));
        }
        let port = port.parse().ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| bad(": a port is a number from 1 to 65535."))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare.unwrap_or(host) {
            "" | "*" => "0.0.0.0",
            host => host,
        };
        let is_plain = host.chars().all(|c| !c.is_whitespace() && !c.is_control() && !"[]/@".contains(c));
        if !is_plain || (bare.is_none() && host.contains(':')) {
            return Err(bad(" has no usable host: write it as 127.0.0.1:8080."));
        }
        Ok(Self { host: host.to_owned(), port })
    }

    /// Where the engine of a URL listens.
    pub fn of(url: &Url) -> Option<Self> {
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self { host, port: url.port_or_known_default()? })
    }

    /// The same host with another port.
    pub fn with(&self, port: u16) -> Self {
        Self { host: self.host.clone(), port }
    }

    /// For a part that takes addresses only. `name` is the setting's.
    ///
    /// # Errors
    /// The host is a name.
    pub fn socket(&self, name: &str) -> Result<SocketAddr, BadConfig> {
        let ip = if self.host == "localhost" { Ok(Ipv4Addr::LOCALHOST.into()) } else { self.host.parse() };
        let absent = |_| BadConfig(absent(self, name));
        ip.map(|ip: IpAddr| SocketAddr::new(ip, self.port)).map_err(absent)
    }

    /// Whether only this machine can connect there.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Where a client on this machine connects: a wildcard is no destination.
    pub fn reach(&self) -> Self {
        let host = match self.host.as_str() {
            "0.0.0.0" => "127.0.0.1",
            "::" => "::1",
            host => host,
        };
        Self { host: host.to_owned(), port: self.port }
    }
}

/// That a host is not this machine's.
pub fn absent(address: &Address, name: &str) -> String {
    format!("{address} ({name}) is no address of this machine: choose 127.0.0.1:{}.", address.port)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// An engine's URL; `said` as in [`Address::read`].
///
/// # Errors
/// The sentence that says how to write it.
pub fn engine_url(said: &str, value: &str) -> Result<Url, BadConfig> {
    let bad = || BadConfig(format!("{said} is not a URL: write it as http://127.0.0.1:11434."));
    let url = Url::parse(value.trim_end_matches('/')).map_err(|_| bad())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(bad());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        // What was written is not repeated: it may hold a password.
        let name = said.split('=').next().unwrap_or(said);
        return Err(BadConfig(format!(
            "{name} holds more than an address: put a key into a file and name that with ECHO_ENGINE_KEY_FILE."
        )));
    }
    Ok(url)
}

/// As people write it: without the slash at its end.
pub fn shown(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(value: &str) -> Result<String, String> {
        let said = format!("ECHO_EDGE_LISTEN={value}");
        Address::read(&said, value).map(|address| address.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for text in ["127.0.0.1:8080", "[::1]:1", "0.0.0.0:65535", "bus.local:4222"] {
            assert_eq!(read(text).unwrap(), text);
        }
        assert_eq!(read("*:80").unwrap(), "0.0.0.0:80");
        assert_eq!(read(":80").unwrap(), "0.0.0.0:80");
    }

    #[test]
    fn a_bad_address_gets_a_sentence_that_names_the_setting() {
        for (value, words) in [
            ("8080", "ECHO_EDGE_LISTEN=8080 has no port: write it as 127.0.0.1:8080."),
            ("localhost", "has no port"),
            ("h:", "no usable port"),
            ("h:http", "no usable port"),
            ("h:-1", "no usable port"),
            ("127.0.0.1:99999", "a port is a number from 1 to 65535"),
            ("127.0.0.1:0", "a port is a number from 1 to 65535"),
            ("::1:80", "no usable host"),
            ("a b:80", "no usable host"),
        ] {
            let error = read(value).unwrap_err();
            assert!(error.contains(words), "{value}: {error}");
        }
    }

    #[test]
    fn a_wildcard_is_no_destination() {
        let reach = |text: &str| Address::read("", text).unwrap().reach().to_string();
        assert_eq!(reach("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(reach("[::]:1"), "[::1]:1");
        assert_eq!(reach("10.0.0.1:1"), "10.0.0.1:1");
    }

    #[test]
    fn parts_that_take_addresses_are_given_no_names() {
        let socket = |text: &str| Address::read("", text).unwrap().socket("ECHO_EDGE_LISTEN");
        assert_eq!(socket("localhost:1").unwrap().to_string(), "127.0.0.1:1");
        assert_eq!(socket("[::1]:1").unwrap().to_string(), "[::1]:1");
        let error = socket("box:8080").unwrap_err().to_string();
        assert_eq!(
            error,
            "box:8080 (ECHO_EDGE_LISTEN) is no address of this machine: choose 127.0.0.1:8080."
        );
    }

    #[test]
    fn a_bad_engine_url_gets_a_sentence_and_no_password_is_repeated() {
        let url = |value: &str| engine_url(&format!("ECHO_ENGINE_A_URL={value}"), value);
        assert_eq!(shown(&url("http://h:1/").unwrap()), "http://h:1");
        assert_eq!(shown(&url("http://h:1/api/").unwrap()), "http://h:1/api");
        for value in ["h:1", "127.0.0.1:11434", "ftp://h", "http://"] {
            let error = url(value).unwrap_err().to_string();
            assert!(error.contains("is not a URL: write it as http://127.0.0.1:11434."), "{error}");
        }
        for value in ["http://me:geheim@h", "http://h?key=geheim"] {
            let error = url(value).unwrap_err().to_string();
            assert!(error.contains("ECHO_ENGINE_KEY_FILE") && !error.contains("geheim"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_or_refused(text in ".{0,40}") {
            let _ = engine_url("X", &text);
            if let Ok(address) = Address::read("X", &text) {
                // What is read is written as it is read again.
                prop_assert_eq!(Address::read("X", &address.to_string()).ok(), Some(address.clone()));
                prop_assert!(address.port > 0);
                let _ = address.socket("X");
            }
        }

        #[test]
        fn every_real_address_is_read(ip: std::net::IpAddr, port in 1u16..) {
            let text = SocketAddr::new(ip, port).to_string();
            let read = Address::read("X", &text).unwrap();
            prop_assert_eq!(read.socket("X").unwrap().to_string(), text);
        }
    }
}
