//! Every subject of the mesh, spelled here and nowhere else, and typed by what travels on it.

use std::fmt;
use std::marker::PhantomData;

use crate::id::{BootId, Inbox, NodeId, Peer, ProcessId, Role, TaskId};
use crate::message::{
    AnswerPart, CacheDigest, Cancel, Disconnect, Dispatch, Empty, Event, Frame, Heartbeat, JoinAnswer,
    JoinRequest, MeshStatus, Order, Ordered, Pong, Pulse, PulseAnswer, ReadAnswer, Submission, Task,
};

/// A subject that messages of type `M` may be published to.
pub struct Subject<M>(async_nats::Subject, PhantomData<fn(M)>);

/// A subject that is asked with a `Q` and answers with an `A`.
pub struct Call<Q, A>(async_nats::Subject, PhantomData<fn(Q) -> A>);

/// What to subscribe to for messages of type `M`; may hold a wildcard, so it cannot be published to.
pub struct Filter<M>(async_nats::Subject, PhantomData<fn() -> M>);

/// Orchestrators share submissions and status requests in this queue group.
pub const ORCHESTRATORS: &str = "orchestrators";

macro_rules! subject_type {
    ($type:ident < $($param:ident),+ >) => {
        impl<$($param),+> $type<$($param),+> {
            fn new(text: fmt::Arguments<'_>) -> Self {
                Self(text.to_string().into(), PhantomData)
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
                Self(self.0.clone(), PhantomData)
            }
        }
    };
}

subject_type!(Subject<M>);
subject_type!(Call<Q, A>);
subject_type!(Filter<M>);

/// Agent → orchestrators and anyone: the node's state.
pub fn heartbeat(node: &NodeId) -> Subject<Heartbeat> {
    Subject::new(format_args!("echo.node.{node}.heartbeat"))
}

/// The heartbeats of all nodes.
pub fn heartbeats() -> Filter<Heartbeat> {
    Filter::new(format_args!("echo.node.*.heartbeat"))
}

/// The heartbeats under one node's id, so that an agent hears of a namesake.
pub fn heartbeats_of(node: &NodeId) -> Filter<Heartbeat> {
    Filter::new(format_args!("echo.node.{node}.heartbeat"))
}

/// Edge → one of the orchestrators: a task to be placed.
pub fn submit() -> Call<Task, Submission> {
    Call::new(format_args!("echo.task.submit"))
}

/// The submissions; subscribe in the queue group [`ORCHESTRATORS`].
pub fn submissions() -> Filter<Task> {
    Filter::new(format_args!("echo.task.submit"))
}

/// Orchestrator → the agent of this node: a task to run.
pub fn dispatch(node: &NodeId) -> Call<Task, Dispatch> {
    Call::new(format_args!("echo.node.{node}.task"))
}

/// The tasks for this node.
pub fn dispatched(node: &NodeId) -> Filter<Task> {
    Filter::new(format_args!("echo.node.{node}.task"))
}

/// Edge or orchestrator → the agent that may hold an attempt.
pub fn cancel_at(node: &NodeId) -> Subject<Cancel> {
    Subject::new(format_args!("echo.node.{node}.cancel"))
}

/// The cancels for this node.
pub fn cancels_at(node: &NodeId) -> Filter<Cancel> {
    Filter::new(format_args!("echo.node.{node}.cancel"))
}

/// Edge → the orchestrator that holds an attempt in its queue or is placing it.
pub fn cancel_task(task: TaskId) -> Subject<Cancel> {
    Subject::new(format_args!("echo.task.{task}.cancel"))
}

/// The cancels of all tasks.
pub fn cancelled_tasks() -> Filter<Cancel> {
    Filter::new(format_args!("echo.task.*.cancel"))
}

/// Where the holder of one attempt sends its frames. `key` is random, so a stale attempt misses.
pub fn frames_inbox(edge: &ProcessId, key: &str) -> Inbox {
    Inbox::try_from(format!("_INBOX.edge.{edge}.{key}")).expect("an edge id and a key are plain tokens")
}

/// The frames of all attempts of one edge.
pub fn frames_of(edge: &ProcessId) -> Filter<Frame> {
    Filter::new(format_args!("_INBOX.edge.{edge}.*"))
}

/// The subject of an inbox, for frames.
pub fn frames(inbox: &Inbox) -> Subject<Frame> {
    Subject::new(format_args!("{}", inbox.as_str()))
}

/// Any edge → the edge that owns a task: its answer, from some piece on.
pub fn answer_of(task: TaskId) -> Call<ReadAnswer, AnswerPart> {
    Call::new(format_args!("_echo.answer.{}", task.home()))
}

/// The questions for the answers of this edge's tasks.
pub fn answers_of(edge: &ProcessId) -> Filter<ReadAnswer> {
    Filter::new(format_args!("_echo.answer.{}", TaskId::home_of(edge)))
}

/// Holder → edge: what is held of that edge's.
pub fn pulse(edge: &ProcessId) -> Call<Pulse, PulseAnswer> {
    Call::new(format_args!("_echo.pulse.{edge}"))
}

/// The pulses for this edge.
pub fn pulses(edge: &ProcessId) -> Filter<Pulse> {
    Filter::new(format_args!("_echo.pulse.{edge}"))
}

/// Anyone → that process: are you there, and with what?
pub fn ping(peer: &Peer) -> Call<Empty, Pong> {
    Call::new(format_args!("_echo.ping.{}.{}", peer.role.as_str(), peer.id))
}

/// The pings for this process.
pub fn pings(peer: &Peer) -> Filter<Empty> {
    Filter::new(format_args!("_echo.ping.{}.{}", peer.role.as_str(), peer.id))
}

/// Agent → orchestrators: what its engine's caches hold.
pub fn cache(node: &NodeId) -> Subject<CacheDigest> {
    Subject::new(format_args!("_echo.cache.{node}"))
}

/// The caches of all nodes.
pub fn caches() -> Filter<CacheDigest> {
    Filter::new(format_args!("_echo.cache.*"))
}

/// The server → orchestrators and edges: a connection has ended.
pub fn gone() -> Filter<Disconnect> {
    Filter::new(format_args!("_echo.gone"))
}

/// Anyone → one of the orchestrators: the registry.
pub fn status() -> Call<Empty, MeshStatus> {
    Call::new(format_args!("echo.mesh.status"))
}

/// The requests for the registry; subscribe in the queue group [`ORCHESTRATORS`].
pub fn status_requests() -> Filter<Empty> {
    Filter::new(format_args!("echo.mesh.status"))
}

/// Orchestrator or edge → whoever watches: something happened to a node.
pub fn node_event(node: &NodeId, what: crate::message::What) -> Subject<Event> {
    Subject::new(format_args!("echo.event.node.{node}.{}", what.as_str()))
}

/// Orchestrator or edge → whoever watches: something happened to a task.
pub fn task_event(task: TaskId, what: crate::message::What) -> Subject<Event> {
    Subject::new(format_args!("echo.event.task.{task}.{}", what.as_str()))
}

/// All events of nodes.
pub fn node_events() -> Filter<Event> {
    Filter::new(format_args!("echo.event.node.*.*"))
}

/// All events of tasks.
pub fn task_events() -> Filter<Event> {
    Filter::new(format_args!("echo.event.task.*.*"))
}

/// Edge → the agent of this node: what its operator wants of it.
pub fn order(node: &NodeId) -> Call<Order, Ordered> {
    Call::new(format_args!("_echo.order.{node}"))
}

/// The orders for this node.
pub fn orders(node: &NodeId) -> Filter<Order> {
    Filter::new(format_args!("_echo.order.{node}"))
}

/// A machine that wants to join → whoever shows the code with this number.
pub fn join(invitation: u16) -> Call<JoinRequest, JoinAnswer> {
    Call::new(format_args!("_echo.join.{invitation:04x}"))
}

/// What machines say that want to join by this invitation.
pub fn joins(invitation: u16) -> Filter<JoinRequest> {
    Filter::new(format_args!("_echo.join.{invitation:04x}"))
}

/// The prefix of the inboxes of a machine that wants to join. It may subscribe to nothing else.
pub(crate) fn joiner_inbox(key: &BootId) -> String {
    format!("_INBOX.join.{key}")
}

/// The prefix under which a process receives the answers to what it asks.
pub(crate) fn replies(role: Role, id: &ProcessId) -> String {
    format!("_INBOX.{}.{id}.reply", role.as_str())
}

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
        assert_eq!(submit().to_string(), "echo.task.submit");
        assert_eq!(dispatch(&node).to_string(), "echo.node.node-a.task");
        assert_eq!(cancel_at(&node).to_string(), "echo.node.node-a.cancel");
        assert_eq!(cancel_task(task).to_string(), "echo.task.00000000-0000-0000-0000-000000000007.cancel");
        assert_eq!(frames_inbox(&edge, "k").as_str(), "_INBOX.edge.e1.k");
        assert_eq!(frames_of(&edge).to_string(), "_INBOX.edge.e1.*");
        assert_eq!(pulse(&edge).to_string(), "_echo.pulse.e1");
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
