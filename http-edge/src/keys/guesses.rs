//! Wrong keys, by the address that they come from: whoever sends many waits for each answer. A right key never waits, since
//! others may share the address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Addresses that are remembered. What takes the place of another one begins anew.
const MOST: usize = 4096;
/// So many wrong keys are slips.
const FREE: u32 = 8;
/// The first pause; each wrong key doubles it.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);
/// Who has sent none for so long begins anew.
const FORGET: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct Guesses(Mutex<HashMap<Option<IpAddr>, Wrong>>);

#[derive(Debug, Clone, Copy)]
struct Wrong {
    count: u32,
    last: Instant,
}

impl Guesses {
    /// A wrong key has come: how long its answer is to wait.
    pub fn wrong(&self, from: Option<IpAddr>, now: Instant) -> Duration {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = from.map(network);
        if known.len() >= MOST && !known.contains_key(&from) {
            make_room(&mut known, now);
        }
        let wrong = known.entry(from).or_insert(Wrong { count: 0, last: now });
        if now.duration_since(wrong.last) >= FORGET {
            wrong.count = 0;
        }
        *wrong = Wrong { count: wrong.count.saturating_add(1), last: now };
        match wrong.count.checked_sub(FREE + 1) {
            None => Duration::ZERO,
            Some(more) => PAUSE.saturating_mul(1 << more.min(10)).min(LONGEST),
        }
    }
}

fn make_room(known: &mut HashMap<Option<IpAddr>, Wrong>, now: Instant) {
    known.retain(|_, wrong| now.duration_since(wrong.last) < FORGET);
    if known.len() >= MOST
        && let Some(oldest) = known.iter().min_by_key(|(_, wrong)| wrong.last).map(|(from, _)| *from)
    {
        known.remove(&oldest);
    }
}

/// A household has a whole network of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_wrong_keys_from_one_address_cost_time_and_a_few_do_not() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let from = |text: &str| Some(text.parse().unwrap());
        for _ in 0..FREE {
            assert_eq!(guesses.wrong(from("10.0.0.1"), now), Duration::ZERO);
        }
        assert_eq!(guesses.wrong(from("10.0.0.1"), now), PAUSE);
        assert_eq!(guesses.wrong(from("10.0.0.1"), now), PAUSE * 2);
        for _ in 0..40 {
            guesses.wrong(from("10.0.0.1"), now);
        }
        assert_eq!(guesses.wrong(from("10.0.0.1"), now), LONGEST);
        assert_eq!(guesses.wrong(from("10.0.0.2"), now), Duration::ZERO, "another one's slip");
        assert_eq!(guesses.wrong(from("10.0.0.1"), now + FORGET), Duration::ZERO);
    }

    #[test]
    fn addresses_are_remembered_up_to_a_bound_and_those_of_one_network_are_one() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for number in 0..3 * MOST as u32 {
            guesses.wrong(Some(IpAddr::from(number.to_be_bytes())), now);
        }
        assert!(guesses.0.lock().unwrap().len() <= MOST);
        for number in 0..FREE {
            guesses.wrong(Some(format!("2001:db8::{number:x}").parse().unwrap()), now);
        }
        assert_eq!(guesses.wrong(Some("2001:db8::ffff".parse().unwrap()), now), PAUSE);
    }
}
