//! Why this node: what is expected of it, and what speaks against the next best ones.

use echo_bus::id::NodeId;
use echo_bus::message::{Other, Times, Why};

use super::ask::Ask;
use super::assign::Step;
use super::bounds::within;
use super::candidate::Candidate;
use super::facts::OVERHEAD;
use super::verdict::{Parts, Verdict};
use super::waiting::Waiting;
use crate::distance::Distance;
use crate::fit::Fit;
use crate::registry::Key;

/// What speaks for a node that is near.
pub const AT_THIS_SITE: &str = "at this edge's site";
/// Other nodes that the short form names.
const NAMED: usize = 2;
/// The short form is seldom longer, and neither is what speaks against one node, in bytes.
const LONG: usize = 128;
const SHORT: usize = 48;
/// So few seconds, or tokens of a prompt, make no difference.
const SAME: f64 = 0.05;
const FEW: f64 = 64.0;

impl Step {
    /// What is told with the task. `wait` is what was expected of its time in the queue, in milliseconds.
    pub fn why<'a>(&self, task: &Waiting, name: impl Fn(Key) -> &'a NodeId, wait: Option<u64>) -> Why {
        let best = &self.verdict.parts;
        let here = task.nodes().iter().find(|at| at.key == self.key);
        let other = |(key, verdict): &(Key, Verdict)| {
            let told = best.measured || verdict.parts.measured;
            let there = task.nodes().iter().find(|at| at.key == *key);
            let against = Against {
                task: &task.ask,
                its: &verdict.parts,
                best,
                told,
                there,
                here,
                name: name(self.key),
            };
            Other {
                node: name(*key).clone(),
                expected_ms: told.then(|| millis(verdict.expected)),
                because: against.words(),
            }
        };
        Why {
            expected_ms: if best.measured { self.times(wait) } else { Times::default() },
            instead_of: self.instead_of.iter().map(other).collect(),
            ..Why::at(name(self.key).clone())
        }
    }

    fn times(&self, wait: Option<u64>) -> Times {
        let parts = &self.verdict.parts;
        Times {
            wait,
            load: Some(millis(parts.load)),
            prompt: Some(millis(parts.queue + parts.prompt)),
            answer: Some(millis(parts.answer)),
            whole: wait.map(|wait| wait.saturating_add(millis(self.verdict.expected))),
        }
    }

    /// The short form of that.
    pub fn words(&self, task: &Waiting, why: &Why) -> String {
        let mut words = String::with_capacity(LONG);
        seconds(self.verdict.expected).write(&mut words);
        words += " expected";
        self.write_distance(task, &mut words);
        for (number, other) in why.instead_of.iter().take(NAMED).enumerate() {
            words += if number == 0 { "; " } else { ", " };
            words += other.node.as_str();
            if let Some(ms) = other.expected_ms {
                words.push(' ');
                seconds(ms as f64 / 1e3).write(&mut words);
            }
            words += " (";
            words += &other.because;
            words.push(')');
        }
        let more = self.more + why.instead_of.len().saturating_sub(NAMED);
        if more > 0 {
            words += ", ";
            digits(more as u64, &mut words);
            words += " more";
        }
        words
    }
}

impl Step {
    /// Whether it is at the site of the task's edge, and what is gained where it is not.
    fn write_distance(&self, task: &Waiting, words: &mut String) {
        let distance = |key: Key| task.nodes().iter().find(|at| at.key == key).map(|at| at.distance);
        match distance(self.key).unwrap_or_default() {
            Distance::Unknown => {}
            Distance::Near => {
                words.push(' ');
                *words += AT_THIS_SITE;
            }
            Distance::Far => {
                let near = self.instead_of.iter().filter(|(key, _)| distance(*key) == Some(Distance::Near));
                let gained = near.map(|(_, verdict)| verdict.expected - self.verdict.expected);
                match gained.reduce(f64::min).filter(|gained| *gained >= SAME) {
                    Some(gained) => {
                        *words += ", ";
                        seconds(gained).write(words);
                        *words += " sooner than the nearest of this site";
                    }
                    None => *words += ", at another site",
                }
            }
        }
    }
}

/// Another node compared with the chosen one.
struct Against<'a> {
    task: &'a Ask,
    its: &'a Parts,
    best: &'a Parts,
    /// Something of this was measured: else no figure is told.
    told: bool,
    there: Option<&'a Candidate>,
    here: Option<&'a Candidate>,
    /// Of the chosen node.
    name: &'a NodeId,
}

type Words<'a> = fn(&Against<'a>) -> String;

impl<'a> Against<'a> {
    /// The part in which it is worst.
    fn words(&self) -> String {
        let (its, best) = (self.its, self.best);
        let [first, rest @ ..]: [(f64, Words<'a>); 10] = [
            (its.wait - best.wait, Self::wait),
            (its.load - best.load, Self::load),
            (its.queue - best.queue, |it| it.figure("another prompt first", ": ", it.its.queue)),
            (its.prompt - best.prompt, Self::prompt),
            (its.answer - best.answer, Self::answer),
            (its.others - best.others, |it| it.figure("makes others slower", ": ", it.its.others)),
            (its.evicted - best.evicted, |it| it.figure("throws out a model in use", ": ", it.its.evicted)),
            (its.lost - best.lost, |it| it.figure("loses somebody's cached prompt", ": ", it.its.lost)),
            (its.away - best.away, |_| "at another site".to_owned()),
            (its.trial - best.trial, |_| "not known to do what the task needs".to_owned()),
        ];
        let worst = rest.into_iter().fold(first, |worst, it| if it.0 > worst.0 { it } else { worst });
        if worst.0 < SAME { self.as_good() } else { worst.1(self) }
    }

    fn figure(&self, words: &str, between: &str, figure: f64) -> String {
        let mut text = String::with_capacity(SHORT);
        text += words;
        if self.told {
            text += between;
            seconds(figure).write(&mut text);
        }
        text
    }

    fn wait(&self) -> String {
        if !self.told {
            return "full".to_owned();
        }
        let mut text = String::with_capacity(SHORT);
        text += "waits ";
        seconds(self.its.wait).write(&mut text);
        text + " for a slot"
    }

    fn load(&self) -> String {
        match self.there.map(|at| at.fit) {
            Some(Fit::Cold) => {
                let text = self.figure("cold", ": ", self.its.load);
                if self.told { text + " to load" } else { text }
            }
            Some(Fit::Otherwise) => self.figure("loaded with other options, anew in", " ", self.its.load),
            Some(Fit::AsNeeded) | None => self.figure("not loaded yet", ": ", self.its.load),
        }
    }

    fn prompt(&self) -> String {
        let (its, best) = (self.its, self.best);
        if its.cached + FEW < best.cached {
            let [cached, all, here] = [its.cached, self.task.prompt.tokens, best.cached].map(thousands);
            return format!("{cached} of {all} prompt tokens cached, {} has {here}", self.name);
        }
        let speed = (self.task.prompt.tokens - its.cached).max(1.0) / (its.prompt - OVERHEAD).max(1e-9);
        match self.told {
            true => {
                let mut text = String::with_capacity(SHORT);
                seconds(its.prompt).write(&mut text);
                text += " for the prompt, at ";
                digits(whole(speed), &mut text);
                text + " tokens/s"
            }
            false => "slower with prompts".to_owned(),
        }
    }

    fn answer(&self) -> String {
        if !self.its.measured {
            return "not measured yet".to_owned();
        }
        let mut text = String::with_capacity(SHORT);
        digits(whole(self.its.tokens / self.its.answer.max(1e-9)), &mut text);
        text += " tokens/s";
        if self.its.at_once > 1 {
            text += " with ";
            digits(self.its.at_once as u64, &mut text);
            text += " at once";
        }
        text
    }

    /// What decided between equals.
    fn as_good(&self) -> String {
        match self.there.zip(self.here) {
            Some((there, here)) if there.used > here.used => {
                format!("as good, busier ({} of {} slots)", there.used, there.slots)
            }
            Some((there, here)) if there.last_used > here.last_used => "as good, used later".to_owned(),
            _ => "as good".to_owned(),
        }
    }
}

/// Milliseconds of any number of seconds.
pub fn millis(seconds: f64) -> u64 {
    (within(seconds, 0.0, 1e9) * 1e3).round() as u64
}

/// Seconds with their tenths, if there are few.
struct Seconds(u64);

fn seconds(seconds: f64) -> Seconds {
    Seconds((within(seconds, 0.0, 1e9) * 10.0).round() as u64)
}

impl Seconds {
    fn write(&self, text: &mut String) {
        match self.0 {
            tenths @ 0..1_000 => {
                digits(tenths / 10, text);
                text.push('.');
                digits(tenths % 10, text);
            }
            tenths => digits((tenths + 5) / 10, text),
        }
        *text += " s";
    }
}

/// Writes a number. Each placement writes some of them, and the standard library's formatting takes several times as long.
fn digits(number: u64, text: &mut String) {
    if number >= 10 {
        digits(number / 10, text);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}

fn whole(number: f64) -> u64 {
    within(number, 0.0, 1e18).round() as u64
}

/// A number as people write it.
fn thousands(number: f64) -> String {
    let digits = whole(number).to_string();
    let mut words = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            words.push(',');
        }
        words.push(digit);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_do() {
        let written = [0.4, 58.0, 999.6, 6_400.0, 1_234_567.0].map(thousands);
        assert_eq!(written, ["0", "58", "1,000", "6,400", "1,234,567"]);
        let written = [4.24, 120.4, f64::NAN].map(|it| {
            let mut text = String::new();
            seconds(it).write(&mut text);
            text
        });
        assert_eq!(written, ["4.2 s", "120 s", "0.0 s"]);
        assert_eq!([-1.0, f64::NAN, f64::INFINITY, 0.31].map(millis), [0, 0, 1_000_000_000_000, 310]);
    }
}
