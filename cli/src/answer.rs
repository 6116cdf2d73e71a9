//! An answer of the mesh, as it comes: for `ask` and `chat`.

mod facts;
mod play;
mod screen;
mod stream;
mod waiting;
mod wish;

pub use play::{Outcome, Played, play};
pub use screen::{Screen, Thoughts};
pub use waiting::Waiting;
pub use wish::Wish;
