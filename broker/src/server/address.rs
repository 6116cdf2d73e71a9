//! Addresses as a person writes them for the server.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Where the server listens for clients: `HOST:PORT`, or `[IPv6]:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// A name or an address, without brackets.
    pub host: String,
    /// 0 lets the kernel choose.
    pub port: u16,
}

/// Where the pages about the server are: `PORT`, or `HOST:PORT` with a host that is this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Monitor {
    /// 0 lets the kernel choose.
    pub port: u16,
}

/// What is wrong with an address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Malformed {
    #[error("{0:?} is not HOST:PORT, such as 127.0.0.1:4222 or [::1]:4222")]
    Listen(String),
    #[error("{0:?} is not a port or 127.0.0.1:PORT")]
    Monitor(String),
    #[error(
        "{0:?} would show the server's pages, which have no login, to others; if that is meant, write `http:` in nats.conf"
    )]
    Exposed(String),
}

impl Listen {
    /// Whether only this machine can connect there.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// Whether a host, with or without brackets, is this machine and nobody else's business.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl FromStr for Listen {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed::Listen(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let port = port.parse().map_err(|_| malformed())?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        if host.is_empty()
            || (bare.is_none() && host.contains([':', '[', ']']))
            || host.contains(char::is_whitespace)
        {
            return Err(malformed());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl FromStr for Monitor {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = |_| Malformed::Monitor(text.to_owned());
        if !text.contains(':') {
            return text.parse().map(|port| Self { port }).map_err(|_| Malformed::Monitor(text.to_owned()));
        }
        let Listen { host, port } = text.parse().map_err(malformed)?;
        if is_loopback(&host) { Ok(Self { port }) } else { Err(Malformed::Exposed(text.to_owned())) }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for text in ["127.0.0.1:4222", "[::1]:0", "0.0.0.0:65535", "bus.local:4222"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for text in ["", "4222", "127.0.0.1", ":4222", "::1:4222", "h:70000", "h:-1", "[::1:1", "a b:1"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["127.0.0.1:1", "[::1]:1", "localhost:1", "127.9.9.9:1"] {
            assert!(host.parse::<Listen>().unwrap().is_loopback(), "{host}");
        }
        for host in ["0.0.0.0:1", "[::]:1", "192.168.1.2:1", "localhost.example:1"] {
            assert!(!host.parse::<Listen>().unwrap().is_loopback(), "{host}");
        }
    }

    #[test]
    fn the_pages_stay_on_this_machine() {
        assert_eq!("8223".parse(), Ok(Monitor { port: 8223 }));
        assert_eq!("127.0.0.1:8223".parse(), Ok(Monitor { port: 8223 }));
        assert!(matches!("0.0.0.0:8223".parse::<Monitor>(), Err(Malformed::Exposed(_))));
        assert!(matches!("http".parse::<Monitor>(), Err(Malformed::Monitor(_))));
    }
}
