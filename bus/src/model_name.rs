//! Names of models: when two spellings mean one model.

use std::fmt;

/// The tag of a name that has none.
const TAG: &str = "latest";
/// What stands before the short name of a model of Ollama's own registry, and of its own library there.
const REGISTRY: &str = "registry.ollama.ai/";
const NAMESPACE: &str = "library/";

/// A model as the mesh compares it, however it was spelled: `mistral`, `mistral:latest`, `library/mistral` and
/// `registry.ollama.ai/library/mistral:latest` are one. Other registries and namespaces are part of the name, and so is
/// the case of its letters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelName(String);

impl ModelName {
    /// The model that this spelling means.
    pub fn of(spelled: &str) -> Self {
        let path = spelled.strip_prefix(REGISTRY).unwrap_or(spelled);
        let is_name = |text: &&str| !text.is_empty() && !text.starts_with(':') && !text.contains('/');
        let path = path.strip_prefix(NAMESPACE).filter(is_name).unwrap_or(path);
        // A registry's port is no tag, so only the last part of the path is looked at.
        let last = path.rsplit('/').next().unwrap_or(path);
        if last.contains(':') { Self(path.to_owned()) } else { Self([path, ":", TAG].concat()) }
    }

    /// With its tag, as short as it can be spelled.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<ModelName> for String {
    fn from(name: ModelName) -> Self {
        name.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_model_are_one_name() {
        for (spelled, name) in [
            ("mistral", "mistral:latest"),
            ("mistral:latest", "mistral:latest"),
            ("mistral:7b", "mistral:7b"),
            ("library/mistral", "mistral:latest"),
            ("registry.ollama.ai/library/mistral:7b", "mistral:7b"),
            ("registry.ollama.ai/me/m", "me/m:latest"),
            ("me/m", "me/m:latest"),
            ("library/a/b", "library/a/b:latest"),
            ("hf.co/a/b:Q4", "hf.co/a/b:Q4"),
        ] {
            assert_eq!(ModelName::of(spelled).as_str(), name, "{spelled}");
        }
    }

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!(ModelName::of("host:5000/me/m").as_str(), "host:5000/me/m:latest");
    }

    proptest! {
        #[test]
        fn a_name_means_itself(spelled in "(registry.ollama.ai/)?(library/){0,3}[a-z:/]{0,12}") {
            let name = ModelName::of(&spelled);
            prop_assert_eq!(ModelName::of(name.as_str()), name);
        }
    }
}
