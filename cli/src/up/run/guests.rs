//! The invitation of `up --lan`: a code for one machine, answered while the mesh runs.

use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use echo_bus::Bus;
use echo_bus::client::{Access, AccessArgs};
use echo_bus::process::BadConfig;
use reqwest::Url;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Mesh;
use crate::invite::{self, Open, Outcome};
use crate::join::member;
use crate::record;
use crate::typed::Typed;
use crate::up::plan::{self, Own};
use crate::up::voice::Code;

/// How long the code is good.
const LIFETIME: Duration = Duration::from_secs(600);

/// Whoever has the code is answered until these are dropped, or it is known what becomes of the code.
#[derive(Debug)]
pub(super) struct Guests {
    outcome: oneshot::Receiver<Result<Outcome>>,
    /// How another code is made.
    again: String,
    _taken_back: DropGuard,
}

impl Mesh<'_> {
    /// Opens an invitation, if that is wanted. A mesh into which nobody can be let from here runs all the same.
    pub(super) async fn invite(&mut self) -> Result<Option<(Guests, Code)>> {
        let plan::Mesh::Own(own) = self.plan.mesh.clone() else { return Ok(None) };
        let (Some(invites), Some(nats)) = (&own.invites, self.record.bus.clone()) else { return Ok(None) };
        let typed = Typed::of(&self.place, None);
        let access = self.record.access.clone();
        let opened = async { Ok(open(&own, access, &nats, invites.advertise, typed.invite.clone()).await) };
        match self.watched("the invitation", opened).await? {
            Ok(opened) => Ok(Some(opened)),
            Err(why) => {
                self.voice.warns(format!("No machine can be invited now: {why:#}. Later: {}", typed.invite));
                Ok(None)
            }
        }
    }
}

async fn open(
    own: &Own,
    access: Option<record::Access>,
    nats: &str,
    advertise: Option<SocketAddr>,
    again: String,
) -> Result<(Guests, Code)> {
    let files = access.map(|files| AccessArgs {
        nkey: Some(files.nkey),
        tls_ca: Some(files.tls_ca),
        ..AccessArgs::default()
    });
    let access =
        files.map_or_else(|| Ok(Access::default()), |files| files.read()).map_err(BadConfig::because)?;
    let authority = access.authority.clone();
    invite::takes_guests(nats).await?;
    let broker = match advertise {
        Some(address) => address,
        None => invite::of_broker(nats, None).await?,
    };
    let bus = member::bus_of(nats, access).await?;
    // Where the edge listens everywhere, others reach it where they reach the broker.
    let edge = if own.edge.ip().is_unspecified() { broker.ip() } else { own.edge.ip() };
    let edge = Url::parse(&format!("{}://{}", own.scheme(), SocketAddr::new(edge, own.edge.port()))).ok();
    let open = Open::new(&bus, broker, invite::grant(authority.as_ref(), edge.as_ref()), LIFETIME).await?;
    let code = Code { text: open.code(), lifetime: LIFETIME };
    let (tell, outcome) = oneshot::channel();
    let taken_back = CancellationToken::new();
    tokio::spawn(answer(open, bus, taken_back.clone(), tell));
    Ok((Guests { outcome, again, _taken_back: taken_back.drop_guard() }, code))
}

async fn answer(
    mut open: Open,
    bus: Bus,
    taken_back: CancellationToken,
    tell: oneshot::Sender<Result<Outcome>>,
) {
    let outcome = open.serve(&bus, &taken_back).await;
    let linger = outcome.as_ref().map_or(Duration::ZERO, Outcome::linger);
    // The supervisor drops its end of it once it has heard this.
    let _ = tell.send(outcome);
    let _ = tokio::time::timeout(linger, open.decline(&bus, &CancellationToken::new())).await;
    bus.close().await;
}

/// What became of the code, once that is known. Cancel-safe.
pub(super) async fn said(guests: &mut Option<Guests>) -> String {
    let Some(open) = guests else { return pending().await };
    let outcome = (&mut open.outcome).await.context("nobody answers any more").flatten();
    let again = open.again.clone();
    *guests = None;
    match outcome {
        Ok(outcome @ Outcome::Joined(_)) => {
            format!("{} For another machine: {again}", invite::told(&outcome))
        }
        Ok(outcome) => invite::told(&outcome),
        Err(error) => format!("The code is no longer good ({error:#}). For another one: {again}"),
    }
}
