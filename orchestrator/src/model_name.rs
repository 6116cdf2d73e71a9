//! Names of models: `mistral` and `mistral:latest` are one model.

use std::fmt;

/// A model's name with its tag, however it was spelled.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelName(String);

impl ModelName {
    /// The model that this spelling means. A registry's port is no tag, so only the last part of a path is looked at.
    pub fn of(spelled: &str) -> Self {
        let last = spelled.rsplit('/').next().unwrap_or(spelled);
        if last.contains(':') { Self(spelled.to_owned()) } else { Self([spelled, ":latest"].concat()) }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistral_is_mistral_latest() {
        assert_eq!(ModelName::of("mistral"), ModelName::of("mistral:latest"));
        assert_ne!(ModelName::of("mistral"), ModelName::of("mistral:7b"));
    }

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!(ModelName::of("host:5000/me/m"), ModelName::of("host:5000/me/m:latest"));
    }
}
