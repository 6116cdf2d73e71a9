//! Where a node is in the registry.

/// A node's place in the registry, for as long as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub(super) usize);

impl Key {
    /// Small, and no two nodes have the same at one time.
    pub fn index(self) -> usize {
        self.0
    }
}
