//! A message to the group of mDNS, which comes back to this machine where multicast works.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::UdpSocket;

/// Of mDNS.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const WITHIN: Duration = Duration::from_secs(1);

/// Sends one and waits for it. It does not leave this machine.
///
/// # Errors
/// Multicast does not work here: why.
pub async fn echoed() -> std::io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.join_multicast_v4(GROUP, Ipv4Addr::UNSPECIFIED)?;
    socket.set_multicast_loop_v4(true)?;
    socket.set_multicast_ttl_v4(0)?;
    let word = rand::random::<[u8; 16]>();
    socket.send_to(&word, (GROUP, socket.local_addr()?.port())).await?;
    let back = async {
        let mut heard = [0; 32];
        loop {
            let length = socket.recv(&mut heard).await?;
            if heard[..length] == word {
                return Ok(());
            }
        }
    };
    let silent = || Err(std::io::Error::other("a message to the group of mDNS does not come back"));
    tokio::time::timeout(WITHIN, back).await.unwrap_or_else(|_| silent())
}
