//! Where a running server listens, by its own account.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use super::address::is_loopback;

/// Kind of service → URLs.
pub(super) type Ports = HashMap<String, Vec<String>>;

/// Where the server listens, once it has said so. It says so in a file, which nothing but looking tells of.
pub(super) async fn ports_of(folder: &Path, pid: u32) -> Ports {
    let ending = format!("_{pid}.ports");
    loop {
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let ours = files.map(|file| file.path()).find(|path| path.to_string_lossy().ends_with(&ending));
        let text = ours.and_then(|path| std::fs::read(path).ok());
        // Half written, it is no JSON yet.
        if let Some(ports) = text.and_then(|text| serde_json::from_slice(&text).ok()) {
            return ports;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The address of a service that is best reached from here: a server that listens everywhere lists them all.
pub(super) fn nearest(ports: &Ports, service: &str) -> Option<String> {
    let urls = ports.get(service)?;
    let near = |url: &&String| host_of(url) == Some("127.0.0.1");
    urls.iter().find(near).or_else(|| urls.first()).cloned()
}

/// An address where clients get in from other machines. The monitor's pages are nobody's way in.
pub(super) fn exposed(ports: &Ports) -> Option<String> {
    let ways_in = ports.iter().filter(|(service, _)| !matches!(service.as_str(), "monitoring" | "profile"));
    ways_in.flat_map(|(_, urls)| urls).find(|url| !host_of(url).is_some_and(is_loopback)).cloned()
}

fn host_of(url: &str) -> Option<&str> {
    let (_, address) = url.split_once("://")?;
    address.rsplit_once(':').map(|(host, _)| host)
}

pub(super) fn port_of(url: &str) -> Option<u16> {
    url.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_near_address_is_used_and_the_far_one_is_noticed() {
        let text = r#"{"nats":["nats://192.0.2.2:1","nats://127.0.0.1:1","nats://[::1]:1"],"monitoring":["http://0.0.0.0:2"]}"#;
        let ports: Ports = serde_json::from_str(text).unwrap();
        assert_eq!(nearest(&ports, "nats").as_deref(), Some("nats://127.0.0.1:1"));
        assert_eq!(exposed(&ports).as_deref(), Some("nats://192.0.2.2:1"));
        let near: Ports = serde_json::from_str(r#"{"nats":["nats://[::1]:1"]}"#).unwrap();
        assert_eq!(exposed(&near), None);
        assert_eq!(port_of("nats://[::1]:4222"), Some(4222));
    }
}
