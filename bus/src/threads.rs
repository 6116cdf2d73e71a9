//! How many threads a part works with.

use std::io;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};

/// To hand a token from one thread to another costs a third more than to serve it, so a part has one thread of its own
/// for so many cores of the machine, and engines have the others.
const CORES_FOR_ONE: usize = 4;

/// A number of threads, 1 to 256; `auto` is what the machine is large enough for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threads(NonZeroU16);

/// A text that is no number of threads.
#[derive(Debug, thiserror::Error)]
#[error("threads are a number from 1 to 256, or `auto`")]
pub struct NoThreads;

impl Threads {
    /// What a machine with so many cores is large enough for.
    pub fn for_cores(cores: usize) -> Self {
        let threads = (cores / CORES_FOR_ONE).clamp(1, 16);
        Self(u16::try_from(threads).ok().and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MIN))
    }

    pub fn get(self) -> u16 {
        self.0.get()
    }

    /// A runtime with them.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn runtime(self) -> io::Result<Runtime> {
        let mut builder = match self.get() {
            1 => Builder::new_current_thread(),
            _ => Builder::new_multi_thread(),
        };
        builder.worker_threads(self.get().into()).enable_all().build()
    }
}

impl FromStr for Threads {
    type Err = NoThreads;
    fn from_str(text: &str) -> Result<Self, NoThreads> {
        if text == "auto" {
            return Ok(Self::for_cores(available_parallelism().map_or(1, usize::from)));
        }
        let threads = text.parse().ok().filter(|threads: &NonZeroU16| threads.get() <= 256);
        threads.map(Self).ok_or(NoThreads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_leaves_most_of_the_machine_to_others() {
        let threads = [1, 2, 4, 7, 8, 64, 1_000].map(|cores| Threads::for_cores(cores).get());
        assert_eq!(threads, [1, 1, 1, 1, 2, 16, 16]);
    }

    #[test]
    fn threads_are_read_within_their_bounds() {
        assert_eq!("256".parse::<Threads>().unwrap().get(), 256);
        assert!("auto".parse::<Threads>().unwrap().get() >= 1);
        for bad in ["0", "257", "-1", "x", "", "1.5", "99999999999"] {
            assert!(bad.parse::<Threads>().is_err(), "{bad}");
        }
    }
}
