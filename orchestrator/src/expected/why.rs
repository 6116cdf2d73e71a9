//! Why this node: what is expected of it, and what speaks against the next best ones.

use echo_bus::id::NodeId;
use echo_bus::message::{Other, Times, Why};

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

/// Why a task goes where it goes: all that the words are made of, which nobody waits for who places tasks.
#[derive(Debug)]
pub struct Reason {
    chosen: Known,
    /// The next best nodes, and how many there are beyond those.
    others: Vec<Known>,
    more: usize,
    /// Tokens of the task's prompt.
    prompt: f64,
    /// What was expected of its time in the queue, in milliseconds.
    wait: Option<u64>,
}

/// A node that was judged.
#[derive(Debug)]
struct Known {
    name: NodeId,
    verdict: Verdict,
    at: Option<Candidate>,
}

impl Step {
    /// Why the task goes there. `wait` is what was expected of its time in the queue, in milliseconds.
    pub fn reason<'a>(&self, task: &Waiting, name: impl Fn(Key) -> &'a NodeId, wait: Option<u64>) -> Reason {
        let known = |key: Key, verdict: Verdict| {
            let at = task.nodes().iter().find(|at| at.key == key).copied();
            Known { name: name(key).clone(), verdict, at }
        };
        Reason {
            chosen: known(self.key, self.verdict),
            others: self.instead_of.iter().map(|(key, verdict)| known(*key, *verdict)).collect(),
            more: self.more,
            prompt: task.ask.prompt.tokens,
            wait,
        }
    }
}

impl Reason {
    /// What is told with the task.
    pub fn why(&self) -> Why {
        let chosen = &self.chosen;
        let is_measured = chosen.verdict.parts.measured;
        let other = |it: &Known| {
            let told = is_measured || it.verdict.parts.measured;
            Other {
                node: it.name.clone(),
                expected_ms: told.then(|| millis(it.verdict.expected)),
                because: Against { prompt: self.prompt, it, chosen, told }.words(),
            }
        };
        Why {
            expected_ms: if is_measured { self.times() } else { Times::default() },
            instead_of: self.others.iter().map(other).collect(),
            ..Why::at(chosen.name.clone())
        }
    }

    fn times(&self) -> Times {
        let Verdict { parts, expected, .. } = &self.chosen.verdict;
        Times {
            wait: self.wait,
            load: Some(millis(parts.load)),
            prompt: Some(millis(parts.queue + parts.prompt)),
            answer: Some(millis(parts.answer)),
            whole: self.wait.map(|wait| wait.saturating_add(millis(*expected))),
        }
    }

    /// The short form of that.
    pub fn words(&self, why: &Why) -> String {
        let mut words = String::with_capacity(LONG);
        seconds(self.chosen.verdict.expected).write(&mut words);
        words += " expected";
        self.write_distance(&mut words);
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

    /// Whether it is at the site of the task's edge, and what is gained where it is not.
    fn write_distance(&self, words: &mut String) {
        let distance = |it: &Known| it.at.map(|at| at.distance);
        match distance(&self.chosen).unwrap_or_default() {
            Distance::Unknown => {}
            Distance::Near => {
                words.push(' ');
                *words += AT_THIS_SITE;
            }
            Distance::Far => {
                let near = self.others.iter().filter(|it| distance(it) == Some(Distance::Near));
                let gained = near.map(|it| it.verdict.expected - self.chosen.verdict.expected);
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
    /// Tokens of the task's prompt.
    prompt: f64,
    it: &'a Known,
    chosen: &'a Known,
    /// Something of this was measured: else no figure is told.
    told: bool,
}

type Words<'a> = fn(&Against<'a>) -> String;

impl<'a> Against<'a> {
    /// The part in which it is worst.
    fn words(&self) -> String {
        let (its, best) = (self.its(), self.best());
        let [first, rest @ ..]: [(f64, Words<'a>); 10] = [
            (its.wait - best.wait, Self::wait),
            (its.load - best.load, Self::load),
            (its.queue - best.queue, |it| it.figure("another prompt first", ": ", it.its().queue)),
            (its.prompt - best.prompt, Self::prompt),
            (its.answer - best.answer, Self::answer),
            (its.others - best.others, |it| it.figure("makes others slower", ": ", it.its().others)),
            (its.evicted - best.evicted, |it| it.figure("throws out a model in use", ": ", it.its().evicted)),
            (its.lost - best.lost, |it| it.figure("loses somebody's cached prompt", ": ", it.its().lost)),
            (its.away - best.away, |_| "at another site".to_owned()),
            (its.trial - best.trial, |_| "not known to do what the task needs".to_owned()),
        ];
        let worst = rest.into_iter().fold(first, |worst, it| if it.0 > worst.0 { it } else { worst });
        if worst.0 < SAME { self.as_good() } else { worst.1(self) }
    }

    fn its(&self) -> &Parts {
        &self.it.verdict.parts
    }

    fn best(&self) -> &Parts {
        &self.chosen.verdict.parts
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
        seconds(self.its().wait).write(&mut text);
        text + " for a slot"
    }

    fn load(&self) -> String {
        match self.it.at.map(|at| at.fit) {
            Some(Fit::Cold) => {
                let text = self.figure("cold", ": ", self.its().load);
                if self.told { text + " to load" } else { text }
            }
            Some(Fit::Otherwise) => self.figure("loaded with other options, anew in", " ", self.its().load),
            Some(Fit::AsNeeded) | None => self.figure("not loaded yet", ": ", self.its().load),
        }
    }

    fn prompt(&self) -> String {
        let (its, best) = (self.its(), self.best());
        if its.cached + FEW < best.cached {
            let [cached, all, here] = [its.cached, self.prompt, best.cached].map(thousands);
            return format!("{cached} of {all} prompt tokens cached, {} has {here}", self.chosen.name);
        }
        let speed = (self.prompt - its.cached).max(1.0) / (its.prompt - OVERHEAD).max(1e-9);
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
        let its = self.its();
        if !its.measured {
            return "not measured yet".to_owned();
        }
        let mut text = String::with_capacity(SHORT);
        digits(whole(its.tokens / its.answer.max(1e-9)), &mut text);
        text += " tokens/s";
        if its.at_once > 1 {
            text += " with ";
            digits(its.at_once as u64, &mut text);
            text += " at once";
        }
        text
    }

    /// What decided between equals.
    fn as_good(&self) -> String {
        match self.it.at.zip(self.chosen.at) {
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
