//! Who ran beside whom when an engine died or stalled, and so which request can have done it.
//!
//! An engine that dies takes all its answers with it, and only one of them was the cause. An answer that was being made
//! has shown that its request works; one that has given nothing yet has not. So the fault lies with those that had
//! given nothing, and an answer that was going well is not charged for a neighbour.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use echo_bus::message::{Code, Failure, Fault};

/// Attempts that one death ends are told of it one after the other, within this time.
const TOGETHER: Duration = Duration::from_secs(1);

/// The attempts on one engine.
#[derive(Debug, Default)]
pub struct Company(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    members: BTreeMap<u64, Member>,
    seats: u64,
    harm: Harm,
}

/// The engine's last death or stall.
#[derive(Debug, Default)]
struct Harm {
    number: u32,
    /// When the first attempt was told of it, and the seats that had been given by then: who came later met the next.
    at: Option<Instant>,
    seats: u64,
}

#[derive(Debug)]
struct Member {
    begun: Instant,
    /// The [fingerprint](echo_bus::message::Request::fingerprint) of its request: ten who ask the same are one
    /// suspect.
    request: u64,
    /// When it last gave something.
    gave: Option<Instant>,
    /// When it failed; it is remembered for as long as its neighbours may be told of the same death.
    failed: Option<Instant>,
}

/// An attempt's place; given back when it is dropped.
#[derive(Debug)]
pub struct Seat {
    company: Arc<Company>,
    id: u64,
}

impl Company {
    /// An attempt at this request begins.
    pub fn join(self: &Arc<Self>, request: u64, now: Instant) -> Seat {
        let state = &mut *self.state();
        state.members.retain(|_, it| it.failed.is_none_or(|at| now.duration_since(at) < TOGETHER));
        state.seats += 1;
        state.members.insert(state.seats, Member { begun: now, request, gave: None, failed: None });
        Seat { company: self.clone(), id: state.seats }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The attempt has given a part of its answer.
    pub fn gave(&self, now: Instant) {
        if let Some(member) = self.company.state().members.get_mut(&self.id) {
            member.gave = Some(now);
        }
    }

    /// Says whose fault a failure is. Failures that no request causes by what it asks are left as they are.
    pub fn judge(&self, mut failure: Failure, now: Instant) -> Failure {
        if failure.fault != Fault::Unknown
            || !matches!(failure.code, Code::EngineUnreachable | Code::EngineStalled)
        {
            return failure;
        }
        let state = &mut *self.company.state();
        let Some(me) = state.members.get_mut(&self.id) else { return failure };
        me.failed = Some(now);
        let (request, gave) = (me.request, me.gave);
        failure.harm = Some(state.harm.number_for(self.id, state.seats, now));
        // Who gave something in the second half of this silence is not silent itself.
        let silent = gave.unwrap_or(me.begun);
        let lately = silent + now.saturating_duration_since(silent) / 2;
        let others: Vec<&Member> = state
            .members
            .values()
            .filter(|it| it.request != request)
            .filter(|it| it.failed.is_none_or(|at| now.duration_since(at) < TOGETHER))
            .collect();
        failure.fault =
            if failure.code == Code::EngineStalled && others.iter().any(|it| it.gave > Some(lately)) {
                // The engine works on for somebody else, and only this request stands still.
                Fault::Request
            } else {
                blame(gave.is_some(), &others)
            };
        failure
    }
}

impl Harm {
    /// The number of the death or stall that this seat's attempt has ended in.
    fn number_for(&mut self, seat: u64, seats: u64, now: Instant) -> u32 {
        let told = seat <= self.seats && self.at.is_some_and(|at| now.duration_since(at) < TOGETHER);
        if !told {
            *self = Self { number: self.number.wrapping_add(1), at: Some(now), seats };
        }
        self.number
    }
}

fn blame(going_well: bool, others: &[&Member]) -> Fault {
    let suspects = others.iter().filter(|it| it.gave.is_none()).count();
    match (going_well, suspects) {
        (true, 0) if others.is_empty() => Fault::Request,
        (true, 0) => Fault::Shared,
        (true, _) => Fault::Other,
        (false, 0) => Fault::Request,
        (false, _) => Fault::Shared,
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let members = &mut self.company.state().members;
        if members.get(&self.id).is_some_and(|it| it.failed.is_none()) {
            members.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death() -> Failure {
        Failure::elsewhere(Code::EngineUnreachable, "gone")
    }

    fn stall() -> Failure {
        Failure::elsewhere(Code::EngineStalled, "still")
    }

    #[test]
    fn whoever_runs_alone_did_it() {
        let (company, now) = (Arc::<Company>::default(), Instant::now());
        let seat = company.join(1, now);
        assert_eq!(seat.judge(death(), now).fault, Fault::Request);
        seat.gave(now);
        assert_eq!(seat.judge(death(), now).fault, Fault::Request);
    }

    #[test]
    fn an_answer_that_went_well_is_not_charged_for_a_newcomer() {
        let (company, now) = (Arc::<Company>::default(), Instant::now());
        let (good, bad) = (company.join(1, now), company.join(2, now));
        good.gave(now);
        assert_eq!(bad.judge(death(), now).fault, Fault::Request);
        drop(bad);
        assert_eq!(good.judge(death(), now).fault, Fault::Other, "it remembers who failed just before");
    }

    #[test]
    fn ten_of_one_kind_are_one_suspect() {
        let (company, now) = (Arc::<Company>::default(), Instant::now());
        let seats: Vec<_> = (0..10).map(|_| company.join(7, now)).collect();
        assert!(seats.iter().all(|seat| seat.judge(death(), now).fault == Fault::Request));
    }

    #[test]
    fn attempts_that_one_death_ends_say_the_same_number_and_who_came_later_says_the_next() {
        let (company, now) = (Arc::<Company>::default(), Instant::now());
        let (a, b) = (company.join(7, now), company.join(7, now));
        let number = |seat: &Seat, at| seat.judge(death(), at).harm;
        assert_eq!((number(&a, now), number(&b, now)), (Some(1), Some(1)));
        let (c, stays) = (company.join(7, now), company.join(8, now));
        assert_eq!(number(&c, now), Some(2), "the engine came back at once, and died again");
        assert_eq!(number(&stays, now + TOGETHER), Some(3), "it had survived that one");
        let unjudged = Failure { fault: Fault::Machine, ..death() };
        assert_eq!(company.join(9, now).judge(unjudged, now).harm, None);
    }

    #[test]
    fn two_that_have_given_nothing_share_the_fault_and_so_do_two_that_went_well() {
        let (company, now) = (Arc::<Company>::default(), Instant::now());
        let (a, b) = (company.join(1, now), company.join(2, now));
        assert_eq!(a.judge(death(), now).fault, Fault::Shared);
        a.gave(now);
        b.gave(now);
        assert_eq!(b.judge(death(), now).fault, Fault::Shared);
    }

    #[test]
    fn a_stall_beside_an_answer_that_goes_on_is_the_requests_own() {
        let (company, start) = (Arc::<Company>::default(), Instant::now());
        let (still, works) = (company.join(1, start), company.join(2, start));
        still.gave(start);
        works.gave(start + Duration::from_secs(8));
        assert_eq!(still.judge(stall(), start + Duration::from_secs(9)).fault, Fault::Request);
    }

    #[test]
    fn two_that_stand_still_together_share_the_fault_whoever_gave_last() {
        let (company, start) = (Arc::<Company>::default(), Instant::now());
        let (one, other) = (company.join(1, start), company.join(2, start));
        one.gave(start);
        other.gave(start + Duration::from_millis(10));
        assert_eq!(one.judge(stall(), start + Duration::from_secs(9)).fault, Fault::Shared);
    }

    #[test]
    fn an_old_failure_and_a_happy_end_are_no_company() {
        let (company, start) = (Arc::<Company>::default(), Instant::now());
        let old = company.join(1, start);
        old.judge(death(), start);
        drop(old);
        drop(company.join(2, start));
        let later = start + TOGETHER;
        let seat = company.join(3, later);
        assert_eq!(company.state().members.len(), 1, "nothing is kept for ever");
        assert_eq!(seat.judge(death(), later).fault, Fault::Request);
    }

    #[test]
    fn what_is_settled_or_no_fault_of_a_request_stays_as_it_is() {
        let (company, now) = (Arc::<Company>::default(), Instant::now());
        let seat = company.join(1, now);
        let settled = Failure { fault: Fault::Machine, ..death() };
        assert_eq!(seat.judge(settled, now).fault, Fault::Machine);
        assert_eq!(seat.judge(Failure::elsewhere(Code::EngineBusy, ""), now).fault, Fault::Unknown);
    }
}
