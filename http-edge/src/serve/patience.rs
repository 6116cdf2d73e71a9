//! How long a connection may stand still: without a request, within the head of one, or with an answer that it does not
//! take. A connection that waits for the mesh may do so for ever. The body of a request has its limit where it is read.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::traffic::{Counts, Traffic};
use super::version::Version;

/// How long a viewer that takes nothing keeps an edge from leaving. One that reads has ended by itself.
const LEFT: Duration = Duration::from_secs(2);

/// How long a connection may take for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// From the first byte of a request's head to its last.
    pub head: Duration,
    /// Without a request, or without taking a byte of an answer that has been made to its end.
    pub idle: Duration,
    /// Without taking a byte of an answer that is still made.
    pub stuck: Duration,
}

/// What a connection has taken too long for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// The head of a request has begun and not ended.
    Head,
    /// Nobody asks, or nobody takes.
    Silent,
}

impl Patience {
    /// Waits until a connection has stood still for too long. To be polled whenever the connection is: what has moved
    /// is seen only then, and a timer looks after what nobody polls.
    pub async fn ends(self, version: Version, traffic: &Traffic) -> Late {
        let mut stand = Stand::new(version, Instant::now());
        let mut timer = pin!(sleep(self.idle));
        poll_fn(|cx| {
            loop {
                let now = Instant::now();
                stand.look(traffic.counts(), now);
                let (until, late) = stand.until(&self, now);
                if until <= now {
                    return Poll::Ready(late);
                }
                // A timer that is too early is set again when it comes: most requests need none of their own.
                if until < timer.deadline() || timer.is_elapsed() {
                    timer.as_mut().reset(until);
                }
                ready!(timer.as_mut().poll(cx));
            }
        })
        .await
    }
}

/// What a connection stands at, and since when.
struct Stand {
    version: Version,
    at: At,
    since: Instant,
    seen: Counts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Idle,
    Head,
    /// An answer is there and is not taken.
    Stuck,
    /// The mesh owes an answer, or the rest of one.
    Owed,
}

impl Stand {
    fn new(version: Version, now: Instant) -> Self {
        Self { version, at: At::Idle, since: now, seen: Counts::default() }
    }

    fn look(&mut self, counts: Counts, now: Instant) {
        let before = std::mem::replace(&mut self.seen, counts);
        let asked = before.requests != counts.requests;
        // Over HTTP/2, what comes after the first request may be no head: a client confirms and pings, too.
        let may_begin = self.version == Version::One || counts.requests == 0;
        let begins = before.reads != counts.reads && may_begin;
        let at = match self.at {
            _ if counts.owed > 0 => At::Owed,
            _ if counts.open > 0 => At::Stuck,
            At::Head if !asked => At::Head,
            At::Idle if !asked && begins => At::Head,
            _ => At::Idle,
        };
        // Who takes an answer slowly does take it. Nothing that is written excuses a head that does not come.
        let takes = at != At::Head && before.writes != counts.writes;
        if at != self.at || asked || takes {
            (self.at, self.since) = (at, now);
        }
    }

    fn until(&self, patience: &Patience, now: Instant) -> (Instant, Late) {
        // Over HTTP/2 others' answers may be under way beside a viewer's.
        if self.seen.is_left && self.version == Version::One {
            return (self.since + LEFT, Late::Silent);
        }
        match self.at {
            At::Idle => (self.since + patience.idle, Late::Silent),
            At::Head => (self.since + patience.head, Late::Head),
            At::Stuck => (self.since + patience.stuck, Late::Silent),
            // Never; only to look again, since over HTTP/2 an answer may end where nobody polls its connection.
            At::Owed => (now + patience.idle, Late::Silent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(120),
        stuck: Duration::from_secs(300),
    };

    type Move = fn(&mut Counts);

    /// Plays what has moved at which second, and says when the patience would end.
    fn played(version: Version, moves: &[(u64, Move)]) -> (u64, Late) {
        let began = Instant::now();
        let (mut stand, mut counts) = (Stand::new(version, began), Counts::default());
        let mut now = began;
        for (second, change) in moves {
            now = began + Duration::from_secs(*second);
            change(&mut counts);
            stand.look(counts, now);
        }
        let (until, late) = stand.until(&PATIENCE, now);
        ((until - began).as_secs(), late)
    }

    fn read(counts: &mut Counts) {
        counts.reads += 1;
    }

    fn wrote(counts: &mut Counts) {
        counts.writes += 1;
    }

    fn asked(counts: &mut Counts) {
        (counts.requests, counts.open, counts.owed) = (counts.requests + 1, counts.open + 1, counts.owed + 1);
    }

    fn made(counts: &mut Counts) {
        counts.owed -= 1;
    }

    fn ended(counts: &mut Counts) {
        counts.open -= 1;
    }

    #[test]
    fn a_head_has_its_time_from_its_first_byte_however_it_drips() {
        use Version::{One, Unclear};
        assert_eq!(played(One, &[]), (120, Late::Silent));
        for version in [One, Unclear] {
            assert_eq!(played(version, &[(5, read)]), (15, Late::Head));
            assert_eq!(played(version, &[(5, read), (9, read), (14, read)]), (15, Late::Head));
            assert_eq!(played(version, &[(5, read), (9, wrote)]), (15, Late::Head));
        }
        let second = [(1, read as Move), (1, asked), (2, made), (2, ended), (30, read)];
        assert_eq!(played(One, &second), (40, Late::Head));
        assert_eq!(played(Unclear, &second), (122, Late::Silent), "perhaps it has pinged");
    }

    #[test]
    fn whoever_waits_for_the_mesh_may_wait_for_ever() {
        for version in [Version::One, Version::Unclear] {
            let (until, _) = played(version, &[(1, read), (1, asked), (5_000, wrote), (9_000, read)]);
            assert!(until > 9_000, "{until}");
            // Another stream of the same connection has ended meanwhile.
            let (until, _) = played(version, &[(1, asked), (2, asked), (3, made), (3, ended), (9_000, read)]);
            assert!(until > 9_000, "{until}");
        }
    }

    #[test]
    fn a_viewer_that_takes_nothing_keeps_no_edge_from_leaving() {
        let left = |counts: &mut Counts| counts.is_left = true;
        for stuck in [vec![(1, asked as Move), (10, made)], vec![(1, asked), (10, made), (10, ended)]] {
            let moves = [stuck, vec![(50, wrote), (60, left)]].concat();
            assert_eq!(played(Version::One, &moves), (52, Late::Silent));
            assert!(
                played(Version::Unclear, &moves).0 > 60,
                "perhaps somebody's answer is under way beside it"
            );
        }
    }

    #[test]
    fn who_takes_nothing_has_his_time_from_the_last_byte_that_he_took() {
        for version in [Version::One, Version::Unclear] {
            let open = [(1, asked as Move), (10, made), (50, wrote), (60, read)];
            assert_eq!(played(version, &open), (350, Late::Silent));
            // A whole answer leaves the mesh at once, and then its client's buffers fill.
            let whole = [(1, asked as Move), (10, made), (10, ended), (50, wrote)];
            assert_eq!(played(version, &whole), (170, Late::Silent));
        }
    }
}
