//! The machine that joins proves that it has the code, and gets what it needs.

use std::time::Duration;

use echo_bus::client::{CallError, Guest};
use echo_bus::id::NodeId;
use echo_bus::message::{Hex, JoinAnswer, JoinGrant, JoinRequest, JoinWish, Refusal};
use echo_bus::subject;

use super::code::Code;
use super::pake::{Half, OneWay};

/// An exchange can be crowded out by strangers; more than this is their intent.
const TRIES: usize = 3;
/// An answer that has not come by then is lost: the inviter asks the mesh for its nodes for a second at most. When a key is let in,
/// the server forgets which questions are open.
const AGAIN: Duration = Duration::from_millis(1500);
const ASKS: u32 = 3;
/// For so long a machine may ask again for what it was granted.
pub const INSISTS: Duration = Duration::from_secs(5);
const _: () = assert!(INSISTS.as_millis() > AGAIN.as_millis() * ASKS as u128);

/// Why the machine has not joined.
#[derive(Debug, thiserror::Error)]
pub enum NotJoined {
    #[error(
        "nobody waits for this code: it is used, taken back or older than its 10 minutes; make another with \
         `echo-mesh invite` on a machine of the mesh"
    )]
    Gone,
    #[error(
        "the code is wrong: compare it with the other machine's screen, or make another with `echo-mesh invite`"
    )]
    Wrong,
    #[error("the code is used, another machine has joined with it: make another with `echo-mesh invite`")]
    Used,
    #[error("the code is too old: make another with `echo-mesh invite`")]
    Old,
    #[error(
        "too many wrong codes were tried, so this one is no longer good: make another with `echo-mesh invite`"
    )]
    Spoilt,
    #[error(
        "the mesh has a node {0} already: choose another name with --node NAME, or, if that was this machine with a key \
         that is gone, take it out there first: echo-mesh machines revoke {0}; the code is still good"
    )]
    NodeTaken(NodeId),
    #[error(
        "the mesh does not take this machine's key, and the machine that shows the code says why; the code is still good"
    )]
    NotAdmitted,
    #[error(
        "the machine that shows the code does not answer: look whether `echo-mesh invite` still waits there"
    )]
    Unanswered,
    #[error(
        "whoever answers does not have the code: another program poses as the mesh, or the code is wrong"
    )]
    Impostor,
    #[error("the two machines do not understand each other: bring echo-mesh to the same version on both")]
    Version,
}

/// Asks for all that a node needs.
///
/// # Errors
/// See [`NotJoined`].
pub async fn ask(guest: &Guest, code: &Code, wish: &JoinWish) -> Result<JoinGrant, NotJoined> {
    for _ in 0..TRIES {
        let asking = Asking::new(code);
        let answer = insist(guest, code, &asking.hello()).await?;
        let (request, proved) = asking.prove(answer, wish)?;
        match insist(guest, code, &request).await? {
            JoinAnswer::Refused { why: Refusal::Forgotten, .. } => {}
            answer => return proved.grant(answer),
        }
    }
    Err(NotJoined::Unanswered)
}

/// The same proof again gets the same answer: one that was lost would cost the code.
async fn insist(guest: &Guest, code: &Code, request: &JoinRequest) -> Result<JoinAnswer, NotJoined> {
    for _ in 1..ASKS {
        match call(guest, code, request, AGAIN).await {
            Err(NotJoined::Unanswered) => {}
            answer => return answer,
        }
    }
    call(guest, code, request, AGAIN).await
}

async fn call(
    guest: &Guest,
    code: &Code,
    request: &JoinRequest,
    within: Duration,
) -> Result<JoinAnswer, NotJoined> {
    let answer = guest.call(&subject::join(code.invitation()), request, within).await;
    answer.map_err(|error| match error {
        CallError::NoResponders(_) => NotJoined::Gone,
        CallError::Undecodable(..) => NotJoined::Version,
        CallError::Unsent(_) | CallError::Unanswered(_) => NotJoined::Unanswered,
    })
}

/// The exchange before the proof.
pub struct Asking(Half);

/// The exchange after it.
pub struct Proved(OneWay);

impl Asking {
    pub fn new(code: &Code) -> Self {
        Self(Half::of_joiner(code))
    }

    pub fn hello(&self) -> JoinRequest {
        JoinRequest::Hello { pake: self.0.message() }
    }

    /// What proves that we have the code, and says what we want.
    pub fn prove(self, answer: JoinAnswer, wish: &JoinWish) -> Result<(JoinRequest, Proved), NotJoined> {
        let (exchange, pake) = match answer {
            JoinAnswer::Hello { exchange, pake } => (exchange, pake),
            other => return Err(refused(other)),
        };
        let keys = self.0.keys(&pake).ok_or(NotJoined::Version)?;
        let wish = serde_json::to_vec(wish).map_err(|_| NotJoined::Version)?;
        let sealed = keys.joiner.seal(wish).ok_or(NotJoined::Version)?;
        let request = JoinRequest::Prove { exchange, proof: sealed.proof, sealed: sealed.sealed };
        Ok((request, Proved(keys.inviter)))
    }
}

impl Proved {
    /// What was granted, if it comes from whoever has the code.
    pub fn grant(&self, answer: JoinAnswer) -> Result<JoinGrant, NotJoined> {
        let (proof, sealed): (Hex, Hex) = match answer {
            JoinAnswer::Welcome { proof, sealed } => (proof, sealed),
            other => return Err(refused(other)),
        };
        let text = self.0.open(&proof, &sealed).ok_or(NotJoined::Impostor)?;
        serde_json::from_slice(&text).map_err(|_| NotJoined::Version)
    }
}

fn refused(answer: JoinAnswer) -> NotJoined {
    match answer {
        JoinAnswer::Refused { why: Refusal::NodeTaken, node: Some(node) } => NotJoined::NodeTaken(node),
        JoinAnswer::Refused { why: Refusal::NotAdmitted, .. } => NotJoined::NotAdmitted,
        JoinAnswer::Refused { why: Refusal::WrongCode, .. } => NotJoined::Wrong,
        JoinAnswer::Refused { why: Refusal::Used, .. } => NotJoined::Used,
        JoinAnswer::Refused { why: Refusal::Old, .. } => NotJoined::Old,
        JoinAnswer::Refused { why: Refusal::Spoilt, .. } => NotJoined::Spoilt,
        JoinAnswer::Refused { why: Refusal::Forgotten, .. } => NotJoined::Unanswered,
        _ => NotJoined::Version,
    }
}
