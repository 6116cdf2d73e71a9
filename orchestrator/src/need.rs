//! What a task asks of a node, read once when it comes in.

use echo_bus::id::NodeId;
use echo_bus::message::{Code, Failure, LoadKey, LoadOptions, Request};
use echo_bus::model_name::ModelName;

use crate::distance::Site;
use crate::facts::Abilities;

/// The longest name of a model, in bytes.
const LONGEST_NAME: usize = 256;

/// What a task asks of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    pub line: Line,
    /// The model as the client spelled it.
    pub spelled: Option<String>,
    /// What the model must be able to do.
    pub abilities: Abilities,
    /// How the model is to be loaded, in words and for comparing; `None` if this loads nothing.
    pub load_options: LoadOptions,
    pub load: Option<LoadKey>,
    /// It loads its model and asks nothing: there is no answer to wait for.
    pub is_load: bool,
    /// It takes no slot: it is about a model and generates nothing.
    pub aside: bool,
    /// The node's operator must allow pulls and deletes.
    pub managed: bool,
    /// Only these, if there are any.
    pub nodes: Vec<NodeId>,
    /// Where its edge stands.
    pub site: Site,
}

/// What tasks wait for together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// The default model, while nobody knows which that is.
    Default,
    /// A node that has this model.
    Model(ModelName),
    /// A node that may fetch a model.
    Pull,
}

impl Need {
    /// What this request needs, wherever it comes from.
    ///
    /// # Errors
    /// With the refusal of a request that nobody could serve.
    pub fn of(request: &Request) -> Result<Self, Failure> {
        let spelled = request.model().map(str::trim).filter(|name| !name.is_empty());
        if spelled.is_some_and(|name| name.len() > LONGEST_NAME) {
            return Err(bad(format!("the model's name has more than {LONGEST_NAME} bytes")));
        }
        let model = spelled.map(ModelName::of);
        let (line, managed, named) = match request {
            Request::Unknown => {
                return Err(bad("this kind of request is not known here: the mesh needs an update"));
            }
            Request::Generate(_) | Request::Chat(_) | Request::Count(_) => {
                (model.map_or(Line::Default, Line::Model), false, None)
            }
            Request::Embed(_) => (model.map(Line::Model).ok_or_else(unnamed)?, false, None),
            Request::Show(named) | Request::Unload(named) => {
                (model.map(Line::Model).ok_or_else(unnamed)?, false, Some(named))
            }
            Request::Delete(named) => (model.map(Line::Model).ok_or_else(unnamed)?, true, Some(named)),
            Request::Pull(named) => (model.map(|_| Line::Pull).ok_or_else(unnamed)?, true, Some(named)),
        };
        let load_options = request.load_options();
        Ok(Self {
            line,
            spelled: spelled.map(str::to_owned),
            abilities: Abilities::of(&request.needs()),
            load: load_options.as_ref().map(LoadOptions::key),
            load_options: load_options.unwrap_or_default(),
            is_load: request.is_load(),
            aside: named.is_some() || matches!(request, Request::Count(_)),
            managed,
            nodes: named.map(|named| named.nodes.clone()).unwrap_or_default(),
            site: Site::default(),
        })
    }

    /// The model to be found on the node; a model to be pulled is not there yet.
    pub fn model(&self) -> Option<&ModelName> {
        match &self.line {
            Line::Model(name) => Some(name),
            Line::Default | Line::Pull => None,
        }
    }
}

fn unnamed() -> Failure {
    bad("this request needs a model: name it in `model`")
}

fn bad(message: impl Into<String>) -> Failure {
    Failure::give_up(Code::BadRequest, message)
}

/// Puts the model into a request as the node names it.
pub fn name_model(request: &mut Request, name: &str) {
    let model = match request {
        Request::Generate(it) => &mut it.model,
        Request::Chat(it) | Request::Count(it) => &mut it.model,
        Request::Embed(it) => &mut it.model,
        Request::Show(it) | Request::Pull(it) | Request::Delete(it) | Request::Unload(it) => {
            return name.clone_into(&mut it.model);
        }
        Request::Unknown => return,
    };
    if model.as_deref() != Some(name) {
        *model = Some(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn need(request: serde_json::Value) -> Result<Need, Failure> {
        Need::of(&serde_json::from_value(request).unwrap())
    }

    #[test]
    fn an_embedding_needs_a_named_model() {
        assert_eq!(need(json!({"kind": "embed", "input": ["x"]})).unwrap_err().code, Code::BadRequest);
        let need = need(json!({"kind": "embed", "input": ["x"], "model": "nomic"})).unwrap();
        assert_eq!(need.model(), Some(&ModelName::of("nomic:latest")));
    }

    #[test]
    fn a_pull_needs_no_node_that_has_the_model() {
        let need = need(json!({"kind": "pull", "model": "x", "nodes": ["node-b"]})).unwrap();
        assert_eq!((&need.line, need.managed, need.aside), (&Line::Pull, true, true));
        assert_eq!(need.nodes[0].as_str(), "node-b");
    }

    #[test]
    fn an_unload_waits_for_no_slot_and_needs_no_operators_word() {
        let need = need(json!({"kind": "unload", "model": "x", "nodes": ["node-b"]})).unwrap();
        assert!(need.aside && !need.managed && need.abilities == Abilities::default());
        assert_eq!((need.model(), need.nodes.len()), (Some(&ModelName::of("x:latest")), 1));
    }

    #[test]
    fn hostile_requests_are_refused() {
        let long = "x".repeat(1_000);
        for bad in [
            json!({"kind": "levitate"}),
            json!({"kind": "generate", "model": long}),
            json!({"kind": "show", "model": " "}),
        ] {
            assert_eq!(need(bad.clone()).unwrap_err().code, Code::BadRequest, "{bad}");
        }
    }
}
