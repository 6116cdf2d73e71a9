//! `echo-mesh invite`: makes a code with which one machine may join, and waits for that machine.

mod address;
mod invitation;
mod open;
mod show;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow};
use echo_bus::client::{Access, Authority, Guest, NotLetIn};
use echo_bus::host::Host;
use echo_bus::id::NodeId;
use echo_bus::message::JoinGrant;
use echo_bus::process::{self, BadConfig};
use echo_bus::time;
use reqwest::Url;

use crate::bus::WhichBus;
use crate::join::member::{self, Member};
use crate::machines::ask;
use crate::place::{Place, PlaceArgs};
use crate::record::Record;
use crate::say::say;

pub use address::{advertised, of_broker};
pub use invitation::Outcome;
pub use open::Open;
pub use show::invitation as show;

/// How long the broker may take to let a guest in.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long the code is good
    #[arg(long = "for", env = "ECHO_INVITE_FOR", value_name = "TIME", default_value = "10m", value_parser = time::between(Duration::from_secs(1), Duration::from_secs(3600)))]
    lifetime: Duration,

    /// Where other machines reach the broker [default: this machine's address on its network]
    #[arg(long, env = "ECHO_ADVERTISE", value_name = "HOST[:PORT]")]
    advertise: Option<String>,

    /// Show the code as a picture too [default: where the terminal has room for it]
    #[arg(long, value_name = "yes|no", num_args = 0..=1, default_missing_value = "true", value_parser = clap::builder::BoolishValueParser::new())]
    qr: Option<bool>,

    #[command(flatten)]
    bus: WhichBus,

    /// An edge of the mesh, if other machines can reach one
    #[arg(long = "edge", env = "ECHO_EDGE_URL", value_name = "URL", value_parser = crate::edge::address)]
    edge: Option<Url>,

    #[command(flatten)]
    place: PlaceArgs,
}

pub fn main(args: Args) -> ExitCode {
    execute(args)
}

#[tokio::main(flavor = "current_thread")]
async fn execute(args: Args) -> ExitCode {
    process::ended(run(args).await)
}

async fn run(args: Args) -> Result<()> {
    let shutdown = process::shutdown();
    let mesh = Mesh::of(&args.bus, &args.place.place()?)?;
    let authority = mesh.access.authority.clone();
    let keyed = mesh.access.key().is_some();
    let connecting = member::bus_of(&mesh.nats, mesh.access);
    let Some(bus) = shutdown.run_until_cancelled(connecting).await.transpose()? else {
        return Ok(());
    };
    takes_guests(&mesh.nats).await?;
    if keyed {
        ask::list(&bus).await.map_err(|error| error.at(&mesh.nats))?;
    }
    let broker = of_broker(&mesh.nats, args.advertise.as_deref()).await?;
    let mut open =
        Open::new(&bus, broker, grant(authority.as_ref(), args.edge.as_ref()), args.lifetime).await?;
    open.show(args.qr);
    let until = open.until();
    let outcome = tokio::select! {
        outcome = open.serve(&bus, &shutdown) => outcome?,
        never = show::countdown(until) => match never {},
    };
    show::countdown_over();
    if let Outcome::Joined(_) = outcome {
        say(told(&outcome));
    }
    let _ = tokio::time::timeout(outcome.linger(), open.decline(&bus, &shutdown)).await;
    bus.close().await;
    match outcome {
        Outcome::Joined(_) => Ok(()),
        Outcome::TakenBack => {
            say(told(&outcome));
            Ok(())
        }
        Outcome::Spoilt | Outcome::Old => Err(anyhow!(told(&outcome))),
    }
}

/// A broker by somebody's own configuration may have no user for those who want to join.
///
/// # Errors
/// The sentence that says so.
pub async fn takes_guests(nats: &str) -> Result<(), BadConfig> {
    match Guest::connect(nats, PATIENCE).await {
        Err(NotLetIn::Refused) => Err(BadConfig(format!(
            "the broker at {nats} takes no invitations: its configuration lacks the user join, which the nats.conf of \
             this project has"
        ))),
        _ => Ok(()),
    }
}

/// What a machine gets that has the code.
pub fn grant(authority: Option<&Authority>, edge: Option<&Url>) -> JoinGrant {
    let far = |url: &&Url| {
        url.host_str().and_then(Host::parse).is_some_and(|host| match host {
            Host::Address(ip) => !ip.is_loopback() && !ip.is_unspecified(),
            Host::Name(_) => !host.is_certain(),
        })
    };
    let edge = edge.filter(far).map(Url::to_string);
    let authority = authority.map(|authority| authority.pem().to_owned());
    JoinGrant { authority, edge, version: env!("CARGO_PKG_VERSION").to_owned() }
}

/// What became of a code, in a sentence.
pub fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Joined(wish) => {
            let nodes: Vec<&str> = wish.nodes.iter().map(NodeId::as_str).collect();
            let own = env!("CARGO_PKG_VERSION");
            let version: String = wish.version.chars().filter(char::is_ascii_graphic).take(20).collect();
            let other = if version == own {
                String::new()
            } else {
                format!(" It has version {version} of echo-mesh, and this machine has {own}.")
            };
            format!(
                "{} has joined. `echo-mesh status` shows it once its engine is ready.{other}",
                nodes.join(", ")
            )
        }
        Outcome::Spoilt => {
            "too many wrong codes were tried, so this one is no longer good: make another with \
                            `echo-mesh invite`"
                .to_owned()
        }
        Outcome::Old => "nobody has used the code in time: make another with `echo-mesh invite`".to_owned(),
        Outcome::TakenBack => "The code is taken back.".to_owned(),
    }
}

/// The mesh that a machine is invited to.
struct Mesh {
    nats: String,
    access: Access,
}

impl Mesh {
    /// The one that is named; else the one that runs here; else the one that this machine has joined.
    fn of(which: &WhichBus, place: &Place) -> Result<Self, BadConfig> {
        let here = Record::known(&place.run).filter(|record| record.supervisor.runs());
        let bus = match here.filter(|record| !record.joined) {
            Some(record) => which.meant(record.bus.as_deref(), record.access.as_ref()),
            None => {
                let member = Member::read(place)?;
                let bus = which.meant(member.as_ref().map(|member| member.nats.as_str()), None);
                let joined = member.filter(|member| member.nats == bus.nats && !member.keyed.is_empty());
                if let (Some(member), None, None) = (joined, &bus.access.nkey, &bus.access.creds) {
                    return Err(BadConfig(format!(
                        "this machine has only joined the mesh at {}, and its key lets nobody else in: run `echo-mesh \
                         invite` on the machine where `echo-mesh up --lan` runs",
                        member.nats
                    )));
                }
                bus
            }
        };
        Ok(Self { access: bus.access.read().map_err(BadConfig::because)?, nats: bus.nats })
    }
}
