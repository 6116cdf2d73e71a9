//! The workloads by letter.

use clap::ValueEnum;
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Overhead: 1 client, 64 tokens without delay.
    A,
    /// Streaming: 200 clients, 64 tokens every 20 ms.
    B,
    /// Saturation: 64 clients, 128 tokens without delay.
    C,
    /// Whole answers: 64 clients, 1 token, not streamed.
    D,
    /// Memory: idle, 1,000 and 10,000 open streams, all clients leave.
    E,
    /// Failover: 64 clients, 64 tokens every 10 ms, one engine killed and back.
    F,
    /// Growth of the mesh: nodes by heartbeats, tasks in flight, placement.
    G,
}

impl Workload {
    pub const ALL: [Self; 7] = [Self::A, Self::B, Self::C, Self::D, Self::E, Self::F, Self::G];
    /// Those that share one start of a system in each repetition.
    pub const SHORT: [Self; 4] = [Self::A, Self::B, Self::C, Self::D];

    pub fn letter(self) -> char {
        match self {
            Self::A => 'a',
            Self::B => 'b',
            Self::C => 'c',
            Self::D => 'd',
            Self::E => 'e',
            Self::F => 'f',
            Self::G => 'g',
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::A => "overhead: 1 client, 64 tokens, no delay",
            Self::B => "streaming: 200 clients (or --clients), 64 tokens every 20 ms",
            Self::C => "saturation: 64 clients, 128 tokens, no delay",
            Self::D => "whole answers: 64 clients, 1 token, not streamed",
            Self::E => "memory: idle, then 1,000 and 10,000 open streams, then all clients leave",
            Self::F => "failover: 64 clients, 64 tokens every 10 ms, one engine killed, then back",
            Self::G => "growth of the mesh",
        }
    }
}
