//! Ports that a program is told before it listens on them.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Below those that the kernel gives to whoever asks for any: nobody takes one while the program that was told it is away.
const FIRST: u16 = 10_000;
/// A test program has so many for itself.
const BLOCK: u16 = 1_000;
const BLOCKS: u16 = 22;
/// From one to the next: neighbours belong to different tests, as ports of different people do.
const STEP: u32 = 397;

/// So many ports on which nobody listens, and which nobody else is told, neither in this test program nor in others that run
/// beside it.
///
/// # Panics
/// Where too many test programs run.
pub fn free_ports(count: usize) -> Vec<u16> {
    std::iter::repeat_with(free_port).take(count).collect()
}

/// One of them.
///
/// # Panics
/// See [`free_ports`].
pub fn free_port() -> u16 {
    /// Who listens on the first port of a block has the others.
    static OWN: LazyLock<(TcpListener, u16)> = LazyLock::new(own_block);
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(STEP, Relaxed) % u32::from(BLOCK - 1);
        let port = OWN.1 + 1 + u16::try_from(step).expect("less than a block");
        if listen(port).is_ok() {
            return port;
        }
    }
}

fn own_block() -> (TcpListener, u16) {
    let blocks = (0..BLOCKS).map(|block| FIRST + block * BLOCK);
    let held = blocks.filter_map(|first| Some((listen(first).ok()?, first)));
    held.take(1).next().expect("fewer test programs than blocks of ports")
}

fn listen(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn nobody_is_told_the_port_of_another() {
        let told: Vec<u16> = std::thread::scope(|threads| {
            let asked: Vec<_> = (0..8).map(|_| threads.spawn(|| free_ports(50))).collect();
            asked.into_iter().flat_map(|asked| asked.join().unwrap()).collect()
        });
        assert_eq!(told.iter().collect::<HashSet<_>>().len(), 400);
        let (_held, other) = own_block();
        assert!(
            told.iter().all(|port| !(other..other + BLOCK).contains(port)),
            "another program has other ones"
        );
    }
}
