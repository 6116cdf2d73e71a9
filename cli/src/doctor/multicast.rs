//! Whether a broker can be found by mDNS.

use super::finding::{Looked, Severity};
use super::scene::Scene;

pub async fn look(scene: &Scene) -> Looked {
    let Err(why) = scene.multicast().await else { return Looked::seen("multicast") };
    let is_needed = scene.login.nats == "auto";
    // A mesh whose broker has an address does without.
    if !is_needed && !scene.is_empty().await {
        return Looked::seen("multicast, which does not work here and is not needed");
    }
    Looked::default().and(
        if is_needed { Severity::Wrong } else { Severity::Note },
        format!("multicast does not work on this machine ({why}), so no broker is found by mDNS"),
        "`--nats auto` and `echo-mesh join` without a code look for the broker by mDNS",
        "name the broker with --nats nats://HOST:4222, or join with a code; a container needs the host's network, a \
         firewall must admit UDP 5353",
    )
}
