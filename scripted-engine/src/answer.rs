//! An answer on its way: the plan's pieces, poured and paced, and the fault that ends them early.

use std::{future::pending, io, ops::Range, sync::Arc};

use axum::{
    body::{Body, Bytes},
    http::StatusCode,
    response::Response,
};
use tokio::time::{Instant, sleep_until};

use super::{
    ask::{Refusal, Totals, Voice, Whole, json, reply},
    core::Core,
    counted::Run,
    line_template::{LineTemplate, escaped, numbered},
    plan::{Piece, Plan},
    script::FaultKind,
    seat::Seat,
    template::{WIDE, token},
    wire::Link,
};

/// What an engine says that is no answer.
const GARBAGE: &[u8] = b"{\"model\": \xff\xfe\x00 \"resp\x80\n";
const BROKEN: &str = "an error was encountered while running the model: scripted fault";

pub struct Answer {
    core: Arc<Core>,
    link: Link,
    run: Option<Run>,
    voice: Box<dyn Voice>,
    plan: Plan,
    totals: Totals,
    so_far: String,
    /// Its place in the engine's machine, if there is one, which decides what is made when.
    seat: Option<Seat>,
    /// Tokens that the machine has made, and whether it has made all.
    ready: (u64, bool),
    began: Instant,
    batch: u64,
    sent: u64,
    due: Instant,
    over: bool,
    /// The connection closes with the next write; nothing more is to be said on it.
    doomed: bool,
}

impl Answer {
    pub fn new(
        core: Arc<Core>,
        link: Link,
        run: Run,
        voice: Box<dyn Voice>,
        plan: Plan,
        totals: Totals,
        so_far: String,
    ) -> Self {
        let batch = core.script().batch.max(1) as u64;
        let (began, due) = (Instant::now(), Instant::now() + plan.delay);
        let run = Some(run);
        Self {
            core,
            link,
            run,
            voice,
            plan,
            totals,
            so_far,
            seat: None,
            ready: (0, false),
            began,
            batch,
            sent: 0,
            due,
            over: false,
            doomed: false,
        }
    }

    /// With its place in the engine's machine, if that has one.
    pub fn seated(mut self, seat: Option<Seat>) -> Self {
        self.seat = seat;
        self
    }

    /// The reply as it is made, a line for each chunk.
    pub fn stream(self) -> Response {
        let media = self.voice.media();
        let (text, thought) = (self.voice.line(false), self.voice.line(true));
        let stream =
            futures::stream::unfold((self, text, thought), |(mut answer, text, thought)| async move {
                let bytes = answer.next(&text, &thought).await?;
                Some((Ok::<_, io::Error>(bytes), (answer, text, thought)))
            });
        reply(StatusCode::OK, media, Body::from_stream(stream))
    }

    /// The next bytes: one chunk where the answer is paced, a batch of them where it is not.
    async fn next(&mut self, text: &LineTemplate, thought: &LineTemplate) -> Option<Bytes> {
        if self.doomed {
            pending::<()>().await;
        }
        if self.over {
            return None;
        }
        if self.sent > 0 && self.plan.delay.is_zero() {
            // Only a stream that has nothing more to say for now is flushed: without this, hyper would pour several
            // batches into one write.
            tokio::task::yield_now().await;
        }
        let mut out = if self.sent == 0 { self.voice.opening() } else { Vec::new() };
        let first = self.sent;
        let mut tokens = 0;
        while self.sent - first < self.batch {
            if let Some(kind) = self.fault_now() {
                if !out.is_empty() {
                    break;
                }
                return self.fail(kind, text, thought).await;
            }
            if !self.is_ready(tokens) {
                if self.sent > first {
                    break;
                }
                self.more(tokens).await;
            }
            let Some(piece) = self.plan.next() else {
                self.made(tokens);
                self.end(&mut out);
                return Some(out.into());
            };
            self.wait().await;
            tokens += self.plan.tokens(&piece);
            self.totals.called |= matches!(piece, Piece::Call(..) | Piece::Calls(_));
            self.pour(&piece, text, thought, &mut out);
            let made = Totals {
                tokens: self.totals.tokens + tokens,
                eval: self.began.elapsed(),
                ..self.totals.clone()
            };
            self.voice.count(&made, &mut out);
            self.sent += 1;
            if !self.plan.delay.is_zero() {
                break;
            }
        }
        self.made(tokens);
        Some(out.into())
    }

    /// The reply in one piece, when all of it is there.
    pub async fn whole(mut self) -> Response {
        let mut whole = Whole { so_far: std::mem::take(&mut self.so_far), ..Whole::default() };
        loop {
            if let Some(kind) = self.fault_now() {
                return self.fail_whole(kind).await;
            }
            if !self.is_ready(0) {
                self.more(0).await;
            }
            let Some(piece) = self.plan.next() else { break };
            self.wait().await;
            self.made(self.plan.tokens(&piece));
            self.totals.called |= matches!(piece, Piece::Call(..) | Piece::Calls(_));
            match piece {
                Piece::Thought(index) => whole.thoughts.push_str(&format!("h{index} ")),
                Piece::Text(range) => whole.text.push_str(&self.text(range)),
                Piece::Verbatim(text) => whole.text.push_str(&text),
                Piece::Call(_, call) => whole.called.push(call),
                Piece::Calls(calls) => whole.calls.extend(calls.as_array().cloned().unwrap_or_default()),
            }
            self.sent += 1;
        }
        let last = self.last();
        self.close_totals();
        whole.text.push_str(&last);
        json(StatusCode::OK, &self.voice.whole(&self.totals, &whole))
    }

    /// Whether the machine has made what comes next, beside so many tokens that were just taken.
    fn is_ready(&self, taken: u64) -> bool {
        let (made, over) = self.ready;
        let has_next = !self.plan.is_over() && made > self.totals.tokens + taken;
        self.seat.is_none() || over || has_next
    }

    /// Until it has: the end comes with the last token.
    async fn more(&mut self, taken: u64) {
        let than = if self.plan.is_over() { u64::MAX } else { self.totals.tokens + taken };
        if let Some(seat) = &mut self.seat {
            self.ready = seat.more(than).await;
        }
    }

    /// Until the next chunk's own moment, so that lateness does not add up.
    async fn wait(&mut self) {
        if self.sent > 0 && !self.plan.delay.is_zero() {
            sleep_until(self.due).await;
            self.due += self.plan.delay;
        }
    }

    fn pour(&self, piece: &Piece, text: &LineTemplate, thought: &LineTemplate, out: &mut Vec<u8>) {
        let mut word = Vec::with_capacity(16);
        match piece {
            Piece::Thought(index) => {
                numbered(b'h', *index, &mut word);
                thought.pour(&word, out);
            }
            Piece::Text(range) => {
                for index in range.clone() {
                    if self.plan.width > 1 {
                        word.extend_from_slice(WIDE.as_bytes());
                    }
                    numbered(b't', index, &mut word);
                }
                text.pour(&word, out);
            }
            Piece::Verbatim(said) => text.pour(escaped(said).as_bytes(), out),
            Piece::Call(number, call) => out.extend(self.voice.call(*number, call)),
            Piece::Calls(calls) => out.extend(self.voice.calls(calls)),
        }
    }

    /// The end's lines, and the slot given back before they leave.
    fn end(&mut self, out: &mut Vec<u8>) {
        let last = self.last();
        self.close_totals();
        out.extend(self.voice.end(&self.totals, &last));
        self.over = true;
    }

    fn last(&mut self) -> String {
        let range = self.plan.last.take().unwrap_or_default();
        self.made((range.end - range.start) * self.plan.width);
        self.text(range)
    }

    fn text(&self, range: Range<u64>) -> String {
        let wide = if self.plan.width > 1 { WIDE } else { "" };
        range.map(|index| format!("{wide}{}", token(index))).collect()
    }

    fn made(&mut self, tokens: u64) {
        self.totals.tokens += tokens;
        self.core.tally.made(tokens);
    }

    fn close_totals(&mut self) {
        self.totals.reason = self.plan.reason;
        self.totals.eval = self.seat.as_ref().map_or_else(|| self.began.elapsed(), |seat| seat.took().answer);
        if let Some(run) = self.run.take() {
            run.finish();
        }
    }

    fn fault_now(&self) -> Option<FaultKind> {
        self.plan.fault.filter(|(_, at)| *at == self.sent).map(|(kind, _)| kind)
    }

    fn words(&self) -> &str {
        self.plan.words.as_deref().unwrap_or(BROKEN)
    }

    fn failed(&mut self) {
        self.over = true;
        if let Some(run) = self.run.take() {
            run.fail();
        }
    }

    async fn fail(&mut self, kind: FaultKind, text: &LineTemplate, thought: &LineTemplate) -> Option<Bytes> {
        match kind {
            // Nobody is answered any more; the slot stays taken until the client closes.
            FaultKind::Stall => pending().await,
            FaultKind::Die => {
                self.failed();
                self.link.die_after_flush();
                pending().await
            }
            FaultKind::Cut => Some(self.cut(text, thought)),
            FaultKind::Garbage => {
                self.failed();
                Some(Bytes::from_static(GARBAGE))
            }
            FaultKind::End => {
                self.failed();
                None
            }
            FaultKind::Error | FaultKind::Busy | FaultKind::Fail | FaultKind::Missing => {
                self.failed();
                Some(self.voice.error(self.words()).into())
            }
        }
    }

    /// The next chunk without its last bytes, nor the end of the transfer chunk around it.
    fn cut(&mut self, text: &LineTemplate, thought: &LineTemplate) -> Bytes {
        self.failed();
        self.doomed = true;
        let mut out = Vec::new();
        match self.plan.next() {
            Some(piece) => self.pour(&piece, text, thought, &mut out),
            None => self.end(&mut out),
        }
        self.link.hold_back(out.len() / 2 + 2);
        out.into()
    }

    async fn fail_whole(mut self, kind: FaultKind) -> Response {
        if kind == FaultKind::Stall {
            pending::<()>().await;
        }
        self.failed();
        match kind {
            FaultKind::Die => {
                self.core.die();
                pending().await
            }
            FaultKind::Cut => {
                self.link.close();
                pending().await
            }
            FaultKind::Garbage => reply(StatusCode::OK, self.voice.media(), Bytes::from_static(GARBAGE)),
            FaultKind::End => reply(StatusCode::OK, self.voice.media(), Body::empty()),
            _ => self.voice.refuse(&Refusal::broken(self.words())),
        }
    }

    /// A fault in place of the very first byte: nothing has been said, so an error still has a status.
    pub async fn fail_first(self) -> Result<Self, Response> {
        match self.fault_now() {
            Some(kind) => Err(self.fail_whole(kind).await),
            None => Ok(self),
        }
    }
}
