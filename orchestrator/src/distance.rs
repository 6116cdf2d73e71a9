//! How far a node is from the edge of a task: sites have names, and nothing else is known of them.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use echo_bus::id::SiteName;

/// A site's name in eight bytes, since a look at many nodes compares all of them; 0 where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Site(u64);

/// What two names say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Distance {
    /// One of them is missing.
    #[default]
    Unknown,
    Near,
    Far,
}

impl Site {
    pub fn of(name: Option<&SiteName>) -> Self {
        let hash = |name: &SiteName| {
            let mut hasher = DefaultHasher::new();
            name.hash(&mut hasher);
            hasher.finish().max(1)
        };
        Self(name.map_or(0, hash))
    }

    #[inline]
    pub fn distance(self, other: Self) -> Distance {
        match (self, other) {
            (Self(0), _) | (_, Self(0)) => Distance::Unknown,
            (one, other) if one == other => Distance::Near,
            _ => Distance::Far,
        }
    }
}
