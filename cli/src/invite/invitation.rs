//! One invitation: who has proved to have the code, and what becomes of it. Plain data; no bus and no clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use echo_bus::id::NodeId;
use echo_bus::message::{Hex, JoinAnswer, JoinGrant, JoinRequest, JoinWish, Refusal};

use crate::join::code::Code;
use crate::join::exchange::INSISTS;
use crate::join::pake::{Half, Keys};

/// So many wrong proofs spoil a code. Of the guesses at 40 bits that leaves nobody a chance: one in a billion. Fewer would
/// let anybody on the network spoil each code in a moment.
const MOST_WRONG: u32 = 1000;

/// So many wrong proofs end an exchange. Strangers hear its name, and could end an honest one by the first.
const MOST_WRONG_IN_ONE: u32 = 3;

/// How long the code's fate is told to those who came a moment too late.
const LATE: Duration = Duration::from_secs(1);

/// Exchanges that are open at once. An honest one is open for milliseconds; strangers can only crowd out each other.
const MOST_OPEN: usize = 32;

/// A code, and all that was said about it.
pub struct Invitation {
    code: Code,
    until: Instant,
    open: VecDeque<Exchange>,
    wrong: u32,
    end: Option<Outcome>,
    /// The exchange that was granted: an answer that was lost is given again.
    granted: Option<(Hex, JoinAnswer)>,
}

/// A machine that has said hello.
struct Exchange {
    name: Hex,
    keys: Keys,
    wrong: u32,
}

/// What a request leads to.
#[derive(Debug)]
pub enum Heard {
    Answer(JoinAnswer),
    /// Whoever asks has the code: these keys have to be let in before it is told so.
    Admit(Admission),
}

/// A machine that has proved to have the code.
#[derive(Debug)]
pub struct Admission {
    exchange: Hex,
    pub wish: JoinWish,
}

/// What has become of a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A machine has it all, and these will be its nodes.
    Joined(JoinWish),
    /// Too many wrong proofs.
    Spoilt,
    /// Nobody came in time.
    Old,
    /// The person who made it has thought better of it.
    TakenBack,
}

impl Outcome {
    /// For how long requests are still answered: a machine that was let in may have lost the answer.
    pub fn linger(&self) -> Duration {
        if matches!(self, Self::Joined(_)) { INSISTS } else { LATE }
    }
}

impl Invitation {
    /// A code for the broker at this address, good for that long.
    pub fn new(code: Code, now: Instant, lifetime: Duration) -> Self {
        let open = VecDeque::new();
        Self { code, until: now + lifetime, open, wrong: 0, end: None, granted: None }
    }

    pub fn code(&self) -> &Code {
        &self.code
    }

    /// When the code becomes old.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// What has become of it; none while it is good.
    pub fn outcome(&mut self, now: Instant) -> Option<&Outcome> {
        if self.end.is_none() && now >= self.until {
            self.end = Some(Outcome::Old);
        }
        self.end.as_ref()
    }

    /// Takes it back, if it is good.
    pub fn take_back(&mut self) {
        self.end.get_or_insert(Outcome::TakenBack);
        self.open.clear();
    }

    /// Takes a request. `nodes` are those of the mesh now; `keyed`: whether everybody in the mesh has a key.
    pub fn hear(&mut self, request: &JoinRequest, keyed: bool, nodes: &[NodeId], now: Instant) -> Heard {
        if let (JoinRequest::Prove { exchange, .. }, Some((granted, answer))) = (request, &self.granted)
            && exchange == granted
        {
            return Heard::Answer(answer.clone());
        }
        if let Some(over) = self.outcome(now).map(refusal) {
            self.open.clear();
            return Heard::Answer(refused(over));
        }
        match request {
            JoinRequest::Hello { pake } => Heard::Answer(self.hello(pake)),
            JoinRequest::Prove { exchange, proof, sealed } => {
                let Some(at) = self.open.iter().position(|open| open.name == *exchange) else {
                    return Heard::Answer(refused(Refusal::Forgotten));
                };
                match self.open[at].keys.joiner.open(proof, sealed) {
                    Some(wish) => wanted(exchange, &wish, keyed, nodes),
                    None => Heard::Answer(self.guessed(at)),
                }
            }
            JoinRequest::Unknown => Heard::Answer(refused(Refusal::Unreadable)),
        }
    }

    fn hello(&mut self, theirs: &Hex) -> JoinAnswer {
        let half = Half::of_inviter(&self.code);
        let pake = half.message();
        let Some(keys) = half.keys(theirs) else {
            return refused(Refusal::Unreadable);
        };
        let exchange = Hex::from(rand::random::<[u8; 16]>().to_vec());
        if self.open.len() == MOST_OPEN {
            self.open.pop_front();
        }
        self.open.push_back(Exchange { name: exchange.clone(), keys, wrong: 0 });
        JoinAnswer::Hello { exchange, pake }
    }

    fn guessed(&mut self, at: usize) -> JoinAnswer {
        self.wrong += 1;
        self.open[at].wrong += 1;
        if self.open[at].wrong == MOST_WRONG_IN_ONE {
            self.open.remove(at);
        }
        if self.wrong < MOST_WRONG {
            return refused(Refusal::WrongCode);
        }
        self.end = Some(Outcome::Spoilt);
        self.open.clear();
        refused(Refusal::Spoilt)
    }

    /// The keys are in: the machine gets all that it needs, and the code is used.
    pub fn admitted(&mut self, admission: Admission, grant: &JoinGrant) -> JoinAnswer {
        let Admission { exchange, wish } = admission;
        let at = self.open.iter().position(|open| open.name == exchange);
        let Some(Exchange { keys, .. }) = at.and_then(|at| self.open.remove(at)) else {
            return refused(Refusal::Forgotten);
        };
        let sealed = serde_json::to_vec(grant).ok().and_then(|grant| keys.inviter.seal(grant));
        let Some(sealed) = sealed else {
            return refused(Refusal::Unreadable);
        };
        let answer = JoinAnswer::Welcome { proof: sealed.proof, sealed: sealed.sealed };
        self.end = Some(Outcome::Joined(wish));
        self.open.clear();
        self.granted = Some((exchange, answer.clone()));
        answer
    }
}

/// What a machine wants that has the code.
fn wanted(exchange: &Hex, wish: &[u8], keyed: bool, nodes: &[NodeId]) -> Heard {
    let wish = match serde_json::from_slice::<JoinWish>(wish) {
        Ok(wish) if !wish.nodes.is_empty() && (!keyed || wish.keys.len() == wish.nodes.len()) => wish,
        _ => return Heard::Answer(refused(Refusal::Unreadable)),
    };
    // Told before the code is used up: the same code serves once the node has another id.
    match wish.nodes.iter().find(|node| nodes.contains(node)) {
        Some(taken) => Heard::Answer(taken_by_another(taken.clone())),
        None => Heard::Admit(Admission { exchange: exchange.clone(), wish }),
    }
}

pub(super) fn taken_by_another(node: NodeId) -> JoinAnswer {
    JoinAnswer::Refused { why: Refusal::NodeTaken, node: Some(node) }
}

fn refusal(outcome: &Outcome) -> Refusal {
    match outcome {
        Outcome::Joined(_) => Refusal::Used,
        Outcome::Spoilt => Refusal::Spoilt,
        Outcome::Old | Outcome::TakenBack => Refusal::Old,
    }
}

pub(super) fn refused(why: Refusal) -> JoinAnswer {
    JoinAnswer::Refused { why, node: None }
}

#[cfg(test)]
mod tests;
