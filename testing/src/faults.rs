//! Every fault about which users are promised something, made on real processes, as often as asked for; what clients saw is
//! judged, measured and put into a table. The promise stands in the row itself.

mod chaos;
mod figures;
mod fixture;
mod judge;
mod load;
mod machine;
mod order;
mod play;
mod row;
mod rows;
mod setting;
mod soak;
mod table;
mod tally;

pub use machine::machine;
pub use play::{Plan, play};
pub use table::{Outcome, json, markdown};
