//! Whether we could have heard the others: suspend detection, and what our own absence means for theirs.

use std::time::{Duration, Instant};

use super::times::{LATE_TICK, RECONNECT_GRACE, SILENCE};
use crate::clock::Now;

/// Suspend detection: finds out that this process was stopped or its machine suspended, by a tick that comes late.
#[derive(Debug, Clone, Copy)]
pub struct LateTick {
    seen: Now,
}

impl LateTick {
    /// From now on.
    pub fn new(now: Now) -> Self {
        Self { seen: now }
    }

    /// To be called at every tick, several times a second: how long this process was away, if it was. The clock that has
    /// gone further counts, since the monotonic one may have stood still; a wall clock that was set back says nothing.
    pub fn observe(&mut self, now: Now) -> Option<Duration> {
        let mono = now.at.saturating_duration_since(self.seen.at);
        let wall = Duration::from_millis(now.unix_ms.saturating_sub(self.seen.unix_ms));
        self.seen = now;
        let away = mono.max(wall);
        (away > LATE_TICK).then_some(away)
    }
}

/// Local health awareness, as failure detectors of the SWIM family have it: a process that was cut off, stopped or asleep
/// must not take its own absence for the silence of everybody else.
#[derive(Debug)]
pub struct LocalHealth {
    connected: bool,
    counts_from: Instant,
    tick: LateTick,
}

impl LocalHealth {
    /// A process that is connected and begins to listen now.
    pub fn new(now: Now) -> Self {
        Self { connected: true, counts_from: now.at, tick: LateTick::new(now) }
    }

    /// To be called at every tick: how long we were away, if we were. Silence then counts anew, and only after the time
    /// that everybody has to say something.
    pub fn tick(&mut self, now: Now) -> Option<Duration> {
        let away = self.tick.observe(now)?;
        self.counts_from = self.counts_from.max(now.at + SILENCE);
        Some(away)
    }

    /// The connection to the broker has ended: nobody's silence counts.
    pub fn disconnected(&mut self) {
        self.connected = false;
    }

    /// The connection is back: silence counts again once the others had time to come back too.
    pub fn reconnected(&mut self, now: Instant) {
        self.connected = true;
        self.counts_from = now + RECONNECT_GRACE;
    }

    /// Whether we are connected.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Whether anything may be concluded from silence now.
    pub fn can_judge(&self, now: Instant) -> bool {
        self.connected && now >= self.counts_from
    }

    /// How long somebody has been silent who was heard last at `heard`, as far as that counts.
    pub fn silent_for(&self, heard: Instant, now: Instant) -> Duration {
        if !self.connected {
            return Duration::ZERO;
        }
        now.saturating_duration_since(heard.max(self.counts_from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(now: Now, mono: u64, wall: u64) -> Now {
        Now { at: now.at + Duration::from_millis(mono), unix_ms: now.unix_ms + wall }
    }

    #[test]
    fn a_late_tick_on_either_clock_is_an_absence() {
        let away = Duration::from_millis;
        for (mono, wall, absence) in [
            (900, 900, None),
            (1100, 1100, Some(away(1100))),
            (10, 20_000, Some(away(20_000))),
            (1100, 0, Some(away(1100))),
        ] {
            let start = Now::read();
            let mut tick = LateTick::new(start);
            assert_eq!(tick.observe(after(start, mono, wall)), absence, "{mono} {wall}");
            assert_eq!(tick.observe(after(start, mono + 50, wall + 50)), None, "it is told once");
        }
    }

    #[test]
    fn a_wall_clock_set_back_is_no_absence() {
        let start = Now::read();
        let mut tick = LateTick::new(start);
        assert_eq!(tick.observe(Now { at: start.at, unix_ms: start.unix_ms - 3_600_000 }), None);
    }

    #[test]
    fn silence_counts_only_while_we_could_have_heard_something() {
        let start = Now::read();
        let mut health = LocalHealth::new(start);
        let at = |ms: u64| after(start, ms, ms);
        assert_eq!(health.tick(at(900)), None);
        assert!(health.can_judge(at(900).at));
        assert_eq!(health.silent_for(start.at, at(900).at), Duration::from_millis(900));

        health.disconnected();
        assert_eq!(health.silent_for(start.at, at(60_000).at), Duration::ZERO);
        assert!(!health.is_connected() && !health.can_judge(at(60_000).at));

        health.reconnected(at(1000).at);
        assert!(health.is_connected() && !health.can_judge(at(3999).at));
        assert_eq!(health.silent_for(start.at, at(4100).at), Duration::from_millis(100));
    }

    #[test]
    fn who_slept_lets_everybody_speak_first_and_never_shortens_a_grace() {
        let start = Now::read();
        let mut health = LocalHealth::new(start);
        let at = |ms: u64| after(start, ms, ms);
        assert_eq!(health.tick(at(5000)), Some(Duration::from_secs(5)));
        assert_eq!(health.silent_for(start.at, at(5500).at), Duration::ZERO);
        assert_eq!(health.silent_for(start.at, at(5600).at), Duration::from_millis(100));
        health.reconnected(at(6000).at);
        assert!(health.tick(at(7500)).is_some());
        assert!(!health.can_judge(at(8999).at));
        assert!(health.can_judge(at(9000).at));
    }
}
