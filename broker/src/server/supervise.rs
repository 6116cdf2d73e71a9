//! Keeps nats-server up: checks, starts, waits until it is ready, starts it again, gives up aloud.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::child::Running;
use super::error::Error;
use super::options::Options;
use super::plan::Plan;
use super::ports::{exposed, nearest, port_of};
use super::reload::{Reloader, Request};

/// Enough for a crash now and then, few enough to end a server that cannot live.
const MOST_CRASHES: usize = 10;
const CRASHES_WITHIN: Duration = Duration::from_secs(60);

/// Everybody waits for the bus: the first new start comes almost at once.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A server that is up, and what keeps it so.
pub(super) struct Started {
    pub(super) url: String,
    pub(super) monitor: Option<String>,
    pub(super) exposed: bool,
    pub(super) pid: watch::Receiver<Option<u32>>,
    pub(super) reloader: Reloader,
    pub(super) supervision: Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>,
}

pub(super) async fn start(options: Options, stop: CancellationToken) -> Result<Started, Error> {
    let mut plan = Plan::new(options)?;
    plan.check().await?;
    let (running, ports) = plan.launch().await?;
    let url = nearest(&ports, "nats").unwrap_or_default();
    let monitor = nearest(&ports, "monitoring");
    if let Err(error) = plan.guard(&ports, &url, &running).await {
        running.stop().await;
        return Err(error);
    }
    plan.port = port_of(&url).or(plan.port);
    plan.monitor = monitor.as_deref().and_then(port_of).or(plan.monitor);
    let (state, pid) = watch::channel(Some(running.pid()));
    let (reloader, requests) = Reloader::new();
    let supervision = Box::pin(supervise(plan, running, state, requests, stop));
    Ok(Started { url, monitor, exposed: exposed(&ports).is_some(), pid, reloader, supervision })
}

async fn supervise(
    mut plan: Plan,
    mut running: Running,
    pid: watch::Sender<Option<u32>>,
    mut requests: mpsc::Receiver<Request>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let mut crashes = Crashes::default();
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => {
                pid.send_replace(None);
                running.stop().await;
                return Ok(());
            }
            ended = look_after(&mut plan, &mut running, &mut requests) => ended,
        };
        pid.send_replace(None);
        // Nobody asked it to: it is a failure whatever the exit code says.
        let mut last = describe(ended, &running);
        running = loop {
            let Some(pause) = crashes.count(Instant::now()) else {
                return Err(Error::GaveUp { crashes: MOST_CRASHES, within: CRASHES_WITHIN, last });
            };
            error!(%last, ?pause, "nats-server ended unasked; starting it again");
            let launched = stop.run_until_cancelled(async {
                tokio::time::sleep(pause).await;
                plan.launch().await
            });
            match launched.await {
                None => return Ok(()),
                Some(Ok((running, _))) => break running,
                Some(Err(error)) => last = chain(&error),
            }
        };
        info!(pid = running.pid(), "nats-server is back");
        pid.send_replace(Some(running.pid()));
    }
}

/// Reloads when it is asked to, and comes back when the server has ended.
async fn look_after(
    plan: &mut Plan,
    running: &mut Running,
    requests: &mut mpsc::Receiver<Request>,
) -> io::Result<std::process::ExitStatus> {
    let mut look = tokio::time::interval(plan.look());
    loop {
        tokio::select! {
            biased;
            ended = running.ended() => return ended,
            Some(request) = requests.recv() => {
                // Who has asked and gone does not need the answer.
                let _ = request.send(plan.reload(running).await);
            }
            _ = look.tick() => if let Err(error) = plan.renew(running).await {
                warn!(error = &error as &dyn std::error::Error, "cannot renew the broker's certificate; trying again later");
            },
        }
    }
}

fn describe(ended: io::Result<std::process::ExitStatus>, running: &Running) -> String {
    let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
    let words = running.words().last();
    format!("{how}; its last words:\n{words}")
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}

/// The crashes of the last while.
#[derive(Default)]
struct Crashes(VecDeque<Instant>);

impl Crashes {
    /// Counts one, and says how long to pause before the next start; none when it is enough.
    fn count(&mut self, now: Instant) -> Option<Duration> {
        self.0.retain(|crash| now.duration_since(*crash) < CRASHES_WITHIN);
        self.0.push_back(now);
        let earlier = u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX);
        let pause = FIRST_PAUSE.saturating_mul(1 << earlier.min(10)).min(LONGEST_PAUSE);
        (self.0.len() < MOST_CRASHES).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crashes_pause_longer_and_longer_and_end_it_when_they_are_too_many() {
        let (mut crashes, start) = (Crashes::default(), Instant::now());
        let pauses: Vec<_> = (0..MOST_CRASHES).map(|_| crashes.count(start)).collect();
        assert_eq!(pauses[0], Some(FIRST_PAUSE));
        assert!(pauses.windows(2).all(|pair| pair[1].is_none() || pair[0] <= pair[1]), "{pauses:?}");
        assert_eq!(pauses.iter().position(Option::is_none), Some(MOST_CRASHES - 1));
    }

    #[test]
    fn crashes_of_long_ago_are_forgotten() {
        let (mut crashes, start) = (Crashes::default(), Instant::now());
        for minute in 0..100 {
            assert_eq!(crashes.count(start + CRASHES_WITHIN * minute), Some(FIRST_PAUSE));
        }
    }
}
