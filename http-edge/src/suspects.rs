//! Requests under which engines died or stalled, over all tasks of this edge. A client that repeats such a request
//! would take one engine after the other from everybody else; so it is refused for a while without being tried.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use echo_bus::message::Excluded;

use crate::attempts::charge::{HARMFUL, SHARED};

/// How long an engine's death is held against a request.
const WINDOW: Duration = Duration::from_secs(60);
/// How long a request is not tried after the last engine that it harmed.
const BARRED: Duration = Duration::from_secs(30);
/// Attempts that one death has ended hear of it one after the other; for agents that do not number the deaths.
const TOGETHER: Duration = Duration::from_secs(1);
/// Deaths that are remembered of a request, the last ones: as many of the lightest bar it.
const KEPT: usize = (HARMFUL / SHARED) as usize;
/// Requests that are remembered; further ones are judged task by task only.
const MOST: usize = 1024;

/// What is held against which request, by its fingerprint.
#[derive(Debug, Default)]
pub struct Suspects(HashMap<u64, Vec<Harm>>);

#[derive(Debug)]
struct Harm {
    node: Excluded,
    /// The agent's number of it.
    number: Option<u32>,
    weight: u32,
    at: Instant,
}

impl Harm {
    /// Whether it is the same death or stall, told by another attempt that it has ended.
    fn is(&self, other: &Self) -> bool {
        self.node == other.node
            && match (self.number, other.number) {
                (Some(one), Some(another)) => one == another,
                _ => other.at.duration_since(self.at) < TOGETHER,
            }
    }
}

impl Suspects {
    /// An engine died or stalled, and this request may have done it. `number` is the agent's, by which attempts that
    /// ended together are told from those that met the engine's next life.
    pub fn note(&mut self, request: u64, node: &Excluded, number: Option<u32>, weight: u32, now: Instant) {
        self.0.retain(|_, harms| {
            harms.retain(|harm| now.duration_since(harm.at) < WINDOW);
            !harms.is_empty()
        });
        if self.0.len() >= MOST && !self.0.contains_key(&request) {
            return;
        }
        let harms = self.0.entry(request).or_default();
        let harm = Harm { node: node.clone(), number, weight, at: now };
        match harms.iter_mut().find(|it| it.is(&harm)) {
            Some(known) => known.weight = known.weight.max(weight),
            None => {
                harms.drain(..(harms.len() + 1).saturating_sub(KEPT));
                harms.push(harm);
            }
        }
    }

    /// A request like this was answered: it harms nobody.
    pub fn clear(&mut self, request: u64) {
        self.0.remove(&request);
    }

    /// Whether nothing is held against anybody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How long this request is still not tried, if so.
    pub fn barred(&self, request: u64, now: Instant) -> Option<Duration> {
        let harms = self.0.get(&request)?;
        let recent = harms.iter().filter(|harm| now.duration_since(harm.at) < WINDOW);
        let weight: u32 = recent.map(|harm| harm.weight).sum();
        let last = harms.iter().map(|harm| harm.at).max()?;
        let left = (last + BARRED).saturating_duration_since(now);
        (weight >= HARMFUL && !left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempts::charge::OWN;

    fn node(name: &str) -> Excluded {
        Excluded { node: name.parse().unwrap(), boot: "b1".parse().unwrap() }
    }

    #[test]
    fn two_engines_bar_a_request_for_a_while_and_one_engine_does_not() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        for _ in 0..10 {
            suspects.note(7, &node("a"), Some(3), OWN, now);
        }
        assert_eq!(suspects.barred(7, now), None, "ten attempts, and one death");
        suspects.note(7, &node("b"), Some(3), OWN, now);
        assert_eq!(suspects.barred(7, now), Some(BARRED));
        assert_eq!(suspects.barred(8, now), None);
        assert_eq!(suspects.barred(7, now + BARRED), None);
        suspects.note(7, &node("a"), Some(4), OWN, now + BARRED);
        assert!(suspects.barred(7, now + BARRED).is_some(), "it has not changed");
    }

    #[test]
    fn an_engine_that_comes_back_at_once_and_dies_again_has_died_twice() {
        let now = Instant::now();
        let mut suspects = Suspects::default();
        suspects.note(7, &node("a"), Some(1), OWN, now);
        suspects.note(7, &node("a"), Some(2), OWN, now);
        assert!(suspects.barred(7, now).is_some());
        let mut suspects = Suspects::default();
        suspects.note(7, &node("a"), Some(1), OWN, now);
        let restarted = Excluded { boot: "b2".parse().unwrap(), ..node("a") };
        suspects.note(7, &restarted, Some(1), OWN, now);
        assert!(suspects.barred(7, now).is_some(), "an agent counts from its start on");
    }

    #[test]
    fn where_deaths_have_no_number_those_of_one_second_are_one() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        suspects.note(7, &node("a"), None, OWN, now);
        suspects.note(7, &node("a"), None, OWN, now + TOGETHER / 2);
        assert_eq!(suspects.barred(7, now + TOGETHER / 2), None);
        suspects.note(7, &node("a"), None, OWN, now + TOGETHER);
        assert!(suspects.barred(7, now + TOGETHER).is_some());
    }

    #[test]
    fn a_thousand_deaths_are_no_longer_a_list_than_four() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        for number in 0..1000 {
            suspects.note(7, &node("a"), Some(number), SHARED, now);
        }
        assert_eq!(suspects.0[&7].len(), KEPT);
        assert!(suspects.barred(7, now).is_some());
    }

    #[test]
    fn an_answer_clears_a_request_and_time_does() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        suspects.note(7, &node("a"), Some(1), OWN, now);
        suspects.clear(7);
        suspects.note(7, &node("b"), Some(1), OWN, now);
        assert_eq!(suspects.barred(7, now), None);
        suspects.note(8, &node("a"), Some(1), OWN, now + WINDOW);
        assert_eq!(suspects.0.len(), 1, "nothing is kept for ever");
    }

    #[test]
    fn a_shared_fault_weighs_half() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        for name in ["a", "b", "c"] {
            suspects.note(7, &node(name), Some(1), SHARED, now);
        }
        assert_eq!(suspects.barred(7, now), None);
        suspects.note(7, &node("d"), Some(1), SHARED, now);
        assert!(suspects.barred(7, now).is_some());
    }

    #[test]
    fn so_many_are_remembered_and_no_more() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        for request in 0..2 * MOST as u64 {
            suspects.note(request, &node("a"), Some(1), OWN, now);
        }
        assert_eq!(suspects.0.len(), MOST);
    }
}
