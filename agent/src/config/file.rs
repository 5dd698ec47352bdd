//! The configuration file: TOML, with the flags' own words as keys.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::DeTable;

use super::settings::Settings;
use super::suggest::did_you_mean;
use crate::AgentError;

/// Keys of which no value is ever shown, not even a wrong one.
const SECRETS: [&str; 2] = ["password", "user"];

/// A file that was read.
#[derive(Clone, Debug, Default)]
pub struct ReadFile {
    /// What it says.
    pub settings: Settings,
    /// `FILE:LINE` of each key.
    pub places: BTreeMap<String, String>,
}

/// Reads a file.
///
/// # Errors
/// [`AgentError::Config`] that names the file, line and column of what is wrong, and for an unknown key the nearest known.
pub fn read(path: &Path) -> Result<ReadFile, AgentError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| AgentError::Config(format!("--config: cannot read {name}: {error}")))?;
    parse(&name, &text)
}

pub(super) fn parse(name: &str, text: &str) -> Result<ReadFile, AgentError> {
    let wrong = |at: usize, what: &str| {
        let (line, column) = position(text, at);
        AgentError::Config(format!("{name}:{line}:{column}: {what}"))
    };
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        // What the parser says of a syntax error holds none of the text.
        wrong(at, error.message())
    })?;
    let known = Settings::keys();
    let mut places = BTreeMap::new();
    let mut spans = Vec::new();
    for (key, value) in table.get_ref() {
        let word = key.get_ref().as_ref();
        let start = key.span().start;
        if !known.iter().any(|one| one == word) {
            let nearest = did_you_mean(word, known.iter().map(String::as_str));
            return Err(wrong(start, &format!("unknown key {word:?}{nearest}")));
        }
        places.insert(
            word.to_owned(),
            format!("{name}:{}", position(text, start).0),
        );
        spans.push((word.to_owned(), value.span()));
    }
    let settings = toml::from_str(text).map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        let key = spans
            .iter()
            .find(|(_, span)| span.contains(&at) || span.start == at);
        match key {
            Some((key, _)) if SECRETS.contains(&key.as_str()) => {
                wrong(at, &format!("{key}: a text in quotes is expected"))
            }
            Some((key, _)) => wrong(at, &format!("{key}: {}", error.message())),
            None => wrong(at, error.message()),
        }
    })?;
    Ok(ReadFile { settings, places })
}

/// Line and column of a byte, both from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn wrong(text: &str) -> String {
        parse("agent.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let text = "# Where from.\nendpoints = [\"a:1\", \"b:1\"]\nflush-interval = \"2s\"\nflush-bytes = \"1MiB\"\n\
                    snapshot-schedule = \"@hourly\"\ntime-zone = \"Europe/Berlin\"\nhashkv = \"never\"\n\
                    catch-up-limit = 5\ninsecure-skip-tls-verify = true\nlog-level = \"debug\"\nlisten-status = \"off\"\n";
        let read = parse("agent.toml", text).unwrap();
        let settings = &read.settings;
        assert_eq!(settings.endpoints.as_deref().unwrap(), ["a:1", "b:1"]);
        assert_eq!(settings.flush_interval.unwrap().0, Duration::from_secs(2));
        assert_eq!(settings.flush_bytes.unwrap().0, 1 << 20);
        assert_eq!(settings.time_zone, Some(chrono_tz::Europe::Berlin));
        assert_eq!(settings.insecure_skip_tls_verify, Some(true));
        assert_eq!(read.places["flush-interval"], "agent.toml:3");
        let one = parse("f", "endpoints = 'a:1, b:1'").unwrap().settings;
        assert_eq!(one.endpoints, settings.endpoints);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        assert_eq!(
            wrong("vault = 'file:///v'\n\n  flush-intervall = '1s'\n"),
            "agent.toml:3:3: unknown key \"flush-intervall\"; did you mean flush-interval?"
        );
        assert_eq!(
            wrong("colour = 1"),
            "agent.toml:1:1: unknown key \"colour\""
        );
        let text = wrong("vault = 'x'\nflush-interval = '1 league'\n");
        assert!(
            text.starts_with("agent.toml:2:18: flush-interval: "),
            "{text}"
        );
        let text = wrong("vault = 'x'\nvault = 'y'\n");
        assert!(text.starts_with("agent.toml:2:1: "), "{text}");
        let text = wrong("[vault]\nurl = 'x'\n");
        assert!(text.starts_with("agent.toml:1:"), "{text}");
        let text = wrong("snapshot-schedule = '0 0 30 2 *'");
        assert!(text.contains("on no day"), "{text}");
    }

    #[test]
    fn a_wrong_password_is_not_shown() {
        for text in [
            "password = 47114711",
            "user = 47114711",
            "password = \"47114711",
            "password = [47114711]",
        ] {
            let text = wrong(text);
            assert!(!text.contains("4711"), "{text}");
        }
    }
}
