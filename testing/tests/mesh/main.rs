//! The promises of the mesh, kept on real processes: a real broker, the real programs, engines by script.

mod api;
mod cli;
mod cluster;
mod count;
mod doors;
mod engine;
mod exposition;
mod facts;
mod faults;
mod lan;
mod life;
mod load;
mod memory;
mod metrics;
mod otlp;
mod real;
mod refusals;
mod rejoin;
mod schedule;
mod slow;
mod start;
mod traces;
mod warm;
mod watch;
mod why;
