//! Liveness of an engine at work: signs of life, asked for once for all attempts that wait for the same model: many that wait are no reason to ask a
//! busy engine as many times.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};

use super::contract::{Engine, Sign};

type Question = BoxFuture<'static, Sign>;

/// The questions that are under way, by model. A question that nobody waits for any more is dropped.
#[derive(Default)]
pub struct Signs(Mutex<HashMap<String, Asked>>);

struct Asked {
    at: Instant,
    question: WeakShared<Question>,
}

impl Signs {
    /// Looks for a sign of life, or waits for the answer of one who asked the same after `since` and has none yet. An
    /// older question knows nothing of what has begun at that time.
    pub fn ask(&self, engine: &dyn Engine, model: &str, since: Instant) -> Shared<Question> {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(question) = asked.get(model).filter(|asked| asked.at >= since).and_then(Asked::open) {
            return question;
        }
        asked.retain(|_, asked| asked.open().is_some());
        let (at, question) = (Instant::now(), engine.sign(model.to_owned()).shared());
        asked.extend(question.downgrade().map(|question| (model.to_owned(), Asked { at, question })));
        question
    }
}

impl Asked {
    /// The question, if it has no answer yet and somebody waits for one.
    fn open(&self) -> Option<Shared<Question>> {
        self.question.upgrade().filter(|question| question.peek().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Down, Order, Probe, Step};
    use echo_bus::message::Failure;
    use futures::stream::BoxStream;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    /// Counts the questions and answers with their number, at the second look.
    #[derive(Default)]
    struct Counting(AtomicU32);

    impl Engine for Counting {
        fn probe(&self) -> BoxFuture<'_, Result<Probe, Down>> {
            unreachable!("nobody probes")
        }

        fn sign(&self, _: String) -> BoxFuture<'static, Sign> {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::task::yield_now().await;
                Sign::Works(number.into())
            }
            .boxed()
        }

        fn run(&self, _: Order) -> BoxStream<'static, Result<Step, Failure>> {
            unreachable!("nobody runs anything")
        }
    }

    #[tokio::test]
    async fn who_asks_while_another_waits_hears_the_same_answer_and_who_asks_later_a_new_one() {
        let (signs, engine, since) = (Signs::default(), Counting::default(), Instant::now());
        let ask = |model| signs.ask(&engine, model, since);
        assert_eq!(futures::join!(ask("m"), ask("m")), (Sign::Works(0), Sign::Works(0)));
        assert_eq!(ask("m").await, Sign::Works(1));
        assert_eq!(futures::join!(ask("m"), ask("n")), (Sign::Works(2), Sign::Works(3)));
    }

    #[tokio::test]
    async fn a_question_from_before_an_attempt_says_nothing_of_it() {
        let (signs, engine) = (Signs::default(), Counting::default());
        let before = signs.ask(&engine, "m", Instant::now());
        let after = signs.ask(&engine, "m", Instant::now() + Duration::from_secs(1));
        assert_eq!(futures::join!(before, after), (Sign::Works(0), Sign::Works(1)));
    }

    #[tokio::test]
    async fn a_question_dies_with_the_last_who_waits_for_it() {
        let (signs, engine) = (Signs::default(), Counting::default());
        let since = Instant::now();
        drop(signs.ask(&engine, "m", since));
        assert_eq!(signs.ask(&engine, "m", since).await, Sign::Works(1), "nobody polled the first");
    }
}
