//! What was found, for people and for programs.

use serde_json::{Value, json};

use super::finding::{Finding, Looked, Severity};
use crate::clean::Clean;
use crate::say::{colours, is_watched};

/// For people: the findings, or that all is well, and what was looked at.
pub fn text(looked: &[(&'static str, Looked)]) -> String {
    let colour = colours(is_watched());
    let mut findings: Vec<&Finding> = looked.iter().flat_map(|(_, it)| &it.findings).collect();
    findings.sort_by_key(|it| it.severity == Severity::Note);
    let mut text: String = findings.iter().map(|it| paragraph(it, colour)).collect();
    match findings.iter().any(|it| it.severity == Severity::Wrong) {
        false if findings.is_empty() => text.push_str("all is well\n"),
        false => text.push_str("nothing is wrong\n"),
        true => {}
    }
    let list = |pick: fn(&Looked) -> &Vec<String>, head: &str| {
        let items: Vec<String> =
            looked.iter().flat_map(|(_, it)| pick(it)).map(|it| Clean::of(it).to_string()).collect();
        if items.is_empty() { String::new() } else { format!("{head}: {}\n", items.join("; ")) }
    };
    text += &list(|it| &it.seen, "looked at");
    text += &list(|it| &it.unseen, "could not look at");
    text.truncate(text.trim_end().len());
    text
}

fn paragraph(it: &Finding, colour: bool) -> String {
    let (word, code) = match it.severity {
        Severity::Wrong => ("wrong", "31"),
        Severity::Note => ("note", "33"),
    };
    let word = if colour { format!("\x1b[1;{code}m{word}\x1b[0m") } else { word.to_owned() };
    format!(
        "{word}: {}\n  why: {}\n  do:  {}\n\n",
        Clean::of(&it.what),
        Clean::of(&it.why),
        Clean::of(&it.mend)
    )
}

/// For programs.
pub fn json(looked: &[(&'static str, Looked)]) -> Value {
    let findings =
        looked.iter().flat_map(|(check, it)| it.findings.iter().map(move |finding| (check, finding)));
    let findings: Vec<Value> = findings
        .map(|(check, it)| {
            json!({"check": check, "severity": it.severity, "what": it.what, "why": it.why, "mend": it.mend})
        })
        .collect();
    let lines = |pick: fn(&Looked) -> &Vec<String>| -> Vec<Value> {
        let all = looked.iter().flat_map(|(check, it)| pick(it).iter().map(move |what| (check, what)));
        all.map(|(check, what)| json!({"check": check, "what": what})).collect()
    };
    let well = !findings.iter().any(|it| it["severity"] == "wrong");
    json!({
        "well": well,
        "findings": findings,
        "looked_at": lines(|it| &it.seen),
        "could_not_look_at": lines(|it| &it.unseen),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_told_and_nothing_is_wrong_and_no_word_steers_the_terminal() {
        let looked = [
            ("a", Looked::note("n\x1b[2J", "y", "z").with(Looked::seen("s\u{9b}"))),
            ("b", Looked::unseen("u\u{202e}")),
        ];
        let said = text(&looked);
        assert!(!said.contains('\x1b'), "{said:?}");
        assert!(
            said.ends_with("nothing is wrong\nlooked at: s\u{fffd}\ncould not look at: u\u{fffd}"),
            "{said}"
        );
        assert_eq!(json(&looked)["well"], true);
        let looked = [("a", Looked::wrong("w", "y", "z"))];
        assert!(!text(&looked).contains("well") && !text(&looked).contains("nothing"));
        assert_eq!(text(&[("a", Looked::seen("s"))]), "all is well\nlooked at: s");
        assert_eq!(json(&looked)["findings"][0]["severity"], "wrong");
    }
}
