//! `echo-mesh`, the program: its commands, each of which is a module, and what they share.
//!
//! The parts of the mesh are libraries, and each runs in a process of its own: `up` starts this same program once for each.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod args;
mod ask;
mod bus;
mod chat;
mod check;
mod clean;
mod completions;
mod config;
mod doctor;
mod down;
mod edge;
mod figure;
mod here;
mod invite;
mod join;
mod key;
mod keys;
mod known;
mod lifeline;
mod log_file;
mod logs;
mod machines;
mod models;
mod node;
mod order;
mod os;
mod patch;
mod permissions;
mod place;
mod process;
mod record;
mod say;
mod scratch;
mod screen;
mod service;
mod status;
mod supervise;
mod table;
mod top;
mod typed;
mod up;

pub use args::main;
