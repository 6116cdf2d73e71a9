//! Which programs listen on a port of this machine, as Linux tells it below /proc.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A program that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub address: IpAddr,
    port: u16,
    user: u32,
    inode: u64,
}

/// Who listens on a port; none where the system does not say.
pub fn on(port: u16) -> Option<Vec<Listener>> {
    let tables =
        [fs::read_to_string("/proc/net/tcp").ok()?, fs::read_to_string("/proc/net/tcp6").unwrap_or_default()];
    let all = tables.iter().flat_map(|table| table.lines().skip(1).filter_map(read));
    Some(all.filter(|listener| listener.port == port).collect())
}

/// `0: 0100007F:1F90 00000000:0000 0A …`
fn read(line: &str) -> Option<Listener> {
    const LISTENS: &str = "0A";
    let words: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = words.get(1)?.split_once(':')?;
    if *words.get(3)? != LISTENS {
        return None;
    }
    // Each word of 32 bits stands as this machine holds it in memory.
    let bytes: Vec<u8> = (0..address.len() / 8)
        .map(|at| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes))
        .collect::<Option<Vec<_>>>()?
        .concat();
    let address = match <[u8; 4]>::try_from(&bytes[..]) {
        Ok(four) => IpAddr::V4(Ipv4Addr::from(four)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[..]).ok()?)).to_canonical(),
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Listener { address, port, user: words.get(7)?.parse().ok()?, inode: words.get(9)?.parse().ok()? })
}

impl Listener {
    /// Which program it is, as far as we may know.
    pub fn who(&self) -> String {
        let name = |process: &str| fs::read_to_string(format!("/proc/{process}/comm")).ok();
        match self.process() {
            Some(process) => match name(&process) {
                Some(name) => format!("{} (process {process})", name.trim()),
                None => format!("process {process}"),
            },
            None => format!("a program of user {}", self.user),
        }
    }

    fn process(&self) -> Option<String> {
        let socket = format!("socket:[{}]", self.inode);
        let names = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.file_name());
        let mut processes = names
            .filter_map(|name| name.into_string().ok())
            .filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
        processes.find(|process| {
            let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
            files
                .into_iter()
                .any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == &*socket))
        })
    }
}

/// The one who listens on a port, in words.
pub fn occupant(port: u16) -> String {
    let listener = on(port).and_then(|all| all.into_iter().next());
    listener.map_or_else(|| "another program".to_owned(), |listener| listener.who())
}

/// The addresses beyond loopback at which somebody listens on this port; none where the system does not say.
pub fn beyond_loopback(port: u16) -> Option<Vec<IpAddr>> {
    let addresses = on(port)?.into_iter().map(|listener| listener.address);
    Some(addresses.filter(|address| !address.is_loopback()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_both_tables_are_read() {
        let four = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1";
        let listener = read(four).unwrap();
        assert_eq!((listener.address, listener.port), ("127.0.0.1".parse().unwrap(), 8080));
        assert_eq!((listener.user, listener.inode), (1000, 4242));
        let six = four.replace("0100007F:", "00000000000000000000000000000000:");
        assert_eq!(read(&six).unwrap().address, "::".parse::<IpAddr>().unwrap());
        assert_eq!(read(&four.replace(" 0A ", " 01 ")), None, "a connection does not listen");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn we_find_ourselves() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(occupant(port).contains(&format!("(process {})", std::process::id())), "{}", occupant(port));
        assert_eq!(beyond_loopback(port), Some(vec![]));
    }

    proptest! {
        #[test]
        fn no_line_is_a_panic(line in "\\PC{0,60}|0: [0-9A-Fé]{0,33}:[0-9A-F]{0,5} 0:0 0A a b c [0-9]{1,12} 0 [0-9]{1,22} 1") {
            let _ = read(&line);
        }
    }
}
