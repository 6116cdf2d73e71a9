//! An invitation on the bus: it answers whoever asks to join.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use echo_bus::Bus;
use echo_bus::client::{Received, Subscription};
use echo_bus::id::NodeId;
use echo_bus::message::{Empty, JoinAnswer, JoinGrant, JoinRequest, JoinWish, NewKey, Refusal};
use echo_bus::subject::{self, Duty};
use tokio_util::sync::CancellationToken;

use super::invitation::{Heard, Invitation, Outcome, refused, taken_by_another};
use super::show;
use crate::join::code::Code;
use crate::machines::ask::{self, NotChanged};
use crate::say::warn;

/// How long the answer to a question of ours may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// For so long the mesh is not asked for its nodes again, however many try to join.
const FRESH: Duration = Duration::from_secs(1);

/// How long the answer to a wrong proof takes: less than a joiner waits for it.
const PAUSE: Duration = Duration::from_millis(500);

/// An invitation that is open: its code can be shown, and whoever has it is answered.
pub struct Open {
    invitation: Invitation,
    lifetime: Duration,
    grant: JoinGrant,
    requests: Subscription<JoinRequest>,
    nodes: Vec<NodeId>,
    asked: Option<Instant>,
}

impl Open {
    /// Makes a code for the broker at this address, and listens for whoever has it.
    ///
    /// # Errors
    /// The broker has gone.
    pub async fn new(bus: &Bus, broker: SocketAddr, grant: JoinGrant, lifetime: Duration) -> Result<Self> {
        let invitation = Invitation::new(Code::random(broker), Instant::now(), lifetime);
        let requests = bus.subscribe(&subject::joins(invitation.code().invitation())).await?;
        bus.round_trip(Duration::from_secs(5)).await.context("the broker has gone")?;
        Ok(Self { invitation, lifetime, grant, requests, nodes: Vec::new(), asked: None })
    }

    /// The code, as it is typed.
    pub fn code(&self) -> String {
        self.invitation.code().shown()
    }

    /// Shows the code, and what to do with it; `qr`: whether as a picture too, absent: where there is room.
    pub fn show(&self, qr: Option<bool>) {
        show::invitation(self.invitation.code(), self.lifetime, qr);
    }

    /// When the code becomes old.
    pub fn until(&self) -> Instant {
        self.invitation.until()
    }

    /// Answers until it is known what becomes of the code; `until` takes it back.
    ///
    /// # Errors
    /// The connection was closed.
    pub async fn serve(&mut self, bus: &Bus, until: &CancellationToken) -> Result<Outcome> {
        loop {
            if let Some(outcome) = self.invitation.outcome(Instant::now()) {
                return Ok(outcome.clone());
            }
            let received = tokio::select! {
                biased;
                () = until.cancelled() => {
                    self.invitation.take_back();
                    continue;
                }
                () = tokio::time::sleep_until(self.invitation.until().into()) => continue,
                received = self.requests.next() => received,
            };
            self.answer(bus, received).await?;
        }
    }

    /// Tells those who come later what has become of the code.
    pub async fn decline(mut self, bus: &Bus, until: &CancellationToken) {
        while let Some(received) = until.run_until_cancelled(self.requests.next()).await {
            if self.answer(bus, received).await.is_err() {
                return;
            }
        }
    }

    async fn answer(&mut self, bus: &Bus, received: Option<Received<JoinRequest>>) -> Result<()> {
        let Some(Received { message, reply, .. }) = received else {
            bail!("the connection to the broker was closed");
        };
        let answer = match message {
            Ok(request) => {
                if matches!(request, JoinRequest::Prove { .. }) {
                    self.ask_for_nodes(bus).await;
                }
                self.hear(bus, &request).await
            }
            Err(_) => refused(Refusal::Unreadable),
        };
        if answer == refused(Refusal::WrongCode) {
            // Whoever guesses waits; everybody else is answered meanwhile. A code allows only so many wrong proofs, so this
            // is bounded.
            let bus = bus.clone();
            tokio::spawn(async move {
                tokio::time::sleep(PAUSE).await;
                let _ = bus.answer(reply.as_ref(), &answer).await;
            });
            return Ok(());
        }
        // One that is lost is asked for again.
        let _ = bus.answer(reply.as_ref(), &answer).await;
        Ok(())
    }

    async fn hear(&mut self, bus: &Bus, request: &JoinRequest) -> JoinAnswer {
        let keyed = self.grant.authority.is_some();
        let admission = match self.invitation.hear(request, keyed, &self.nodes, Instant::now()) {
            Heard::Answer(answer) => return answer,
            Heard::Admit(admission) => admission,
        };
        if keyed && let Err(answer) = admit(bus, &admission.wish).await {
            return answer;
        }
        self.invitation.admitted(admission, &self.grant)
    }

    /// Without an orchestrator nobody knows the nodes; a namesake then notices it by itself.
    async fn ask_for_nodes(&mut self, bus: &Bus) {
        if self.asked.is_some_and(|asked| asked.elapsed() < FRESH) {
            return;
        }
        if let Ok(status) = bus.call(&subject::status(), &Empty {}, PATIENCE).await {
            self.nodes = status.nodes.into_iter().map(|node| node.node_id).collect();
        }
        self.asked = Some(Instant::now());
    }
}

/// Has the broker take the keys of the machine's nodes in, all or none.
async fn admit(bus: &Bus, wish: &JoinWish) -> Result<(), JoinAnswer> {
    let keys = wish.nodes.iter().zip(&wish.keys).map(|(node, key)| NewKey {
        name: node.to_string(),
        duty: Duty::Agent,
        node: Some(node.clone()),
        key: key.clone(),
    });
    let keys: Vec<NewKey> = keys.collect();
    let why = match ask::admit(bus, keys.clone()).await {
        Ok(_) => return Ok(()),
        Err(why) => why,
    };
    if let (NotChanged::Refused(_), Ok(known)) = (&why, ask::list(bus).await) {
        let other = |new: &&NewKey| known.iter().any(|one| one.name == new.name && one.key != new.key);
        if let Some(node) = keys.iter().find(other).and_then(|new| new.node.clone()) {
            return Err(taken_by_another(node));
        }
    }
    warn(format_args!("a machine with the code was not let in: {why}"));
    Err(refused(Refusal::NotAdmitted))
}
