//! A strict reader of Prometheus' text format: what it refuses, a scraper or `promtool check metrics` may refuse.

use std::collections::{BTreeMap, BTreeSet};

/// A metric with all its series.
#[derive(Debug, Default)]
pub struct Family {
    pub kind: String,
    pub help: String,
    /// Names of labels, less the `le` of histograms.
    pub labels: BTreeSet<String>,
    pub samples: Vec<Sample>,
}

#[derive(Debug)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Family {
    /// The sum over all series with these labels, of the value or else of the histogram's count.
    pub fn sum(&self, labels: &[(&str, &str)]) -> f64 {
        let fits = |it: &&Sample| {
            let plain = self.kind != "histogram" || it.name.ends_with("_count");
            plain && labels.iter().all(|(name, value)| it.labels.get(*name).is_some_and(|it| it == value))
        };
        self.samples.iter().filter(fits).map(|it| it.value).sum()
    }
}

pub fn read(text: &str) -> Result<BTreeMap<String, Family>, String> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    if !text.ends_with('\n') {
        return Err("it does not end with a line end".to_owned());
    }
    for line in text.lines().filter(|line| !line.is_empty()) {
        let bad = |why: &str| format!("{why}: {line}");
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (word, name, rest) = (words.next(), words.next().unwrap_or_default(), words.next());
            if !is_name(name) {
                return Err(bad("no name"));
            }
            if name != current && families.contains_key(name) {
                return Err(bad("its lines do not stand together"));
            }
            name.clone_into(&mut current);
            let family = families.entry(name.to_owned()).or_default();
            let place = match word {
                Some("HELP") => &mut family.help,
                Some("TYPE") => &mut family.kind,
                _ => return Err(bad("a comment that is neither HELP nor TYPE")),
            };
            if !place.is_empty() || !family.samples.is_empty() {
                return Err(bad("said twice, or too late"));
            }
            rest.unwrap_or_default().clone_into(place);
        } else {
            let sample = sample(line).ok_or_else(|| bad("no sample"))?;
            let family = families.get_mut(&current).ok_or_else(|| bad("a sample of nothing"))?;
            add(family, &current, sample).map_err(bad)?;
        }
    }
    for (name, family) in &families {
        judge(name, family).map_err(|why| format!("{why}: {name}"))?;
    }
    Ok(families)
}

fn add(family: &mut Family, name: &str, sample: Sample) -> Result<(), &'static str> {
    let part = sample.name.strip_prefix(name).ok_or("a sample of another metric")?;
    let fits = match family.kind.as_str() {
        "histogram" => ["_bucket", "_sum", "_count"].contains(&part),
        "counter" | "gauge" => part.is_empty(),
        _ => return Err("neither counter, gauge nor histogram"),
    };
    if !fits || (part == "_bucket") != sample.labels.contains_key("le") {
        return Err("no sample of this type");
    }
    if family.samples.iter().any(|it| it.name == sample.name && it.labels == sample.labels) {
        return Err("said twice");
    }
    family.labels.extend(sample.labels.keys().filter(|name| *name != "le").cloned());
    family.samples.push(sample);
    Ok(())
}

fn judge(name: &str, family: &Family) -> Result<(), String> {
    if family.help.is_empty() || family.samples.is_empty() {
        return Err("no help, or no sample".to_owned());
    }
    if (family.kind == "counter") != name.ends_with("_total") {
        return Err("counters, and they alone, end in _total".to_owned());
    }
    if family.kind != "gauge" && family.samples.iter().any(|it| !it.value.is_finite() || it.value < 0.0) {
        return Err("a count below 0".to_owned());
    }
    if family.kind != "histogram" {
        return Ok(());
    }
    let mut series: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
    for it in family.samples.iter().filter(|it| it.name.ends_with("_bucket")) {
        let mut labels = it.labels.clone();
        let bound = labels.remove("le").and_then(|le| le.replace("+Inf", "inf").parse().ok());
        series.entry(labels).or_default().push((bound.ok_or("a bound that is no number")?, it.value));
    }
    for (labels, buckets) in series {
        let rises = buckets.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
        let count = family.samples.iter().find(|it| it.name.ends_with("_count") && it.labels == labels);
        let last = buckets.last().filter(|(bound, _)| bound.is_infinite()).map(|(_, count)| *count);
        if !rises || last.is_none() || last != count.map(|it| it.value) {
            return Err(format!("buckets that do not add up, {labels:?}"));
        }
    }
    Ok(())
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            if !is_label(label) || labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => {
                    rest = after.strip_prefix('}')?;
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ')?;
    let value = value.parse().ok().filter(|_| is_name(name) && !value.contains(' '))?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// A value up to its quote, and what comes behind.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                it @ ('\\' | '"') => it,
                _ => return None,
            }),
            (_, it) => value.push(it),
        }
    }
}

fn is_label(text: &str) -> bool {
    is_name(text) && !text.contains(':') && !text.starts_with("__")
}

fn is_name(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':');
    begins && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'))
}

#[test]
fn what_no_scraper_takes_is_refused() {
    let head = "# HELP a_total A.\n# TYPE a_total counter\n";
    assert!(read(&format!("{head}a_total{{x=\"\\\"y\\\\\"}} 1\na_total 2\n")).is_ok());
    for bad in [
        "a_total 1",
        "a_total{x=y} 1\n",
        "a_total{x=\"y} 1\n",
        "a_total{x=\"\\y\"} 1\n",
        "a_total{x=\"y\",} 1\n",
        "a_total 1\na_total 1\n",
        "a_total -1\n",
        "b_total 1\n",
        "a_total one\n",
        "",
    ] {
        assert!(read(&format!("{head}{bad}")).is_err(), "{bad} was taken");
    }
    let head = "# HELP h H.\n# TYPE h histogram\n";
    assert!(
        read(&format!("{head}h_bucket{{le=\"1\"}} 1\nh_bucket{{le=\"+Inf\"}} 2\nh_sum 3\nh_count 2\n"))
            .is_ok()
    );
    for bad in [
        "h_bucket{le=\"1\"} 1\nh_sum 3\nh_count 1\n",
        "h_bucket{le=\"1\"} 3\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n",
        "h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 3\n",
        "h 1\n",
    ] {
        assert!(read(&format!("{head}{bad}")).is_err(), "{bad} was taken");
    }
}
