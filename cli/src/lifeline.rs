//! How parts end by themselves, and in order, when their supervisor has died without a word.
//!
//! Each rank of parts has a pipe, which its parts have as stdin. The supervisor holds the other end of each; and the parts
//! of one rank hold, as stdout, that of the next rank. So edges see the end of their pipe when the supervisor is gone,
//! agents when the edges are gone too, and the broker when nobody is left. Nothing is ever written.

use std::io::{self, PipeReader, PipeWriter};
use std::process::Stdio;

/// Ranks of parts, in the order in which they end.
pub const EDGE: usize = 0;
pub const AGENT: usize = 1;
pub const ORCHESTRATOR: usize = 2;
pub const BROKER: usize = 3;

#[derive(Debug)]
pub struct Lifelines([(PipeReader, PipeWriter); BROKER + 1]);

impl Lifelines {
    pub fn new() -> io::Result<Self> {
        Ok(Self([io::pipe()?, io::pipe()?, io::pipe()?, io::pipe()?]))
    }

    /// The stdin of a part.
    pub fn held_for(&self, rank: usize) -> io::Result<Stdio> {
        Ok(self.0[rank].0.try_clone()?.into())
    }

    /// Its stdout.
    pub fn held_by(&self, rank: usize) -> io::Result<Stdio> {
        match self.0.get(rank + 1) {
            Some((_, writer)) => Ok(writer.try_clone()?.into()),
            None => Ok(Stdio::null()),
        }
    }
}
