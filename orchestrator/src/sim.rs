//! A mesh of uneven engines on paper: how long tasks take under a policy, in simulated time. For development and
//! benchmarks only; no program that is shipped contains it.
//!
//! `engine` is what an engine does, `trace` who asks for what and when, `world` the loop that plays a trace. What is
//! measured is the real [`State`](crate::State), driven from outside by the events that it gets in a mesh (`product`,
//! `beat`, `text`), beside what a proxy in front of the engines does (`front`) and what could be done by somebody who
//! knew how long each answer becomes (`oracle`). Speeds, lengths and arrivals are made up within what people report.

pub mod beat;
pub mod counts;
pub mod digest;
pub mod engine;
pub mod front;
pub mod ids;
pub mod lack;
pub mod measure;
pub mod oracle;
pub mod parts;
pub mod product;
pub mod report;
pub mod rng;
pub mod text;
pub mod trace;
pub mod world;
