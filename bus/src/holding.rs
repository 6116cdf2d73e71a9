//! The rules by which an attempt is held, for all who hold one and for the edge that waits for it.
//!
//! A holder (an agent with a running attempt, an orchestrator with a waiting one) renews a *lease* on it: one pulse every
//! [`PULSE`] to the edge that owns the task. The edge is the *failure detector*: after [`SILENCE`] it pings the holder,
//! and what comes back within [`HANG`] or [`GONE`] decides whether the attempt is lost. The number of an attempt is a
//! *fencing token* ([`Fence`]); the boot id of a process is its *incarnation*. Nobody's silence counts while we could not
//! have heard anything ourselves ([`LocalHealth`]).

mod fence;
mod local_health;
mod times;

pub use fence::Fence;
pub use local_health::{LateTick, LocalHealth};
pub use times::{
    EDGE_DEAD, FENCED, FENCES, GONE, HANG, KEPT_AFTER_END, LATE_TICK, MOVING, PULSE, PULSE_AFTER_END,
    PULSE_ANSWER, RECONNECT_GRACE, SILENCE,
};
