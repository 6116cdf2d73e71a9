//! Many clients of every kind: they stream or wait, hang up early or late, and meet engines that fail.

use std::time::Duration;

use rand::{Rng, rngs::StdRng};
use tokio::time::timeout;

use super::{fixture::Fixture, judge::Verdict, order::Order};

/// What one client does with one task.
#[derive(Clone, Copy, Debug)]
enum Way {
    Stream,
    Whole,
    /// Hangs up when it has this many tokens, or after this many milliseconds without them.
    HangUp {
        tokens: usize,
        millis: u64,
    },
    /// The same where the answer comes in one piece.
    HangUpWhole {
        millis: u64,
    },
}

fn order(chance: &mut StdRng) -> Order {
    let tokens = chance.random_range(3..40);
    let order = Order::tokens(tokens).delay(chance.random_range(1..8));
    let at = chance.random_range(0..tokens);
    match chance.random_range(0..100) {
        0..3 => order.with(&format!("[fault=error@{at}]")),
        3..6 => order.with(&format!("[fault=end@{at}]")),
        6..8 => order.with(&format!("[fault=cut@{at}]")),
        8..10 => order.with(&format!("[fault=garbage@{at}]")),
        10 => order.with(&format!("[fault=stall@{at}]")),
        _ => order,
    }
}

fn way(chance: &mut StdRng) -> Way {
    match chance.random_range(0..100) {
        0..60 => Way::Stream,
        60..80 => Way::Whole,
        80..92 => Way::HangUp { tokens: chance.random_range(0..10), millis: chance.random_range(0..200) },
        _ => Way::HangUpWhole { millis: chance.random_range(0..100) },
    }
}

/// Asks, one task after the other, while `more` says so.
pub async fn client(fixture: &Fixture, mut chance: StdRng, more: impl Fn() -> bool) {
    while more() {
        let order = order(&mut chance);
        match way(&mut chance) {
            Way::Stream => drop(fixture.finish(fixture.ask(&order)).await),
            Way::Whole => drop(fixture.whole(&order).await),
            Way::HangUp { tokens, millis } => {
                let mut asked = fixture.ask(&order);
                let read = async {
                    while asked.stream.so_far().tokens().len() < tokens && asked.stream.next().await.is_some()
                    {
                    }
                };
                // Whether the tokens came or the patience ended: the client goes.
                let _ = timeout(Duration::from_millis(millis), read).await;
                fixture.hang_up(asked);
            }
            Way::HangUpWhole { millis } => {
                let number = fixture.number();
                let call = fixture.mesh.client().post("/task", &order.body(number));
                // Whatever the reply would have been, nobody is there to hear it.
                let _ = timeout(Duration::from_millis(millis), call.send()).await;
                fixture.left(number, &Verdict::Answered);
            }
        }
    }
}
