//! A small world in which anything happens in any order, and what must hold in it all the same.

mod agent;
mod ledger;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::event::{Answer, Asked};
use crate::holding::Phase;
use crate::scheduler;
use crate::testkit::{Clock, inbox, task};
use agent::{Agent, Outcome};
use echo_bus::message::{Cancel, PulseAnswer, Request, Submission, Task};
use ledger::Ledger;

const QUEUE: usize = 4;
const NODES: [&str; 3] = ["a", "b", "c"];

/// Something that happens. Indices are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    /// A new task, or the next attempt at an old one.
    Submit {
        task: usize,
        waited: u64,
        model: usize,
        edge: bool,
        exclude: Option<usize>,
    },
    /// An attempt that is held comes again.
    Again(usize),
    /// The next attempt comes after its own cancel.
    Overtaken(usize),
    /// The agent makes a heartbeat; it arrives later.
    Speak(usize),
    /// The oldest heartbeat on its way from this node arrives.
    Hear(usize),
    /// The agent gets the task that is on its way.
    Reach(usize),
    /// The agent's answer arrives, or something goes wrong instead.
    Settle(usize, Outcome),
    /// A running attempt ends.
    Finish(usize, usize),
    Cancel(usize),
    Restart(usize),
    Gone(usize),
    /// Who was asked because of that answers.
    Pong(usize),
    Link(bool),
    /// An edge answers its pulse, or is silent.
    Pulse {
        answers: bool,
        unwanted: Option<usize>,
    },
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let submit = (0..12_usize, 0..5_000_u64, 0..6_usize, any::<bool>(), proptest::option::of(0..3_usize))
        .prop_map(|(task, waited, model, edge, exclude)| Step::Submit { task, waited, model, edge, exclude });
    let outcome = prop_oneof![
        6 => Just(Outcome::Arrives),
        1 => Just(Outcome::Lost),
        1 => Just(Outcome::NoResponders),
        1 => Just(Outcome::Missing),
        1 => Just(Outcome::Disconnected),
    ];
    prop_oneof![
        8 => submit,
        1 => (0..12_usize).prop_map(Step::Again),
        1 => (0..12_usize).prop_map(Step::Overtaken),
        6 => (0..3_usize).prop_map(Step::Speak),
        6 => (0..3_usize).prop_map(Step::Hear),
        8 => (0..8_usize).prop_map(Step::Reach),
        8 => ((0..8_usize), outcome).prop_map(|(which, outcome)| Step::Settle(which, outcome)),
        5 => (0..3_usize, 0..3_usize).prop_map(|(node, which)| Step::Finish(node, which)),
        2 => (0..12_usize).prop_map(Step::Cancel),
        1 => (0..3_usize).prop_map(Step::Restart),
        1 => (0..3_usize).prop_map(Step::Gone),
        1 => (0..3_usize).prop_map(Step::Pong),
        1 => any::<bool>().prop_map(Step::Link),
        2 => (any::<bool>(), proptest::option::of(0..12_usize))
            .prop_map(|(answers, unwanted)| Step::Pulse { answers, unwanted }),
        4 => prop_oneof![4 => 1..300_u64, 1 => 300..4_000_u64].prop_map(Step::Pass),
    ]
}

/// A dispatch on its way.
#[derive(Debug, Clone)]
struct Flight {
    asked: Asked,
    /// It takes no slot.
    aside: bool,
    /// What the agent said, once the task has reached it.
    said: Option<Answer>,
}

struct World {
    clock: Clock,
    state: State,
    agents: Vec<Agent>,
    flights: Vec<Flight>,
    pulses: Vec<ProcessId>,
    ledger: Ledger,
    /// Everything that was done, in words.
    log: Vec<String>,
}

impl World {
    fn new(clock: Clock) -> Self {
        let limits = Limits { queue_limit: QUEUE, ..Limits::default() };
        let state = State::new("o".parse().unwrap(), "o-1".parse().unwrap(), limits, clock.now());
        let agents = NODES.iter().zip(1..).map(|(node, slots)| Agent::new(node, slots)).collect();
        let (flights, pulses) = (Vec::new(), Vec::new());
        Self { clock, state, agents, flights, pulses, ledger: Ledger::default(), log: Vec::new() }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Submit { task, waited, model, edge, exclude } => {
                self.submit(task, waited, model, edge, exclude)
            }
            Step::Again(task) => {
                if let Some(attempt) = self.ledger.held_attempt(task) {
                    self.submit_attempt(task, attempt, 0, 0, true, None);
                }
            }
            Step::Overtaken(task) => {
                let attempt = self.ledger.attempt(task).map_or(1, |last| last + 1);
                self.cancel(task, attempt);
                self.submit_attempt(task, attempt, 0, 0, true, None);
            }
            Step::Speak(node) => self.agents[node].speak(),
            Step::Hear(node) => {
                if let Some(beat) = self.agents[node].on_its_way.pop_front() {
                    self.ledger.heard(&beat);
                    self.apply(Event::Beat(Box::new(beat)));
                }
            }
            Step::Reach(which) => self.reach(which),
            Step::Settle(which, outcome) => self.settle(which, outcome),
            Step::Finish(node, which) => self.agents[node].finish(which),
            Step::Cancel(task) => {
                if let Some(attempt) = self.ledger.attempt(task) {
                    self.cancel(task, attempt);
                }
            }
            Step::Restart(node) => self.agents[node].restart(),
            Step::Gone(node) => {
                let (peer, boot) = self.agents[node].peer();
                self.apply(Event::Gone { peer, boot });
            }
            Step::Pong(node) => {
                let (peer, boot) = self.agents[node].peer();
                self.apply(Event::Ponged { node: peer.id.as_str().parse().unwrap(), boot });
            }
            Step::Link(up) => self.apply(Event::Link { up }),
            Step::Pulse { answers, unwanted } => self.pulse(answers, unwanted),
            Step::Pass(ms) => {
                self.clock.pass(ms);
                self.apply(Event::Tick);
            }
        }
    }

    fn submit(&mut self, id: usize, waited: u64, model: usize, edge: bool, exclude: Option<usize>) {
        let attempt = self.ledger.attempt(id).map_or(1, |last| last + 1);
        self.submit_attempt(id, attempt, waited, model, edge, exclude);
    }

    fn submit_attempt(
        &mut self,
        id: usize,
        attempt: u32,
        waited: u64,
        model: usize,
        edge: bool,
        exclude: Option<usize>,
    ) {
        let excluded: Vec<_> = exclude
            .map(|node| json!({"node": NODES[node], "boot": self.agents[node].boot.as_str()}))
            .into_iter()
            .collect();
        let mut task: Task =
            task(id as u128, json!({"attempt": attempt, "waited_ms": waited, "excluded": excluded}));
        task.inbox = Some(inbox(id as u128, attempt));
        task.edge = edge.then(|| "e".parse().unwrap());
        task.client = ["", "x", "y"][id % 3].parse().ok();
        let (kind, name) = [("generate", "m"), ("generate", "n"), ("generate", ""), ("show", "m")][model % 4];
        // The last two are the first two with a context of their own.
        let options = if model < 4 { json!({}) } else { json!({"num_ctx": model}) };
        let settings = json!({"extra": {"options": options}});
        task.request = serde_json::from_value(
            json!({"kind": kind, "prompt": "hi", "model": name, "settings": settings}),
        )
        .unwrap();
        let reply = self.ledger.submitted(id, attempt);
        self.apply(Event::Submitted { task: Ok(Box::new(task)), reply: Some(reply) });
        self.ledger.must_be_answered_unless_asked(&self.state);
    }

    fn reach(&mut self, which: usize) {
        let waiting: Vec<_> = (0..self.flights.len()).filter(|&it| self.flights[it].said.is_none()).collect();
        if waiting.is_empty() {
            return;
        }
        let flight = &mut self.flights[waiting[which % waiting.len()]];
        if let Some(agent) = self.agents.iter_mut().find(|agent| agent.node == flight.asked.node) {
            flight.said = Some(agent.receive(&flight.asked, flight.aside));
        }
    }

    /// Ends a flight. What has not reached its agent by then never does, except that it may after a lost answer.
    fn settle(&mut self, which: usize, outcome: Outcome) {
        if self.flights.is_empty() {
            return;
        }
        let index = which % self.flights.len();
        let said = self.flights[index].said.clone();
        let answer = match (outcome, said) {
            (Outcome::Arrives, None) => return,
            (Outcome::Arrives, Some(said)) => said,
            (Outcome::Lost, _) => Answer::Unclear,
            // An agent that has spoken was there.
            (_, Some(_)) => return,
            (Outcome::NoResponders, None) => Answer::NoResponders,
            (Outcome::Disconnected, None) => Answer::Disconnected,
            (Outcome::Missing, None) => {
                Answer::Refused(Failure::elsewhere(Code::ModelMissing, "the engine does not have it"))
            }
        };
        let Flight { asked, .. } = self.flights.swap_remove(index);
        self.ledger.settled(&asked, &answer);
        self.apply(Event::Answered { asked, answer });
    }

    fn cancel(&mut self, task: usize, attempt: u32) {
        self.ledger.cancelled(task, attempt);
        self.apply(Event::Cancelled(Cancel(crate::testkit::held(task as u128, attempt).id)));
    }

    fn pulse(&mut self, answers: bool, unwanted: Option<usize>) {
        let Some(edge) = self.pulses.pop() else { return };
        let unwanted = unwanted
            .filter(|_| answers)
            .and_then(|task| Some((task, self.ledger.held_of_edge(&self.state, task)?)));
        if let Some((task, attempt)) = unwanted {
            self.ledger.cancelled(task, attempt);
        }
        let unwanted =
            unwanted.map(|(task, attempt)| crate::testkit::held(task as u128, attempt)).into_iter().collect();
        let answer = answers.then_some(PulseAnswer { unwanted, missing: Vec::new() });
        self.apply(Event::Pulsed { edge, answer });
    }

    fn apply(&mut self, event: Event) {
        let drops = matches!(event, Event::Tick);
        let submits = matches!(event, Event::Submitted { .. });
        let actions = self.state.apply(event, self.clock.now());
        self.ledger.forget_evicted(&self.state);
        let is_refusal =
            |action: &Action| matches!(action, Action::Answer { answer: Submission::Refused(_), .. });
        if submits && !actions.iter().any(is_refusal) {
            self.ledger.taken();
        }
        for action in actions {
            self.log.push(format!("{action:?}"));
            match action {
                Action::Dispatch { asked, task, .. } => {
                    let aside = matches!(task.request, Request::Show(_));
                    self.ledger.dispatched(&asked, aside, &self.state);
                    self.flights.push(Flight { asked, aside, said: None });
                }
                Action::CancelAt { node, cancel } => {
                    let agent = self.agents.iter_mut().find(|agent| agent.node == node).unwrap();
                    agent.cancel(cancel);
                }
                Action::Pulse { edge, .. } => {
                    assert!(!self.pulses.contains(&edge), "two pulses to one edge");
                    self.pulses.push(edge);
                }
                Action::Answer { to, answer } => self.ledger.answered(&to, &answer),
                Action::Frame { to, frame } => self.ledger.framed(&to, &frame),
                Action::Announce(news) if drops && news.what == What::Released => {
                    self.ledger.dropped(news.task.unwrap());
                }
                Action::Announce(_) | Action::Ping { .. } | Action::Pong { .. } | Action::Status { .. } => {}
            }
        }
        self.check();
    }

    /// What holds after every event.
    fn check(&self) {
        self.ledger.check_counts(&self.state);
        self.ledger.check_none_lost(&self.state);
        let state = &self.state;
        assert!(state.queue.len() <= 2 * QUEUE, "the queue is over its limit");
        let mut waiting = 0;
        for (line, tasks) in state.queue.lines() {
            let holdings: Vec<_> = tasks.values().map(|task| &state.held[task]).collect();
            assert!(holdings.iter().all(|holding| holding.need.line == *line));
            assert!(holdings.iter().all(|holding| matches!(holding.phase, Phase::Waiting { .. })));
            assert!(holdings.is_sorted_by_key(|holding| holding.since(state.started)), "not by time waited");
            waiting += holdings.len();
            for holding in holdings {
                // A slot may be left free for a task that is expected to be done sooner elsewhere.
                let could = scheduler::choose(&state.registry, &holding.need, &holding.bars());
                let idle = could.is_some()
                    && holding.need.aside
                    && state.health.is_connected()
                    && holding.task.excluded.is_empty();
                assert!(!idle, "{} waits although a slot is free", holding.task.task);
            }
        }
        assert_eq!(waiting, state.queue.len());
        assert_eq!(
            state.held.values().filter(|it| matches!(it.phase, Phase::Waiting { .. })).count(),
            waiting
        );
    }

    /// Everything comes to an end: answers come, agents finish, edges and nodes are heard.
    fn wind_down(&mut self) {
        self.apply(Event::Link { up: true });
        for round in 0..200 {
            // A refusal makes the next dispatch.
            while !self.flights.is_empty() {
                self.reach(0);
                self.settle(0, Outcome::Arrives);
            }
            while !self.pulses.is_empty() {
                self.pulse(true, None);
            }
            for node in 0..NODES.len() {
                self.agents[node].running.clear();
                self.agents[node].speak();
                while !self.agents[node].on_its_way.is_empty() {
                    self.take(&Step::Hear(node));
                }
            }
            self.take(&Step::Pass(500));
            if self.state.held() == 0 && self.flights.is_empty() && round > 2 {
                break;
            }
        }
        for node in 0..NODES.len() {
            self.agents[node].running.clear();
            self.take(&Step::Speak(node));
            while !self.agents[node].on_its_way.is_empty() {
                self.take(&Step::Hear(node));
            }
        }
        assert_eq!(self.state.held(), 0, "something is held forever");
        self.ledger.owes_nothing();
        assert!(self.state.queue.is_empty());
        self.take(&Step::Pass(50));
        assert_eq!(self.state.queue.clients(), 0, "something of a client is at work forever");
        for (_, node) in self.state.registry.iter() {
            assert_eq!(node.used(), 0, "the count of {} has drifted", node.id());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_counts_are_exact_and_no_task_is_lost_or_doubled(steps in vec(step(), 1..120)) {
        let mut world = World::new(Clock::new());
        for step in &steps {
            world.take(step);
        }
        world.wind_down();
    }

    #[test]
    fn the_same_events_make_the_same_actions(steps in vec(step(), 1..80)) {
        let now = Clock::new().now();
        let logs = [0, 1].map(|_| {
            let mut world = World::new(Clock::at(now));
            steps.iter().for_each(|step| world.take(step));
            world.log
        });
        prop_assert_eq!(&logs[0], &logs[1]);
    }
}
