//! The choice among nodes, and the words for it.

use std::cmp::Ordering;

use echo_broker::message::{Code, Excluded, Failure, Model};

use crate::need::{Line, Need};
use crate::node::Node;
use crate::registry::{Key, Registry};

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
}

/// A free node that could take the task, and what speaks for it.
struct Offer<'a> {
    key: Key,
    node: &'a Node,
    model: Option<&'a Model>,
    says_so: bool,
    pull: bool,
}

/// The best free node for this need, if there is one.
pub fn choose(registry: &Registry, need: &Need, bars: &Bars<'_>) -> Option<Choice> {
    let bars = bars.in_force(registry, need);
    let (mut having, mut free) = (0, 0);
    let (mut best, mut second): (Option<Offer<'_>>, Option<Offer<'_>>) = (None, None);
    for (key, node, model) in candidates(registry, need) {
        having += 1;
        if !is_ready(node, need) || bars.bar(node) || !suits(node, model, need) {
            continue;
        }
        free += 1;
        let offer = Offer::new(key, node, model, need);
        if best.as_ref().is_none_or(|best| offer.against(best).0 == Ordering::Greater) {
            second = best.replace(offer);
        } else if second.as_ref().is_none_or(|second| offer.against(second).0 == Ordering::Greater) {
            second = Some(offer);
        }
    }
    let best = best?;
    let what = model_words(best.model, need);
    let words = match &second {
        None if having == 1 => format!("the only node {what}"),
        None => format!("the only free one of {having} nodes {what}"),
        Some(second) => {
            format!("{}, among {free} free of {having} nodes {what}", best.against(second).1.words(&best))
        }
    };
    Some(Choice { key: best.key, words })
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
    is_ready(node, need) && suits(node, model, need) && !bars.bars(registry, need, node)
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
    if having.iter().any(|(_, node, model)| suits(node, *model, need)) {
        return Ok(());
    }
    let nobody_can = |what: &&&str| !having.iter().any(|(_, _, model)| model.is_some_and(|it| may(it, what)));
    let mut missing: Vec<&str> = need.capabilities.iter().filter(nobody_can).copied().collect();
    if missing.is_empty() {
        missing.clone_from(&need.capabilities);
    }
    let (what, missing) = (model_words(having[0].2, need), missing.join(" and "));
    Err(Failure::give_up(Code::NotCapable, format!("no node {what} can do what the task needs: {missing}")))
}

/// Nodes refused this attempt for good, and nobody else could take it.
pub fn all_skipped(registry: &Registry, need: &Need, bars: &Bars<'_>) -> bool {
    !bars.skipped.is_empty()
        && candidates(registry, need).all(|(_, node, model)| bars.skips(node) || !suits(node, model, need))
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
) -> Box<dyn Iterator<Item = (Key, &'a Node, Option<&'a Model>)> + 'a> {
    match &need.line {
        Line::Model(name) => {
            Box::new(registry.serving(name).map(|(key, node, model)| (key, node, Some(model))))
        }
        Line::Pull => Box::new(registry.iter().map(|(key, node)| (key, node, None))),
        Line::Default => Box::new(std::iter::empty()),
    }
}

fn is_ready(node: &Node, need: &Need) -> bool {
    if need.aside { node.is_fit() } else { node.is_free() }
}

fn suits(node: &Node, model: Option<&Model>, need: &Need) -> bool {
    managed(node, need)
        && (need.nodes.is_empty() || need.nodes.contains(node.id()))
        && model.is_none_or(|model| need.capabilities.iter().all(|what| may(model, what)))
}

fn managed(node: &Node, need: &Need) -> bool {
    !need.managed || node.beat().model_management
}

/// A list of capabilities is the truth. A model of which nothing is known may be tried: llama.cpp does not say what its
/// models can do, and refusing would cost more than asking.
fn may(model: &Model, what: &str) -> bool {
    model.capabilities.is_empty() || model.can(what)
}

fn model_words(model: Option<&Model>, need: &Need) -> String {
    match model {
        Some(model) => format!("with {}", model.name),
        None => format!("that may pull {}", need.spelled.as_deref().unwrap_or_default()),
    }
}

impl Bars<'_> {
    fn bars(&self, registry: &Registry, need: &Need, node: &Node) -> bool {
        self.bar(node) && (self.skips(node) || self.in_force(registry, need).bar(node))
    }

    fn bar(&self, node: &Node) -> bool {
        names(self.excluded, node) || self.skips(node)
    }

    fn skips(&self, node: &Node) -> bool {
        names(self.skipped, node)
    }

    /// Without the exclusions, if the task has waited long enough and nobody else works.
    fn in_force(&self, registry: &Registry, need: &Need) -> Self {
        let somebody = |(_, node, model): (Key, &Node, Option<&Model>)| {
            node.is_fit() && !self.bar(node) && suits(node, model, need)
        };
        if self.excluded.is_empty() || !self.relieved || candidates(registry, need).any(somebody) {
            return *self;
        }
        Self { excluded: &[], ..*self }
    }
}

fn names(list: &[Excluded], node: &Node) -> bool {
    list.iter().any(|it| it.boot == *node.boot() && it.node == *node.id())
}

/// What decided between two nodes.
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

impl Criterion {
    fn words(self, winner: &Offer<'_>) -> String {
        match self {
            Self::SaysSo => "known to do what the task needs".to_owned(),
            Self::Disk => "most free disk".to_owned(),
            Self::Loaded => "has the model loaded".to_owned(),
            Self::Busy => format!("least busy ({} of {} slots)", winner.node.used(), winner.node.slots()),
            Self::Speed => match winner.model.and_then(|model| model.tokens_per_second) {
                Some(speed) => format!("fastest ({speed:.0} tokens/s)"),
                None => "not measured yet".to_owned(),
            },
            Self::Memory => "most free memory".to_owned(),
            Self::LastUsed => "least recently used".to_owned(),
        }
    }
}

impl<'a> Offer<'a> {
    fn new(key: Key, node: &'a Node, model: Option<&'a Model>, need: &Need) -> Self {
        let says_so = model.is_none_or(|model| need.capabilities.iter().all(|what| model.can(what)));
        Self { key, node, model, says_so, pull: need.line == Line::Pull }
    }

    /// `Greater` is better. The first criterion in which two nodes differ decides.
    fn against(&self, other: &Self) -> (Ordering, Criterion) {
        use Criterion::{Busy, Disk, LastUsed, Loaded, Memory, SaysSo, Speed};
        let (a, b) = (self.node, other.node);
        let first = |what: Criterion| match what {
            SaysSo => self.says_so.cmp(&other.says_so),
            Disk if self.pull => a.beat().disk.free.cmp(&b.beat().disk.free),
            Disk => Ordering::Equal,
            Loaded => self.loaded().cmp(&other.loaded()),
            Busy => busier(b, a),
            Speed => self.speed().cmp(&other.speed()),
            Memory => step(a.beat().memory.free as f64).cmp(&step(b.beat().memory.free as f64)),
            LastUsed => b.last_used.cmp(&a.last_used),
        };
        for criterion in [SaysSo, Disk, Loaded, Busy, Speed, Memory] {
            let order = first(criterion);
            if order != Ordering::Equal {
                return (order, criterion);
            }
        }
        (first(LastUsed), LastUsed)
    }

    fn loaded(&self) -> bool {
        self.model.is_some_and(|model| model.loaded)
    }

    /// A node that was never measured goes first, so that it will be.
    fn speed(&self) -> i32 {
        self.model.and_then(|model| model.tokens_per_second).map_or(i32::MAX, step)
    }
}

fn busier(a: &Node, b: &Node) -> Ordering {
    (u64::from(a.used()) * u64::from(b.slots())).cmp(&(u64::from(b.used()) * u64::from(a.slots())))
}

/// Steps of about a tenth: what differs by less is as good, and the next criterion decides.
fn step(value: f64) -> i32 {
    if value > 0.0 { (value.ln() / 1.1_f64.ln()).round() as i32 } else { i32::MIN }
}

#[cfg(test)]
mod tests;
