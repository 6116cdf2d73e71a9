//! Why nobody can serve a task: the refusal that says so.

use echo_bus::message::{Capability, Code, Failure};

use super::eligible::{candidates, managed, suits};
use super::words::model_words;
use crate::facts::Abilities;
use crate::need::{Line, Need};
use crate::node::Node;
use crate::registry::Registry;

/// Whether anybody in the mesh could serve this at all, be it later.
///
/// # Errors
/// With the refusal that says why not.
pub fn judge(registry: &Registry, need: &Need) -> Result<(), Failure> {
    if registry.is_empty() {
        let advice =
            "no node is in the mesh: run `echo-mesh join` or `echo-mesh agent` on a machine with an engine";
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
        let advice = "the operators of these nodes do not let the mesh pull or delete models (--allow-model-management)";
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
