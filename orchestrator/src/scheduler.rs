//! The choice among nodes, and the words for it.

use echo_bus::message::{Capability, Code, Excluded, Failure, NodeStatus, Relayed};
use echo_bus::model_name::ModelName;

use crate::expected::Candidate;
use crate::facts::{Abilities, Facts};
use crate::need::{Line, Need};
use crate::node::{Hold, Node};
use crate::registry::{Key, Registry, Seen, Serving};

/// Nodes that an outage names with their reasons.
const NAMED_REASONS: usize = 4;

/// Nodes that a task does not go to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bars<'a> {
    /// They lost or failed the task before; again allowed when relieved and nobody else is left.
    pub excluded: &'a [Excluded],
    /// They refused this attempt for good.
    pub skipped: &'a [Excluded],
    /// The task has waited for others for long enough.
    pub relieved: bool,
}

/// A node, and why it.
#[derive(Debug)]
pub struct Choice {
    pub key: Key,
    pub words: String,
    /// The same in figures, if it was chosen by what is expected of it.
    pub why: Option<Relayed>,
    pub fit: Fit,
}

/// What a node has in memory of the model that a task needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// As the task needs it, or on its way there.
    AsNeeded,
    Cold,
    /// With other load-time options: the engine would throw it out and load it anew, for this task and for the next one
    /// that needs it as it is now.
    Otherwise,
}

impl Fit {
    pub fn of(facts: Option<Facts>, need: &Need) -> Self {
        let Some((facts, load)) = facts.zip(need.load) else { return Self::AsNeeded };
        match facts.loading {
            loading if loading.answers(load) => Self::AsNeeded,
            loading if loading.is_cold() => Self::Cold,
            _ => Self::Otherwise,
        }
    }
}

/// A free node that could take the task.
struct Offer<'a> {
    key: Key,
    node: &'a Node,
    seen: Option<Seen<'a>>,
    rank: Rank,
}

/// What speaks for a node, in the order of [`CRITERIA`]: the first number in which two nodes differ decides, and more
/// is better.
type Rank = [i64; CRITERIA.len()];

/// The best free node for this need, if there is one.
pub fn choose(registry: &Registry, need: &Need, bars: &Bars<'_>) -> Option<Choice> {
    let bars = bars.in_force(registry, need);
    let (mut having, mut free) = (0, 0);
    let (mut best, mut second): (Option<Offer<'_>>, Option<Offer<'_>>) = (None, None);
    for (key, node, model) in candidates(registry, need) {
        having += 1;
        if !is_ready(node, model, need) || bars.bar(node) || !suits(node, model, need) {
            continue;
        }
        free += 1;
        let offer = Offer { key, node, seen: model, rank: rank(node, model, need) };
        if best.as_ref().is_none_or(|best| offer.rank > best.rank) {
            second = best.replace(offer);
        } else if second.as_ref().is_none_or(|second| offer.rank > second.rank) {
            second = Some(offer);
        }
    }
    let best = best?;
    let fit = Fit::of(best.seen.map(|seen| seen.facts), need);
    let (key, counted) = (best.key, Counted { having, free });
    Some(Choice { key, words: words(&best, second.as_ref(), counted, need), why: None, fit })
}

/// What speaks for a free node that was chosen by what is expected of it, where nothing of that was measured.
pub fn unmeasured(registry: &Registry, need: &Need, bars: &Bars<'_>, key: Key) -> String {
    let bars = bars.in_force(registry, need);
    let mut counted = Counted::default();
    let (mut chosen, mut second): (Option<Offer<'_>>, Option<Offer<'_>>) = (None, None);
    for (at, node, seen) in candidates(registry, need) {
        counted.having += 1;
        if !is_ready(node, seen, need) || bars.bar(node) || !suits(node, seen, need) {
            continue;
        }
        counted.free += 1;
        let offer = Offer { key: at, node, seen, rank: rank(node, seen, need) };
        if at == key {
            chosen = Some(offer);
        } else if second.as_ref().is_none_or(|second| offer.rank > second.rank) {
            second = Some(offer);
        }
    }
    chosen.map_or_else(String::new, |chosen| words(&chosen, second.as_ref(), counted, need))
}

/// Nodes with the model, and those of them that could take the task now.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    having: usize,
    free: usize,
}

fn words(chosen: &Offer<'_>, second: Option<&Offer<'_>>, counted: Counted, need: &Need) -> String {
    let (what, Counted { having, free }) = (model_words(chosen.seen, need), counted);
    match second {
        None if having == 1 => format!("the only node {what}"),
        None => format!("the only free one of {having} nodes {what}"),
        Some(second) => {
            let why = deciding(&chosen.rank, &second.rank).words(chosen, need);
            format!("{why}, among {free} free of {having} nodes {what}")
        }
    }
}

/// The nodes that can take a task, be it once they have a free slot.
#[derive(Debug, Clone, Copy)]
pub struct Takers<'a> {
    nodes: Serving<'a>,
    need: &'a Need,
    bars: Bars<'a>,
}

impl<'a> Takers<'a> {
    /// Of these, which have the model.
    pub fn of(registry: &Registry, nodes: Serving<'a>, need: &'a Need, bars: &Bars<'a>) -> Self {
        Self { nodes, need, bars: bars.in_force(registry, need) }
    }

    pub fn iter(self) -> impl Iterator<Item = Candidate> + 'a {
        self.nodes.iter().filter_map(move |(key, node, seen)| self.taker(key, node, seen))
    }

    /// This node, if it is one of them.
    pub fn at(&self, key: Key) -> Option<Candidate> {
        let (node, seen) = self.nodes.at(key)?;
        self.taker(key, node, seen)
    }

    /// How many have the model.
    pub fn having(&self) -> usize {
        self.nodes.len()
    }

    #[inline]
    fn taker(&self, key: Key, node: &Node, seen: Seen<'_>) -> Option<Candidate> {
        let need = self.need;
        if !node.is_willing() || seen.facts.closed || self.bars.bar(node) || !suits(node, Some(seen), need) {
            return None;
        }
        Some(candidate(key, node, &seen.facts, need))
    }
}

fn candidate(key: Key, node: &Node, facts: &Facts, need: &Need) -> Candidate {
    Candidate {
        key,
        fit: Fit::of(Some(*facts), need),
        says: facts.says.include(need.abilities),
        is_heard: node.is_fit(),
        at_best: facts.at_best,
        used: node.used(),
        slots: node.slots(),
        last_used: node.last_used(),
        free_at: node.free_at(),
        estimate: 0.0,
    }
}

/// Whether this node can take the task now.
pub fn can_take(registry: &Registry, need: &Need, bars: &Bars<'_>, key: Key) -> bool {
    let node = registry.node(key);
    let model = match &need.line {
        Line::Default => return false,
        Line::Pull => None,
        Line::Model(name) => match registry.model_at(key, name) {
            None => return false,
            found => found,
        },
    };
    is_ready(node, model, need) && suits(node, model, need) && !bars.bars(registry, need, node)
}

/// Whether anybody in the mesh could serve this at all, be it later.
///
/// # Errors
/// With the refusal that says why not.
pub fn judge(registry: &Registry, need: &Need) -> Result<(), Failure> {
    if registry.is_empty() {
        let advice = "no node is in the mesh: start echo-agent on a machine with an engine";
        return Err(Failure::give_up(Code::NoNode, advice));
    }
    if candidates(registry, need).any(|(_, node, model)| suits(node, model, need)) {
        return Ok(());
    }
    let having: Vec<_> = candidates(registry, need).collect();
    if having.is_empty() && need.line != Line::Pull {
        return Err(not_served(registry, need));
    }
    let wanted = |node: &Node| need.nodes.is_empty() || need.nodes.contains(node.id());
    if !having.iter().any(|(_, node, _)| wanted(node)) {
        return Err(Failure::give_up(Code::NoNode, "none of the nodes that the request names can be asked"));
    }
    if !having.iter().any(|(_, node, _)| wanted(node) && managed(node, need)) {
        let advice = "the operators of these nodes do not allow pulls and deletes";
        return Err(Failure::give_up(Code::NotAllowed, advice));
    }
    let somebody_can = |what| {
        let what = Abilities::of([what]);
        having.iter().any(|(_, _, seen)| seen.is_some_and(|seen| seen.facts.may.include(what)))
    };
    let mut missing: Vec<_> = need.abilities.iter().filter(|what| !somebody_can(*what)).collect();
    if missing.is_empty() {
        missing = need.abilities.iter().collect();
    }
    let missing: Vec<&str> = missing.into_iter().map(Capability::as_str).collect();
    let (what, missing) = (model_words(having[0].2, need), missing.join(" and "));
    Err(Failure::give_up(Code::NotCapable, format!("no node {what} can do what the task needs: {missing}")))
}

/// Nodes refused this attempt for good, and nobody else could take it.
pub fn all_skipped(registry: &Registry, need: &Need, bars: &Bars<'_>) -> bool {
    !bars.skipped.is_empty()
        && candidates(registry, need).all(|(_, node, model)| bars.skips(node) || !suits(node, model, need))
}

/// Whether somebody works who is not barred, be it with all slots taken.
pub fn somebody_works(registry: &Registry, need: &Need, bars: &Bars<'_>) -> bool {
    candidates(registry, need).any(|(_, node, model)| {
        // One that has just refused, or was not heard of since the broker came back, will be asked in a moment.
        let works = node.is_willing() && (need.aside || is_open(model));
        works && !bars.bar(node) && suits(node, model, need)
    })
}

/// None of the nodes with a model takes a task for it.
#[derive(Debug, PartialEq, Eq)]
pub struct Outage {
    pub why: String,
    /// One of them is about to know better, which may take a load.
    pub is_passing: bool,
}

/// Why none of the nodes with this model takes a task for it; `None` if one does, or if there are none.
pub fn outage(registry: &Registry, name: &ModelName) -> Option<Outage> {
    let (mut reasons, mut is_passing) = (Vec::new(), false);
    for (_, node, seen) in registry.serving(name) {
        if node.is_fit() && !seen.facts.closed {
            return None;
        }
        is_passing |= seen.model().tried && node.beat().status != NodeStatus::Draining;
        reasons.push(format!("{}: {}", node.id(), why_not(node, seen)));
    }
    let more = reasons.len().saturating_sub(NAMED_REASONS);
    reasons.truncate(NAMED_REASONS);
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    (!reasons.is_empty()).then(|| Outage { why: reasons.join("; "), is_passing })
}

fn why_not(node: &Node, seen: Seen<'_>) -> String {
    match (node.hold(), node.beat().status) {
        (_, NodeStatus::Draining) => "finishes what it has and takes nothing new".to_owned(),
        (_, NodeStatus::Unavailable) => node.beat().reason.clone(),
        (Some(Hold::Unheard), _) => "was not heard of since the broker came back".to_owned(),
        (Some(Hold::Suspect), _) => "its connection ended or it did not answer".to_owned(),
        _ if seen.facts.closed => seen.model().unavailable.clone(),
        _ => "has just refused a task".to_owned(),
    }
}

/// The refusal that names what is served instead.
pub fn not_served(registry: &Registry, need: &Need) -> Failure {
    let served = registry.served();
    let mut message = match &need.spelled {
        Some(name) => format!("no node serves {name:?}"),
        None => "no node serves a model that generates".to_owned(),
    };
    match (served.as_slice(), &need.spelled) {
        ([], Some(name)) => message += &format!("; pull it on a node (ollama pull {name})"),
        ([], None) => message += "; pull one on a node (ollama pull mistral)",
        (served, name) => {
            message += &format!("; ask for one of these: {}", served[..served.len().min(10)].join(", "));
            if let Some(name) = name {
                message += &format!("; or pull it on a node (ollama pull {name})");
            }
        }
    }
    Failure { served, ..Failure::give_up(Code::ModelNotServed, message) }
}

/// The nodes that have what the need is about.
fn candidates<'a>(
    registry: &'a Registry,
    need: &'a Need,
) -> Box<dyn Iterator<Item = (Key, &'a Node, Option<Seen<'a>>)> + 'a> {
    match &need.line {
        Line::Model(name) => {
            Box::new(registry.serving(name).map(|(key, node, seen)| (key, node, Some(seen))))
        }
        Line::Pull => Box::new(registry.iter().map(|(key, node)| (key, node, None))),
        Line::Default => Box::new(std::iter::empty()),
    }
}

fn is_ready(node: &Node, seen: Option<Seen<'_>>, need: &Need) -> bool {
    if need.aside { node.is_fit() } else { node.is_free() && is_open(seen) }
}

/// The node takes tasks for this model.
fn is_open(seen: Option<Seen<'_>>) -> bool {
    seen.is_none_or(|seen| !seen.facts.closed)
}

/// It works, now or as soon as it has a free slot.
fn works(node: &Node, seen: Option<Seen<'_>>, need: &Need) -> bool {
    node.is_fit() && (need.aside || is_open(seen))
}

fn suits(node: &Node, seen: Option<Seen<'_>>, need: &Need) -> bool {
    managed(node, need)
        && (need.nodes.is_empty() || need.nodes.contains(node.id()))
        && seen.is_none_or(|seen| seen.facts.may.include(need.abilities))
}

fn managed(node: &Node, need: &Need) -> bool {
    !need.managed || node.beat().model_management
}

/// How a node has the model that is just right for this.
pub fn loaded_words(need: &Need, there: bool) -> String {
    match (need.load_options.is_empty(), there) {
        (true, true) => "has the model loaded".to_owned(),
        (true, false) => "is loading the model".to_owned(),
        (false, true) => format!("has it loaded with {}", need.load_options),
        (false, false) => format!("is loading it with {}", need.load_options),
    }
}

fn model_words(model: Option<Seen<'_>>, need: &Need) -> String {
    match model {
        Some(seen) => format!("with {}", seen.model().name),
        None => format!("that may pull {}", need.spelled.as_deref().unwrap_or_default()),
    }
}

impl Bars<'_> {
    fn bars(&self, registry: &Registry, need: &Need, node: &Node) -> bool {
        self.bar(node) && (self.skips(node) || self.in_force(registry, need).bar(node))
    }

    #[inline]
    fn bar(&self, node: &Node) -> bool {
        names(self.excluded, node) || self.skips(node)
    }

    fn skips(&self, node: &Node) -> bool {
        names(self.skipped, node)
    }

    /// Without the exclusions, if the task has waited long enough and nobody else works.
    fn in_force(&self, registry: &Registry, need: &Need) -> Self {
        let somebody = |(_, node, model): (Key, &Node, Option<Seen<'_>>)| {
            works(node, model, need) && !self.bar(node) && suits(node, model, need)
        };
        if self.excluded.is_empty() || !self.relieved || candidates(registry, need).any(somebody) {
            return *self;
        }
        Self { excluded: &[], ..*self }
    }
}

#[inline]
fn names(list: &[Excluded], node: &Node) -> bool {
    !list.is_empty() && list.iter().any(|it| it.boot == *node.boot() && it.node == *node.id())
}

/// What may decide between two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Criterion {
    SaysSo,
    Disk,
    Loaded,
    Busy,
    Speed,
    Memory,
    LastUsed,
}

/// In the order in which they decide.
const CRITERIA: [Criterion; 7] = [
    Criterion::SaysSo,
    Criterion::Disk,
    Criterion::Loaded,
    Criterion::Busy,
    Criterion::Speed,
    Criterion::Memory,
    Criterion::LastUsed,
];

fn rank(node: &Node, seen: Option<Seen<'_>>, need: &Need) -> Rank {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let facts = seen.map(|seen| seen.facts);
    CRITERIA.map(|criterion| match criterion {
        Criterion::SaysSo => facts.is_none_or(|facts| facts.says.include(need.abilities)).into(),
        Criterion::Disk if need.line == Line::Pull => number(node.beat().disk.free),
        Criterion::Disk => 0,
        Criterion::Loaded => loaded(node, facts, need),
        Criterion::Busy => -i64::from(node.busy()),
        Criterion::Speed => facts.map_or(0, |facts| facts.speed).into(),
        Criterion::Memory => node.memory().into(),
        Criterion::LastUsed => -number(node.last_used()),
    })
}

/// The less there is to load the better. Where the model is in memory with other options, an engine that answers has to
/// end that first.
fn loaded(node: &Node, facts: Option<Facts>, need: &Need) -> i64 {
    let there = facts.is_some_and(|facts| facts.loaded) && is_at_ease(node);
    match Fit::of(facts, need) {
        Fit::AsNeeded => 2 + i64::from(there),
        Fit::Cold => 2,
        Fit::Otherwise => (node.used() == 0).into(),
    }
}

/// At most half of its slots are in use. Beyond that a loaded model is no reason any more: those who share an engine
/// slow each other down, and another node that has to load it once would take nothing as long as this one has a slot.
fn is_at_ease(node: &Node) -> bool {
    node.used() <= node.slots() / 2
}

/// The first criterion in which it is better.
fn deciding(best: &Rank, second: &Rank) -> Criterion {
    let differs = best.iter().zip(second).position(|(a, b)| a > b);
    differs.map_or(Criterion::LastUsed, |index| CRITERIA[index])
}

impl Criterion {
    fn words(self, winner: &Offer<'_>, need: &Need) -> String {
        match self {
            Self::SaysSo => "known to do what the task needs".to_owned(),
            Self::Disk => "most free disk".to_owned(),
            Self::Loaded => match Fit::of(winner.seen.map(|seen| seen.facts), need) {
                Fit::AsNeeded => loaded_words(need, winner.seen.is_none_or(|seen| seen.facts.loaded)),
                Fit::Cold => "has nothing to unload for it".to_owned(),
                Fit::Otherwise => "the only idle one that has to load the model anew".to_owned(),
            },
            Self::Busy => format!("least busy ({} of {} slots)", winner.node.used(), winner.node.slots()),
            Self::Speed => match winner.seen.and_then(|seen| seen.model().tokens_per_second) {
                Some(speed) => format!("fastest ({speed:.0} tokens/s)"),
                None => "not measured yet".to_owned(),
            },
            Self::Memory => "most free memory".to_owned(),
            Self::LastUsed => "least recently used".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
