//! `echo-mesh` as people use it: its commands, on real meshes and in real terminals.

#![allow(clippy::unwrap_used)]

mod client;
mod doctor;
mod join;
mod owner;
mod plan;
mod up;
