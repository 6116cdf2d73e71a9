//! From the body of an engine's answer to steps: read, cut into lines, translated one by one.

use std::collections::VecDeque;
use std::time::Duration;

use echo_bus::message::{Code, Done, Failure};
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};

use super::contract::Step;
use super::http;
use super::lines::Lines;
use super::way::Body;

/// The longest line of an engine, in bytes: Ollama's last one may hold the context of a long conversation.
const LONGEST_LINE: usize = 8 << 20;

/// How long the end of a body that has said all may take, for the connection to be used again.
const FAREWELL: Duration = Duration::from_millis(200);

/// What an engine does about one request, until its one end.
pub type Steps = BoxStream<'static, Result<Step, Failure>>;

/// A request of a newer version.
pub fn unknown_request() -> Failure {
    Failure::elsewhere(Code::NotCapable, "this node's agent is too old for this kind of request")
}

/// A stream of one step.
pub fn only(done: Done) -> Steps {
    futures::stream::iter([Ok(Step::Done(Box::new(done)))]).boxed()
}

/// A dialect's reading of a stream, line by line. Plain data: no I/O.
pub trait Translate: Send {
    /// Takes a line; what it means is added to `steps`.
    ///
    /// # Errors
    /// When the engine reports an error or the line cannot be read.
    fn line(&mut self, line: &[u8], steps: &mut VecDeque<Step>) -> Result<(), Failure>;

    /// The body has ended without a `Done` so far.
    ///
    /// # Errors
    /// When that is no proper end.
    fn end(&mut self, steps: &mut VecDeque<Step>) -> Result<(), Failure>;
}

/// An answer that is no answer.
pub fn nonsense(what: &str) -> Failure {
    Failure::elsewhere(Code::EngineError, format!("the engine answered nonsense: {what}"))
}

/// The end of a stream that did not say that it was done.
pub fn unfinished() -> Failure {
    Failure::elsewhere(Code::EngineError, "the engine ended its stream without finishing")
}

struct Source<T> {
    /// What is left of the answer.
    body: Option<Body>,
    lines: Lines,
    translate: T,
    ready: VecDeque<Step>,
    over: bool,
}

/// The steps of an answer. Ends after `Done` or the first error; dropping it closes the connection.
pub fn steps<T: Translate + 'static>(
    body: Body,
    translate: T,
) -> impl Stream<Item = Result<Step, Failure>> + Send {
    let lines = Lines::new(LONGEST_LINE);
    let body = Some(body);
    // In a box, since each step moves it.
    let source = Box::new(Source { body, lines, translate, ready: VecDeque::new(), over: false });
    futures::stream::unfold(source, |mut source| async move {
        if source.over {
            return None;
        }
        let step = source.next().await;
        source.over = !matches!(step, Ok(Step::Alive | Step::Piece(_)));
        if matches!(step, Ok(Step::Done(_))) {
            source.say_goodbye();
        }
        Some((step, source))
    })
}

impl<T: Translate> Source<T> {
    async fn next(&mut self) -> Result<Step, Failure> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Ok(step);
            }
            if let Some(line) = self.lines.next().map_err(|_| nonsense("an endless line"))? {
                self.translate.line(&line, &mut self.ready)?;
                continue;
            }
            let Some(body) = &mut self.body else { return Err(unfinished()) };
            match body.next().await {
                Some(Ok(bytes)) => self.lines.push(bytes),
                None => self.ended()?,
                Some(Err(why)) => return Err(http::lost(&why)),
            }
        }
    }

    fn ended(&mut self) -> Result<(), Failure> {
        self.body = None;
        let rest = self.lines.rest();
        if !rest.is_empty() {
            self.translate.line(&rest, &mut self.ready)?;
        }
        let done = self.ready.iter().any(|step| matches!(step, Step::Done(_)));
        if done { Ok(()) } else { self.translate.end(&mut self.ready) }
    }

    /// Reads the end of the body, so that the connection can be used again. Mostly it is here already.
    fn say_goodbye(&mut self) {
        let Some(mut body) = self.body.take() else { return };
        loop {
            match body.next().now_or_never() {
                Some(Some(Ok(_))) => {}
                Some(_) => return,
                None => break,
            }
        }
        let rest = async move { while let Some(Ok(_)) = body.next().await {} };
        tokio::spawn(tokio::time::timeout(FAREWELL, rest));
    }
}

/// What a body means that comes in these packets, and why it is no answer if it is none.
#[cfg(test)]
pub fn of_packets<T: Translate + 'static>(
    packets: Vec<bytes::Bytes>,
    translate: T,
) -> (Vec<Step>, Option<Failure>) {
    let body = Some(Body::Parts(futures::stream::iter(packets.into_iter().map(Ok)).boxed()));
    let mut source =
        Source { body, lines: Lines::new(LONGEST_LINE), translate, ready: VecDeque::new(), over: false };
    let mut steps = Vec::new();
    loop {
        match futures::executor::block_on(source.next()) {
            Ok(step) => steps.push(step),
            Err(failure) => return (steps, Some(failure)),
        }
        if matches!(steps.last(), Some(Step::Done(_))) {
            return (steps, None);
        }
    }
}
