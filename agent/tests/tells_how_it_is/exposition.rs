//! Prometheus' text format, version 0.0.4, read as strictly as its own parser does.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

/// Values by name and labels, as they stand in the text.
pub(crate) type Samples = BTreeMap<String, f64>;

fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// Reads the text; fails at what is not in the format, not typed, not ours or there twice.
pub(crate) fn parse(text: &str) -> Result<Samples> {
    ensure!(text.ends_with('\n'), "the last line has no end");
    let mut samples = Samples::new();
    let mut kinds = BTreeMap::new();
    for line in text.lines() {
        let wrong = || line.to_owned();
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').with_context(wrong)?;
            ensure!(is_name(name) && !words.is_empty(), "{line}");
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').with_context(wrong)?;
            ensure!(["counter", "gauge"].contains(&kind), "{line}");
            ensure!((kind == "counter") == name.ends_with("_total"), "{line}");
            ensure!(kinds.insert(name, kind).is_none(), "twice: {line}");
            continue;
        }
        ensure!(!line.starts_with('#'), "{line}");
        let (sample, value) = line.rsplit_once(' ').with_context(wrong)?;
        let (name, labels) = match sample.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').with_context(wrong)?),
            None => (sample, ""),
        };
        ensure!(is_name(name) && name.starts_with("revkeep_"), "{line}");
        ensure!(kinds.contains_key(name), "no type: {line}");
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once('=').with_context(wrong)?;
            let quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
            ensure!(is_name(label) && quoted, "{line}");
        }
        let value: f64 = value.parse().with_context(wrong)?;
        let before = samples.insert(sample.to_owned(), value);
        ensure!(before.is_none(), "twice: {line}");
    }
    Ok(samples)
}
