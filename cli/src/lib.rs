//! `echo-mesh`, the program: its commands, each of which is a module, and what they share.
//!
//! The parts of the mesh are libraries, and each runs in a process of its own: `up` starts this same program once for each.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod args;
mod ask;
mod chat;
mod check;
mod completions;
mod config;
mod doctor;
mod down;
mod edge;
mod invite;
mod join;
mod known;
mod logs;
mod models;
mod order;
mod place;
mod say;
mod service;
mod status;
mod top;
mod up;

pub use args::main;
