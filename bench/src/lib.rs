//! The benchmark: what the mesh costs, side by side with what people would use instead, over the same engines.

pub mod check;
pub mod client;
pub mod engines;
pub mod figure;
pub mod fleet;
pub mod form;
pub mod growth;
pub mod hold;
pub mod hostile;
pub mod load;
pub mod machine;
pub mod placement;
pub mod process;
pub mod report;
pub mod runner;
pub mod stats;
pub mod system;
pub mod workload;
