//! The times and bounds of the rules: how often, how soon, and for how long.

use std::time::Duration;

/// Lease renewal: how often a holder tells each edge what it holds for it.
pub const PULSE: Duration = Duration::from_millis(250);

/// How soon after the end of an attempt the next pulse goes out, so that a lost end is asked for soon.
pub const PULSE_AFTER_END: Duration = Duration::from_millis(50);

/// How long an edge may take to answer a pulse before it is sent the next one.
pub const PULSE_ANSWER: Duration = Duration::from_secs(1);

/// Suspicion: a holder that has said nothing for this long, two pulses, is pinged.
pub const SILENCE: Duration = Duration::from_millis(500);

/// Ping timeout of a holder that is connected: an answer that takes longer means that it hangs.
pub const HANG: Duration = Duration::from_secs(2);

/// Ping timeout of a holder whose connection has ended: it may just have come back under the same boot id.
pub const GONE: Duration = Duration::from_millis(250);

/// How long a holder that nobody reports as gone is taken to be on its way to another server of the bus, although nobody
/// listens for it: its server has died, which tells nobody who was connected there.
pub const MOVING: Duration = Duration::from_secs(1);

/// Grace after our own reconnect: a broker that was away is back for everybody, but not for all at once.
pub const RECONNECT_GRACE: Duration = Duration::from_secs(3);

/// Lease expiry in the other direction: an edge that has answered no pulse for this long is dead, and what is held for it
/// is let go.
pub const EDGE_DEAD: Duration = Duration::from_secs(5);

/// How long the replay buffer of an ended attempt is kept for an edge that does not say that it has the end.
pub const KEPT_AFTER_END: Duration = Duration::from_secs(5);

/// Suspend detection: a tick that comes later than this was not merely delayed by load.
pub const LATE_TICK: Duration = Duration::from_secs(1);

/// How long a fence stands: no task is on its way for longer.
pub const FENCED: Duration = Duration::from_secs(60);

/// Fences that are remembered; under a flood of cancels the oldest are forgotten first.
pub const FENCES: usize = 131_072;

// The rules rest on each other: a holder that loses one pulse is not suspected, whoever is pinged could have pulsed
// meanwhile, and an edge is asked more than once before it is taken for dead.
const _: () = {
    assert!(SILENCE.as_millis() >= 2 * PULSE.as_millis());
    assert!(HANG.as_millis() > SILENCE.as_millis() && HANG.as_millis() > GONE.as_millis());
    assert!(MOVING.as_millis() > SILENCE.as_millis() && MOVING.as_millis() < HANG.as_millis());
    assert!(EDGE_DEAD.as_millis() >= 2 * (PULSE_ANSWER.as_millis() + PULSE.as_millis()));
    assert!(RECONNECT_GRACE.as_millis() > SILENCE.as_millis());
    assert!(FENCED.as_millis() > EDGE_DEAD.as_millis() + KEPT_AFTER_END.as_millis());
};
