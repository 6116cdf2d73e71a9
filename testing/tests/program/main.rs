//! `echo-mesh` as people use it: its commands, on real meshes and in real terminals.

#![allow(clippy::unwrap_used)]

mod client;
mod doctor;
mod hostile;
mod join;
mod order;
mod owner;
mod plan;
mod status;
mod terminal;
mod top;
mod up;
