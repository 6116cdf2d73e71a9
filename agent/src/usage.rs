//! How much of this machine other programs use: measured every second where its owner wants to know, and sent to the node.

mod gpu;
mod own;
mod processor;

use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

use crate::node::Event;
use crate::owner::{Limits, Usage};
use gpu::Gpu;
pub use own::EnginePlace;
use processor::Processor;

/// How often the processor is measured, and how often the GPU: that takes another program.
const EVERY: Duration = Duration::from_secs(1);
const GPU_TURNS: u32 = 5;

/// Measures until the returned guard is dropped; without limits it reads only the time zone.
pub fn watch(limits: Option<Limits>, engine: EnginePlace, events: mpsc::Sender<Event>) -> DropGuard {
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    tokio::spawn(async move { stop.run_until_cancelled(send(limits, engine, events)).await });
    guard
}

async fn send(limits: Option<Limits>, engine: EnginePlace, events: mpsc::Sender<Event>) {
    let mut meter = match limits {
        Some(limits) => Some(Meter::new(limits, engine).await),
        None => None,
    };
    let mut zone = TimeZone::system();
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let usage = match &mut meter {
            Some(meter) => meter.measure().await,
            None => None,
        };
        // One that cannot be read now is as it was.
        zone = TimeZone::try_system().unwrap_or(zone);
        if events.send(Event::Usage { usage, zone: zone.clone() }).await.is_err() {
            return;
        }
    }
}

struct Meter {
    /// Away while it measures.
    processor: Option<Box<Processor>>,
    gpu: Option<Gpu>,
    gpu_share: Option<f64>,
    turn: u32,
}

impl Meter {
    async fn new(limits: Limits, engine: EnginePlace) -> Self {
        let gpu = if limits.gpu.is_some() { Gpu::find().await } else { None };
        Self { processor: Some(Box::new(Processor::new(engine))), gpu, gpu_share: None, turn: 0 }
    }

    /// What others use now; `None` before there is anything to compare with.
    async fn measure(&mut self) -> Option<Usage> {
        let mut processor = self.processor.take()?;
        // It reads files, and those of the kernel may take their time.
        let measured = tokio::task::spawn_blocking(move || {
            let share = processor.measure();
            (processor, share)
        });
        let Ok((processor, share)) = measured.await else {
            warn!("the use of the processor cannot be measured any more");
            return None;
        };
        if let Some(gpu) = self.gpu.as_mut().filter(|_| self.turn.is_multiple_of(GPU_TURNS)) {
            self.gpu_share = gpu.measure(processor.own()).await;
        }
        self.turn = self.turn.wrapping_add(1);
        let engine_is_hidden = processor.own().engine_is_hidden();
        self.processor = Some(processor);
        Some(Usage { processor: Some(share?), gpu: self.gpu_share, engine_is_hidden })
    }
}
