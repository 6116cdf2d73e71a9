//! A prompt as the mirror knows it: hashes of its beginning, coarse ones to be told and fine ones to compare here.

use std::sync::Arc;

use echo_bus::message::{Message, Prefix, Request, common};

/// Fine enough that what a turn adds is seen: an engine that does not say what it had cached is measured by this.
const FINE: usize = 64;
const MOST: usize = 2048;

/// Hashes, and no text. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Text(Arc<Both>);

#[derive(Debug, Default)]
struct Both {
    told: Prefix,
    fine: Vec<u64>,
}

impl Text {
    /// Of a request, and of its answer if there is one.
    pub fn of(request: &Request, answer: Option<&Message>) -> Self {
        let told = match answer {
            Some(answer) => Prefix::with_answer(request, answer),
            None => Prefix::of(request),
        };
        let fine = Prefix::cut(request, answer, FINE, MOST).blocks;
        Self(Arc::new(Both { told, fine }))
    }

    /// The length of the whole.
    pub fn bytes(&self) -> u64 {
        self.0.told.bytes
    }

    /// What is to be in common for all of it to be.
    pub fn whole(&self) -> u64 {
        if self.0.fine.len() == MOST { self.bytes() } else { (self.0.fine.len() * FINE) as u64 }
    }

    /// Bytes in common from the beginning on. Texts with all hashes in common are taken to be one up to the end of the
    /// shorter.
    pub fn common(&self, other: &Self) -> u64 {
        match common(&self.0.fine, &other.0.fine) {
            MOST => self.bytes().min(other.bytes()),
            blocks => (blocks * FINE) as u64,
        }
    }

    /// Its first bytes.
    pub fn first(&self, bytes: u64) -> Self {
        let up_to = |blocks: &[u64], size: u64| {
            let count = usize::try_from(bytes / size).unwrap_or(usize::MAX).min(blocks.len());
            blocks[..count].to_vec()
        };
        let told = &self.0.told;
        let size = echo_bus::message::BLOCK as u64;
        let blocks = up_to(&told.blocks, size);
        let session = if bytes > 0 { told.session } else { 0 };
        let told = Prefix { blocks, bytes: bytes.min(told.bytes), session };
        Self(Arc::new(Both { told, fine: up_to(&self.0.fine, FINE as u64) }))
    }

    pub fn blocks(&self) -> &[u64] {
        &self.0.told.blocks
    }

    pub fn session(&self) -> u64 {
        self.0.told.session
    }
}
