//! Schedules of somebody who knows how long every answer becomes, and no future arrival: what the others are measured by.
//!
//! Each task is tried on each node in a copy of that node that is run to its end, and goes where the sum of all ends grows
//! least. It waits until its node would start it.

use std::collections::BTreeMap;

use super::engine::{Ask, EPS, Engine, Job, OVERHEAD};
use super::world::{Mesh, Policy};

/// Tasks that are looked at when something changes.
const LOOK: usize = 40;
/// Arrivals are counted over about this many seconds.
const MEMORY: f64 = 180.0;

/// What an oracle does apart from knowing everything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Oracle {
    /// The shortest first, and not in order of arrival.
    pub shortest_first: bool,
    /// A model that is thrown out costs its load time, times the chance that it is wanted within so many seconds.
    pub evict: f64,
    /// A prompt that loses its slot and will be continued costs its time this many times.
    pub worth: f64,
}

/// An oracle at work.
#[derive(Debug)]
pub struct Clairvoyant {
    how: Oracle,
    queue: Vec<usize>,
    /// Arrivals per second by model, and when that was counted.
    rates: BTreeMap<usize, (f64, f64)>,
    /// The newest turn of each session, and how many it has.
    turns: BTreeMap<u64, (usize, usize)>,
}

/// A node with all that is meant for it so far in this round.
struct Plan {
    node: Engine,
    /// Tasks that are to wait for it.
    waiting: usize,
    /// The sum of the times until all its ends, once it was needed.
    sum: Option<f64>,
}

/// The best node for a task.
struct Best {
    cost: f64,
    node: usize,
    entered: f64,
}

impl From<Oracle> for Clairvoyant {
    fn from(how: Oracle) -> Self {
        Self { how, queue: Vec::new(), rates: BTreeMap::new(), turns: BTreeMap::new() }
    }
}

impl Policy for Clairvoyant {
    fn submit(&mut self, task: usize, mesh: &mut Mesh) {
        let (now, ticket) = (mesh.now, mesh.ticket(task));
        let rate = self.rate(ticket.ask.model, now) + 1.0 / MEMORY;
        self.rates.insert(ticket.ask.model, (rate, now));
        self.turns.insert(ticket.ask.session, (ticket.turn, mesh.length(task)));
        self.queue.push(task);
        self.plan(mesh);
    }

    fn freed(&mut self, mesh: &mut Mesh) {
        self.plan(mesh);
    }
}

impl Clairvoyant {
    fn plan(&mut self, mesh: &mut Mesh) {
        let mut plans: BTreeMap<usize, Plan> = BTreeMap::new();
        for task in self.ordered(mesh).into_iter().take(LOOK) {
            let Some(best) = self.best(task, &mut plans, mesh) else { continue };
            let plan = plans.get_mut(&best.node).expect("the best was planned");
            if best.entered <= mesh.now + EPS && plan.waiting == 0 {
                self.queue.retain(|&other| other != task);
                mesh.enter(task, best.node);
                plans.remove(&best.node);
            } else {
                plan.node.take(mesh.ticket(task).ask, mesh.now);
                plan.waiting += 1;
                plan.sum = None;
            }
        }
    }

    fn ordered(&self, mesh: &Mesh) -> Vec<usize> {
        let mut tasks = self.queue.clone();
        if self.how.shortest_first {
            let alone = |task: &usize| {
                let ask = &mesh.ticket(*task).ask;
                let times =
                    mesh.serving(ask.model).iter().map(|&node| alone(ask, mesh.engine(node), mesh.now));
                times.fold(f64::INFINITY, f64::min)
            };
            let mut timed: Vec<_> = tasks.iter().map(|task| (alone(task), *task)).collect();
            timed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            tasks = timed.into_iter().map(|(_, task)| task).collect();
        }
        tasks
    }

    /// Where the sum of all ends grows least.
    fn best(&self, task: usize, plans: &mut BTreeMap<usize, Plan>, mesh: &Mesh) -> Option<Best> {
        let (now, ask) = (mesh.now, mesh.ticket(task).ask);
        let nodes = mesh.serving(ask.model).iter();
        let mut nodes: Vec<_> = nodes.map(|&node| (alone(&ask, mesh.engine(node), now), node)).collect();
        nodes.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut best: Option<Best> = None;
        for (least, node) in nodes {
            if best.as_ref().is_some_and(|best| least >= best.cost) {
                break;
            }
            let new = || Plan { node: mesh.engine(node).what_if(now), waiting: 0, sum: None };
            let plan = plans.entry(node).or_insert_with(new);
            let before = *plan.sum.get_or_insert_with(|| sum(&plan.node.clone().run_out(), now));
            let mut with = plan.node.clone();
            with.take(ask, now);
            let ended = with.run_out();
            let cost = sum(&ended, now) - before + self.lost(&ask, node, mesh);
            if best.as_ref().is_none_or(|best| cost < best.cost - EPS) {
                let entered = ended.iter().find(|job| job.ask.id == ask.id).map_or(now, |job| job.entered);
                best = Some(Best { cost, node, entered });
            }
        }
        best
    }

    /// What starting here costs those who come later: models and prompts that have to go.
    fn lost(&self, ask: &Ask, node: usize, mesh: &Mesh) -> f64 {
        let (engine, model) = (mesh.engine(node), ask.model);
        let is_loaded = engine.last_used(model).is_some();
        let mut cost = 0.0;
        if self.how.evict > 0.0 && !is_loaded && engine.loading().is_none_or(|(it, _)| it != model) {
            for victim in engine.victims(model) {
                let wanted = 1.0 - (-self.rate(victim, mesh.now) * self.how.evict).exp();
                let having = mesh.serving(victim).iter();
                let copies = having.filter(|&&it| mesh.engine(it).last_used(victim).is_some()).count();
                cost += engine.machine().pace(victim).load * wanted / copies.max(1) as f64;
            }
        }
        if self.how.worth > 0.0
            && is_loaded
            && let Some(slot) = engine.slot_for(ask)
            && let Some(kept) = slot.kept.filter(|kept| kept.session != ask.session)
            && self.comes_again(kept.session, mesh)
        {
            let lost = kept.tokens - slot.common(ask);
            cost += self.how.worth * lost / engine.machine().pace(model).prompt;
        }
        cost
    }

    fn comes_again(&self, session: u64, mesh: &Mesh) -> bool {
        self.turns.get(&session).is_some_and(|(turn, of)| turn + 1 < *of)
            || self.queue.iter().any(|&task| mesh.ticket(task).ask.session == session)
    }

    /// Arrivals of a model per second lately.
    fn rate(&self, model: usize, now: f64) -> f64 {
        self.rates.get(&model).map_or(0.0, |(rate, at)| rate * (-(now - at) / MEMORY).exp())
    }
}

/// The sum of the times until all ends.
fn sum(ended: &[Job], now: f64) -> f64 {
    ended.iter().map(|job| job.ended - now).sum()
}

/// What a task takes at least on a node.
fn alone(ask: &Ask, engine: &Engine, now: f64) -> f64 {
    let pace = engine.machine().pace(ask.model);
    let cached = engine.slots(ask.model).iter().map(|slot| slot.common(ask)).fold(0.0, f64::max);
    let load = match engine.loading() {
        _ if engine.last_used(ask.model).is_some() => 0.0,
        Some((model, end)) if model == ask.model => (end - now).max(0.0),
        _ => pace.load,
    };
    load + (ask.prompt - cached) / pace.prompt + OVERHEAD + ask.answer / pace.decode
}
