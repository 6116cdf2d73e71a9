//! Requests under which engines died or stalled, over all tasks of this edge. A client that repeats such a request
//! would take one engine after the other from everybody else; so it is refused for a while without being tried.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use echo_bus::id::NodeId;

use crate::attempts::charge::HARMFUL;

/// How long an engine's death is held against a request.
const WINDOW: Duration = Duration::from_secs(60);
/// How long a request is not tried after the last engine that it harmed.
const BARRED: Duration = Duration::from_secs(30);
/// Attempts that one death has ended hear of it one after the other.
const TOGETHER: Duration = Duration::from_secs(1);
/// Requests that are remembered; further ones are judged task by task only.
const MOST: usize = 1024;

/// What is held against which request, by its fingerprint.
#[derive(Debug, Default)]
pub struct Suspects(HashMap<u64, Vec<Harm>>);

#[derive(Debug)]
struct Harm {
    node: NodeId,
    weight: u32,
    at: Instant,
}

impl Suspects {
    /// An engine died or stalled, and this request may have done it.
    pub fn note(&mut self, request: u64, node: &NodeId, weight: u32, now: Instant) {
        self.0.retain(|_, harms| {
            harms.retain(|harm| now.duration_since(harm.at) < WINDOW);
            !harms.is_empty()
        });
        if self.0.len() >= MOST && !self.0.contains_key(&request) {
            return;
        }
        let harms = self.0.entry(request).or_default();
        let same = harms.iter_mut().find(|it| it.node == *node && now.duration_since(it.at) < TOGETHER);
        match same {
            Some(harm) => harm.weight = harm.weight.max(weight),
            None => harms.push(Harm { node: node.clone(), weight, at: now }),
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
    use crate::attempts::charge::{OWN, SHARED};

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    #[test]
    fn two_engines_bar_a_request_for_a_while_and_one_engine_does_not() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        for _ in 0..10 {
            suspects.note(7, &node("a"), OWN, now);
        }
        assert_eq!(suspects.barred(7, now), None, "ten attempts, and one death");
        suspects.note(7, &node("b"), OWN, now);
        assert_eq!(suspects.barred(7, now), Some(BARRED));
        assert_eq!(suspects.barred(8, now), None);
        assert_eq!(suspects.barred(7, now + BARRED), None);
        suspects.note(7, &node("a"), OWN, now + BARRED);
        assert!(suspects.barred(7, now + BARRED).is_some(), "it has not changed");
    }

    #[test]
    fn an_answer_clears_a_request_and_time_does() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        suspects.note(7, &node("a"), OWN, now);
        suspects.clear(7);
        suspects.note(7, &node("b"), OWN, now);
        assert_eq!(suspects.barred(7, now), None);
        suspects.note(8, &node("a"), OWN, now + WINDOW);
        assert_eq!(suspects.0.len(), 1, "nothing is kept for ever");
    }

    #[test]
    fn a_shared_fault_weighs_half() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        for name in ["a", "b", "c"] {
            suspects.note(7, &node(name), SHARED, now);
        }
        assert_eq!(suspects.barred(7, now), None);
        suspects.note(7, &node("d"), SHARED, now);
        assert!(suspects.barred(7, now).is_some());
    }

    #[test]
    fn so_many_are_remembered_and_no_more() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        for request in 0..2 * MOST as u64 {
            suspects.note(request, &node("a"), OWN, now);
        }
        assert_eq!(suspects.0.len(), MOST);
    }
}
