//! The shared side of all running tasks: the desk, and the mailbox of each task's driver.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use echo_bus::Bus;
use echo_bus::id::{NodeId, TaskId};
use echo_bus::message::{Cancel, Frame};
use echo_bus::subject;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::desk::{Desk, Lost};
use crate::life::Limits;
use crate::suspects::Suspects;

/// Signals that wait for one driver; what finds no room is asked for again by way of the pulse.
const MAILBOX: usize = 256;
/// Kept free of frames, so that a loss always finds room.
const RESERVED: usize = 8;

/// What a task's driver is told.
#[derive(Debug)]
pub enum Signal {
    Frames {
        attempt: u32,
        frames: Vec<Frame>,
    },
    Lost(Box<Lost>),
    /// Requests with this fingerprint are not tried any more: engines do not survive them.
    Barred(u64),
}

/// Owns every task that a client is waiting for.
pub struct Owner {
    pub bus: Bus,
    pub limits: Limits,
    pub tracker: TaskTracker,
    /// Cancelled when running tasks must end at once.
    pub abort: CancellationToken,
    shared: Mutex<Shared>,
}

struct Shared {
    desk: Desk,
    suspects: Suspects,
    mailboxes: HashMap<TaskId, mpsc::Sender<Signal>>,
}

impl Owner {
    pub fn new(bus: Bus, limits: Limits, abort: CancellationToken) -> Arc<Self> {
        let (suspects, mailboxes) = Default::default();
        let shared = Shared { desk: Desk::new(Instant::now()), suspects, mailboxes };
        Arc::new(Self { bus, limits, tracker: TaskTracker::new(), abort, shared: Mutex::new(shared) })
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs something on the desk.
    pub fn desk<T>(&self, act: impl FnOnce(&mut Desk) -> T) -> T {
        act(&mut self.shared().desk)
    }

    /// An engine died or stalled, and this request may have done it. Once that is certain, the other tasks that ask the
    /// same are told, so that those in line do not go on to the next engine.
    pub fn note_harm(&self, request: u64, node: &NodeId, weight: u32) {
        let (shared, now) = (&mut *self.shared(), Instant::now());
        let before = shared.suspects.barred(request, now);
        shared.suspects.note(request, node, weight, now);
        if before.is_none() && shared.suspects.barred(request, now).is_some() {
            for mailbox in shared.mailboxes.values() {
                // Who has no room now is stopped at its next attempt.
                let _ = mailbox.try_send(Signal::Barred(request));
            }
        }
    }

    /// Looks up, or changes, what is held against requests.
    pub fn suspects<T>(&self, act: impl FnOnce(&mut Suspects) -> T) -> T {
        act(&mut self.shared().suspects)
    }

    /// Opens the mailbox of a task; closed and forgotten when the registration is dropped.
    pub fn register(self: &Arc<Self>, task: TaskId) -> (Registration, mpsc::Receiver<Signal>) {
        let (sender, mailbox) = mpsc::channel(MAILBOX);
        self.shared().mailboxes.insert(task, sender);
        (Registration { owner: self.clone(), task }, mailbox)
    }

    /// Sorts a frame in and gives the driver what is in order.
    pub fn frame(&self, inbox: &str, frame: Frame) {
        let shared = &mut *self.shared();
        if let Some((node, cancel)) = shared.desk.late(inbox, &frame) {
            return self.cancel_late(node, cancel);
        }
        let Some((task, attempt, frames)) = shared.desk.frame(inbox, frame, Instant::now()) else { return };
        let first = frames.iter().find_map(Frame::seq);
        let mailbox = shared.mailboxes.get(&task).filter(|mailbox| mailbox.capacity() > RESERVED);
        let given =
            mailbox.is_some_and(|mailbox| mailbox.try_send(Signal::Frames { attempt, frames }).is_ok());
        if let Some(first) = first.filter(|_| !given) {
            shared.desk.undo(task, attempt, first);
        }
    }

    /// Tells a node that it has taken an attempt that was given up.
    pub fn cancel_late(&self, node: NodeId, cancel: Cancel) {
        debug!(task = %cancel.0.task, attempt = cancel.0.attempt, %node, "accepted after it was given up");
        let bus = self.bus.clone();
        self.tracker.spawn(async move {
            if let Err(error) = bus.publish(&subject::cancel_at(&node), &cancel).await {
                debug!(task = %cancel.0.task, %error, "could not cancel; the pulse will");
            }
        });
    }

    /// Tells drivers that their attempts are lost.
    pub fn lost(&self, lost: Vec<Lost>) {
        let shared = self.shared();
        for lost in lost {
            if let Some(mailbox) = shared.mailboxes.get(&lost.task) {
                // Room is reserved, and an attempt is lost only once; a closed mailbox needs no word.
                let _ = mailbox.try_send(Signal::Lost(Box::new(lost)));
            }
        }
    }

    /// How many tasks are running.
    pub fn running(&self) -> usize {
        self.shared().mailboxes.len()
    }
}

/// A task's place on the desk.
pub struct Registration {
    owner: Arc<Owner>,
    task: TaskId,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let shared = &mut *self.owner.shared();
        shared.mailboxes.remove(&self.task);
        shared.desk.end(self.task);
    }
}
