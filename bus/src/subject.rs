//! Every subject of the mesh, spelled here and nowhere else, and typed by what travels on it.

mod shape;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use self::shape::{
    ANSWER, CACHE, CANCEL_AT, CANCEL_TASK, FRAMES, GONE, HEARTBEAT, JOIN, JOINER_REPLY, MACHINES, NODE_EVENT,
    ORDER, PING, PULSE, REPLY, STATUS, SUBMIT, SUBMIT_FROM, TASK, TASK_EVENT,
};
pub use self::shape::{CONTRACT, Duty, Shape, Who};
use crate::id::{BootId, Inbox, NodeId, Peer, ProcessId, Role, TaskId};
use crate::message::{
    AnswerPart, CacheDigest, Cancel, Disconnect, Dispatch, Empty, Event, Frames, Heartbeat, JoinAnswer,
    JoinRequest, MachinesAnswer, MachinesRequest, MeshStatus, Namesake, Order, Ordered, Pong, Pulse,
    PulseAnswer, ReadAnswer, Submission, Task,
};

/// A subject that messages of type `M` may be published to.
pub struct Subject<M>(async_nats::Subject, PhantomData<fn(M)>);

/// A subject that is asked with a `Q` and answers with an `A`.
pub struct Call<Q, A>(async_nats::Subject, PhantomData<fn(Q) -> A>);

/// What to subscribe to for messages of type `M`; may hold a wildcard, so it cannot be published to.
pub struct Filter<M>(async_nats::Subject, Origin<M>);

/// The subject that a message must have come by, told from who it says that it is from: the server has let nobody else
/// publish there. Absent where a message does not say that.
pub(crate) type Origin<M> = Option<Arc<dyn Fn(&M) -> String + Send + Sync>>;

/// Orchestrators share submissions and status requests in this queue group.
pub const ORCHESTRATORS: &str = "orchestrators";

macro_rules! subject_type {
    ($type:ident < $($param:ident),+ >) => {
        impl<$($param),+> $type<$($param),+> {
            fn new<T: fmt::Display>(shape: Shape, values: &[T]) -> Self {
                Self(shape.with(values).into(), Default::default())
            }

            pub(crate) fn raw(&self) -> async_nats::Subject {
                self.0.clone()
            }
        }

        impl<$($param),+> fmt::Display for $type<$($param),+> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<$($param),+> Clone for $type<$($param),+> {
            fn clone(&self) -> Self {
                Self(self.0.clone(), self.1.clone())
            }
        }
    };
}

subject_type!(Subject<M>);
subject_type!(Call<Q, A>);
subject_type!(Filter<M>);

impl<M> Filter<M> {
    /// Lets only those messages through whose subject is the one that this makes of their contents.
    fn by<S: fmt::Display>(mut self, origin: impl Fn(&M) -> S + Send + Sync + 'static) -> Self {
        self.1 = Some(Arc::new(move |message| origin(message).to_string()));
        self
    }

    pub(crate) fn origin(&self) -> Origin<M> {
        self.1.clone()
    }
}

/// Agent → orchestrators and anyone: the node's state.
pub fn heartbeat(node: &NodeId) -> Subject<Heartbeat> {
    Subject::new(HEARTBEAT, &[node])
}

/// The heartbeats of all nodes.
pub fn heartbeats() -> Filter<Heartbeat> {
    Filter::new(HEARTBEAT, &["*"]).by(|beat: &Heartbeat| heartbeat(&beat.node))
}

/// The heartbeats of one node.
pub fn heartbeats_of(node: &NodeId) -> Filter<Heartbeat> {
    Filter::new(HEARTBEAT, &[node]).by(|beat: &Heartbeat| heartbeat(&beat.node))
}

/// The same, so that an agent hears of a namesake.
pub fn namesakes(node: &NodeId) -> Filter<Namesake> {
    Filter::new(HEARTBEAT, &[node]).by(|beat: &Namesake| heartbeat(&beat.node))
}

/// Edge → one of the orchestrators: a task to be placed.
pub fn submit(task: TaskId) -> Call<Task, Submission> {
    Call::new(SUBMIT_FROM, &[task.home()])
}

/// The submissions of edges; subscribe in the queue group [`ORCHESTRATORS`].
pub fn submissions() -> Filter<Task> {
    Filter::new(SUBMIT_FROM, &["*"]).by(|task: &Task| submit(task.task))
}

/// Those by hand, in the same queue group.
pub fn submissions_by_hand() -> Filter<Task> {
    Filter::new(SUBMIT, NOTHING)
}

/// Orchestrator → the agent of this node: a task to run.
pub fn dispatch(node: &NodeId) -> Call<Task, Dispatch> {
    Call::new(TASK, &[node])
}

/// The tasks for this node.
pub fn dispatched(node: &NodeId) -> Filter<Task> {
    Filter::new(TASK, &[node])
}

/// Edge or orchestrator → the agent that may hold an attempt.
pub fn cancel_at(node: &NodeId, task: TaskId) -> Subject<Cancel> {
    Subject::new(CANCEL_AT, &[node.as_str(), &task.home()])
}

/// The cancels for this node.
pub fn cancels_at(node: &NodeId) -> Filter<Cancel> {
    let me = node.clone();
    Filter::new(CANCEL_AT, &[node.as_str(), "*"]).by(move |Cancel(id)| cancel_at(&me, id.task))
}

/// Edge → the orchestrator that holds an attempt in its queue or is placing it.
pub fn cancel_task(task: TaskId) -> Subject<Cancel> {
    Subject::new(CANCEL_TASK, &[task.home()])
}

/// The cancels of all tasks.
pub fn cancelled_tasks() -> Filter<Cancel> {
    Filter::new(CANCEL_TASK, &["*"]).by(|Cancel(id)| cancel_task(id.task))
}

/// Where the holder of one attempt sends its frames. `key` is random, so a stale attempt misses.
pub fn frames_inbox(edge: &ProcessId, key: &str) -> Inbox {
    Inbox::try_from(FRAMES.with(&[edge.as_str(), key])).expect("an edge id and a key are plain tokens")
}

/// The frames of all attempts of one edge.
pub fn frames_of(edge: &ProcessId) -> Filter<Frames> {
    Filter::new(FRAMES, &[edge.as_str(), "*"])
}

/// Any edge → the edge that owns a task: its answer, from some piece on.
pub fn answer_of(task: TaskId) -> Call<ReadAnswer, AnswerPart> {
    Call::new(ANSWER, &[task.home()])
}

/// The questions for the answers of this edge's tasks.
pub fn answers_of(edge: &ProcessId) -> Filter<ReadAnswer> {
    Filter::new(ANSWER, &[TaskId::home_of(edge)])
}

/// Holder → edge: what is held of that edge's.
pub fn pulse(edge: &ProcessId, holder: &Peer) -> Call<Pulse, PulseAnswer> {
    Call::new(PULSE, &[edge.as_str(), &holder.to_string()])
}

/// The pulses for this edge.
pub fn pulses(edge: &ProcessId) -> Filter<Pulse> {
    let me = edge.clone();
    Filter::new(PULSE, &[edge.as_str(), "*.*"]).by(move |said: &Pulse| pulse(&me, &said.holder))
}

/// Anyone → that process: are you there, and with what?
pub fn ping(peer: &Peer) -> Call<Empty, Pong> {
    Call::new(PING, &[peer])
}

/// The pings for this process.
pub fn pings(peer: &Peer) -> Filter<Empty> {
    Filter::new(PING, &[peer])
}

/// Agent → orchestrators: what its engine's caches hold.
pub fn cache(node: &NodeId) -> Subject<CacheDigest> {
    Subject::new(CACHE, &[node])
}

/// The caches of all nodes.
pub fn caches() -> Filter<CacheDigest> {
    Filter::new(CACHE, &["*"]).by(|digest: &CacheDigest| cache(&digest.node))
}

/// The server → orchestrators and edges: a connection has ended.
pub fn gone() -> Filter<Disconnect> {
    Filter::new(GONE, NOTHING)
}

/// Anyone → one of the orchestrators: the registry.
pub fn status() -> Call<Empty, MeshStatus> {
    Call::new(STATUS, NOTHING)
}

/// The requests for the registry; subscribe in the queue group [`ORCHESTRATORS`].
pub fn status_requests() -> Filter<Empty> {
    Filter::new(STATUS, NOTHING)
}

/// Orchestrator or edge → whoever watches: something happened to a node.
pub fn node_event(node: &NodeId, what: crate::message::What) -> Subject<Event> {
    Subject::new(NODE_EVENT, &[node.as_str(), what.as_str()])
}

/// Orchestrator or edge → whoever watches: something happened to a task.
pub fn task_event(task: TaskId, what: crate::message::What) -> Subject<Event> {
    Subject::new(TASK_EVENT, &[task.to_string().as_str(), what.as_str()])
}

/// All events of nodes.
pub fn node_events() -> Filter<Event> {
    Filter::new(NODE_EVENT, &["*", "*"])
}

/// All events of tasks.
pub fn task_events() -> Filter<Event> {
    Filter::new(TASK_EVENT, &["*", "*"])
}

/// Edge or operator → the agent of this node: what its operator wants of it.
pub fn order(node: &NodeId) -> Call<Order, Ordered> {
    Call::new(ORDER, &[node])
}

/// The orders for this node.
pub fn orders(node: &NodeId) -> Filter<Order> {
    Filter::new(ORDER, &[node])
}

/// A machine that wants to join → whoever shows the code with this number.
pub fn join(invitation: u16) -> Call<JoinRequest, JoinAnswer> {
    Call::new(JOIN, &[format!("{invitation:04x}")])
}

/// What machines say that want to join by this invitation.
pub fn joins(invitation: u16) -> Filter<JoinRequest> {
    Filter::new(JOIN, &[format!("{invitation:04x}")])
}

/// Operator → the broker's part: which machines may get in.
pub fn machines() -> Call<MachinesRequest, MachinesAnswer> {
    Call::new(MACHINES, NOTHING)
}

/// The questions about machines.
pub fn machines_requests() -> Filter<MachinesRequest> {
    Filter::new(MACHINES, NOTHING)
}

/// The prefix of the inboxes of a machine that wants to join. It may subscribe to nothing else.
pub(crate) fn joiner_inbox(key: &BootId) -> String {
    let one = JOINER_REPLY.with(&[key.as_str(), ""]);
    one.trim_end_matches('.').to_owned()
}

/// The prefix under which a process receives the answers to what it asks.
pub(crate) fn replies(role: Role, id: &ProcessId) -> String {
    let one = REPLY.with(&[format!("{}.{id}", role.as_str()), String::new()]);
    one.trim_end_matches('.').to_owned()
}

/// For subjects in which nothing differs.
const NOTHING: &[&str] = &[];

/// Whether answers that are sent there reach this process: a question with it came from there.
pub fn is_inbox_of(inbox: &Inbox, peer: &Peer) -> bool {
    let rest = inbox.as_str().strip_prefix(&replies(peer.role, &peer.id));
    rest.is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_tells_who_has_asked_it() {
        let (a, b) = ("node-a".parse::<NodeId>().unwrap(), "node".parse::<NodeId>().unwrap());
        let inbox = Inbox::try_from("_INBOX.agent.node-a.reply.7".to_owned()).unwrap();
        assert!(is_inbox_of(&inbox, &Peer::agent(&a)));
        assert!(!is_inbox_of(&inbox, &Peer::agent(&b)));
        assert!(!is_inbox_of(&inbox, &Peer { role: Role::Edge, id: (&a).into() }));
    }

    #[test]
    fn subjects_read_as_the_contract_says() {
        let node: NodeId = "node-a".parse().unwrap();
        let edge: ProcessId = "e1".parse().unwrap();
        let task = TaskId::from_u128(7);
        assert_eq!(heartbeat(&node).to_string(), "echo.node.node-a.heartbeat");
        assert_eq!(heartbeats().to_string(), "echo.node.*.heartbeat");
        assert_eq!(submit(task).to_string(), "echo.task.submit.000000000000");
        assert_eq!(submissions().to_string(), "echo.task.submit.*");
        assert_eq!(submissions_by_hand().to_string(), "echo.task.submit");
        assert_eq!(dispatch(&node).to_string(), "echo.node.node-a.task");
        assert_eq!(cancel_at(&node, task).to_string(), "echo.node.node-a.cancel.000000000000");
        assert_eq!(cancels_at(&node).to_string(), "echo.node.node-a.cancel.*");
        assert_eq!(cancel_task(task).to_string(), "echo.task.cancel.000000000000");
        assert_eq!(cancelled_tasks().to_string(), "echo.task.cancel.*");
        assert_eq!(frames_inbox(&edge, "k").as_str(), "_INBOX.edge.e1.k");
        assert_eq!(frames_of(&edge).to_string(), "_INBOX.edge.e1.*");
        assert_eq!(pulse(&edge, &Peer::agent(&node)).to_string(), "_echo.pulse.e1.agent.node-a");
        assert_eq!(pulses(&edge).to_string(), "_echo.pulse.e1.*.*");
        assert_eq!(ping(&Peer::agent(&node)).to_string(), "_echo.ping.agent.node-a");
        assert_eq!(cache(&node).to_string(), "_echo.cache.node-a");
        assert_eq!(caches().to_string(), "_echo.cache.*");
        assert_eq!(gone().to_string(), "_echo.gone");
        assert_eq!(status().to_string(), "echo.mesh.status");
        assert_eq!(
            node_event(&node, crate::message::What::Joined).to_string(),
            "echo.event.node.node-a.joined"
        );
        assert_eq!(node_events().to_string(), "echo.event.node.*.*");
        assert_eq!(task_events().to_string(), "echo.event.task.*.*");
        assert_eq!(order(&node).to_string(), "_echo.order.node-a");
        assert_eq!(orders(&node).to_string(), "_echo.order.node-a");
        assert_eq!(join(0x1a).to_string(), "_echo.join.001a");
        assert_eq!(joins(0x1a).to_string(), "_echo.join.001a");
    }
}
