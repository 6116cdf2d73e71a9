//! What is done to a valid input.

use crate::random::Random;
use crate::values::values;

/// The longest input, unless a seed is longer.
const LONGEST: usize = 256 << 10;

/// What parsers stumble over, as values.
const ODD: [&[u8]; 36] = [
    b"null",
    b"true",
    b"0",
    b"-0",
    b"-1",
    b"1e999",
    b"-1e308",
    b"1e-400",
    b"NaN",
    b"0.1",
    b"4294967295",
    b"4294967296",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"99999999999999999999999999",
    b"1.7976931348623157e308",
    b"[]",
    b"{}",
    b"[[]]",
    b"[null]",
    b"{\"\":null}",
    b"\"\"",
    b"\" \"",
    b"\"\\u0000\"",
    b"\"\\ud83d\"",
    b"\"\\ud83d\\ude00\"",
    b"\"\\uFFFE\"",
    "\"\u{202e}\u{feff}\"".as_bytes(),
    "\"e\u{301}\u{1f468}\u{200d}\u{1f469}\u{1f3fd}\"".as_bytes(),
    "\"\u{130}\u{df}\"".as_bytes(),
    b"\"*\"",
    b"\"a.>\"",
    b"\"../../etc/passwd\"",
];
/// Single bytes and pieces of syntax: of JSON, streams, addresses, configurations, and broken UTF-8.
const PIECES: [&[u8]; 40] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"\\",
    b"\\u",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"\0",
    b"\x1b[31m",
    b"\x7f",
    b" ",
    b"data: ",
    b"event: ",
    b"[DONE]",
    b"data: [DONE]\n\n",
    b".",
    b"..",
    b"*",
    b">",
    b"=",
    b"%",
    b"%00",
    b"/",
    b"//",
    b"@",
    b"#",
    b"-",
    b"\xff\xfe",
    b"\xf0\x9f\x98",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    "\u{2028}".as_bytes(),
    "\u{85}".as_bytes(),
    "\u{ff10}".as_bytes(),
    "<|im_end|>".as_bytes(),
];
const AROUND: [(&[u8], &[u8]); 4] = [(b"[", b"]"), (b"{\"a\":", b"}"), (b"\"", b"\""), (b"[0,", b"]")];

/// One of the seeds, changed in one to five ways.
pub fn spoil(random: &mut Random, seeds: &[&[u8]], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(random.one_of(seeds));
    for _ in 0..=random.below(random.clone().below(4) + 1) {
        once(random, seeds, out);
    }
    if random.below(256) == 0 {
        grow(random, out);
    }
}

fn once(random: &mut Random, seeds: &[&[u8]], out: &mut Vec<u8>) {
    let (at, range) = (random.below(out.len() + 1), short(random, out.len()));
    match random.below(20) {
        0 => {
            if let Some(byte) = out.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => insert(out, at..at, random.one_of(&PIECES)),
        2 => insert(out, at..at, random.one_of(&ODD)),
        3 => drop(out.drain(range)),
        4 => {
            let again = out[range].to_vec();
            insert(out, at..at, &again);
        }
        // Cut off, or only the end.
        5 if random.below(4) == 0 => out.truncate(at),
        5 if random.below(4) == 0 => drop(out.drain(..at)),
        6 => {
            let other = random.one_of(seeds);
            insert(out, range, &other[short(random, other.len())]);
        }
        _ => value(random, out),
    }
}

/// Changes a whole value, so that the rest is still understood.
fn value(random: &mut Random, out: &mut Vec<u8>) {
    let all = values(out);
    if all.is_empty() {
        return;
    }
    let (one, other) = (all[random.below(all.len())].clone(), all[random.below(all.len())].clone());
    let (old, new) = (out[one.clone()].to_vec(), out[other].to_vec());
    match random.below(8) {
        // Another type, or another number.
        0 | 1 => insert(out, one, random.one_of(&ODD)),
        2 | 3 => insert(out, one, &new),
        // A member or an item twice.
        4 => insert(out, one, &[&old[..], b",", &old].concat()),
        5 => insert(out, one, &[&old[..], b",", &new, b":", &old].concat()),
        6 => {
            let (before, after) = AROUND[random.below(AROUND.len())];
            let deep = [1, 2, 100, 127, 129, 1_000, 20_000][random.below(7)];
            insert(out, one, &[&before.repeat(deep)[..], &old, &after.repeat(deep)].concat());
        }
        // Inside of a text.
        _ => {
            let at = one.start + random.below(one.len());
            insert(out, at..at, random.one_of(&PIECES));
        }
    }
}

/// One part very often.
fn grow(random: &mut Random, out: &mut Vec<u8>) {
    let all = values(out);
    let part = match random.below(3) {
        0 if !all.is_empty() => all[random.below(all.len())].clone(),
        _ => short(random, out.len()),
    };
    let (end, mut part) = (part.end, out[part].to_vec());
    if random.below(2) == 0 {
        part.extend_from_slice(random.one_of(&PIECES));
    }
    let most = LONGEST.saturating_sub(out.len()) / part.len().max(1);
    let part = part.repeat(random.below(most + 1));
    insert(out, end..end, &part);
}

fn short(random: &mut Random, length: usize) -> std::ops::Range<usize> {
    let range = random.range(length);
    range.start..range.end.min(range.start + [1, 4, 64, usize::MAX / 2][random.below(4)])
}

fn insert(out: &mut Vec<u8>, range: std::ops::Range<usize>, what: &[u8]) {
    out.splice(range, what.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &[u8] = br#"{"a":[1,{"b":null}],"c":"text"}"#;

    #[test]
    fn the_same_numbers_make_the_same_inputs_and_others_make_others() {
        let made = |seed| {
            let (mut random, mut out) = (Random::new(seed), Vec::new());
            spoil(&mut random, &[SEED], &mut out);
            out
        };
        assert_eq!(made(7), made(7));
        let all: std::collections::HashSet<Vec<u8>> = (0..1_000).map(made).collect();
        assert!(all.len() > 900, "{} different inputs of 1000", all.len());
    }

    #[test]
    fn inputs_are_long_at_times_and_never_without_bound() {
        let (mut random, mut out) = (Random::new(1), Vec::new());
        let mut longest = 0;
        for _ in 0..20_000 {
            spoil(&mut random, &[SEED, b""], &mut out);
            longest = longest.max(out.len());
        }
        assert!((100 << 10..2 << 20).contains(&longest), "{longest}");
    }
}
