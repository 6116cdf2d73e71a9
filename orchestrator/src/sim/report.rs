//! Traces under policies, side by side: means over seeds, as multiples of the best schedule that knows everything.

mod case;
mod clients;
mod errors;
mod figures;
mod markdown;
mod parts;
mod statistics;
mod table;
mod trouble;
mod who;

pub use case::{Case, play_all};
pub use clients::{Wait, Waits, clients};
pub use errors::Errors;
pub use figures::Figures;
pub use markdown::markdown;
pub use parts::{Parts, parts};
pub use table::{Question, Reference, Row, Sheet};
pub use trouble::{Thirds, trouble};
pub use who::{POLICIES, Who, oracles, oracles_of};
