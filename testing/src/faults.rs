//! Every fault that DESIGN promises something about, made on real processes, as often as asked for; what clients saw is
//! judged, measured and put into a table.

mod chaos;
mod crowd;
mod figures;
mod judge;
mod machine;
mod order;
mod play;
mod row;
mod rows;
mod setting;
mod soak;
mod stage;
mod table;
mod tally;

pub use machine::machine;
pub use play::{Plan, play};
pub use table::{Outcome, json, markdown};
