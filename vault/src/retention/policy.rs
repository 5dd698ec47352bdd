//! The policy file: TOML, with rules for all clusters and others for some.
//!
//! ```toml
//! time-zone = "Europe/Berlin"
//!
//! [labels]
//! gold = ["prod-*", "billing"]
//!
//! [default]
//! window = "7d"
//! daily = 30
//! lock = "governance"
//! lock-for = "14d"
//!
//! [[override]]
//! label = "gold"
//! window = "30d"
//! yearly = 7
//! ```
//!
//! What an override leaves out is as in `[default]`, and what that leaves out is as in [`Rules::default`]. Of several
//! overrides that fit a cluster, a later one counts.

mod lock;

use std::collections::BTreeMap;
use std::ops::Range;

use chrono::TimeDelta;
use chrono_tz::Tz;
use revkeep_schemas::names::ClusterName;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use self::lock::{Keys, LockWord};
use super::rules::Rules;
use crate::error::{ErrorKind, VaultError};
use crate::size;

/// Words of the file, for a slip to be understood.
const WORDS: [&str; 20] = [
    "time-zone",
    "labels",
    "default",
    "override",
    "cluster",
    "label",
    "window",
    "hourly",
    "daily",
    "weekly",
    "monthly",
    "yearly",
    "keep-last",
    "max-backups",
    "exponential",
    "minimum",
    "grace",
    "warn-size",
    "lock",
    "lock-for",
];
/// Below this two words have little in common.
const SIMILAR: f64 = 0.8;

/// A policy that was read.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The time zone in which hours, days and months are counted.
    pub zone: Tz,
    labels: BTreeMap<String, Vec<String>>,
    default: RuleSet,
    overrides: Vec<RuleSet>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    time_zone: Tz,
    #[serde(default)]
    labels: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    default: RuleSet,
    #[serde(default, rename = "override")]
    overrides: Vec<Spanned<RuleSet>>,
}

/// The keys of `[default]`, which names no clusters, and of an override. One type for both: with `flatten` errors would lose
/// their place, and unknown keys be let through.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RuleSet {
    cluster: Option<Spanned<String>>,
    label: Option<Spanned<String>>,
    window: Option<Time>,
    hourly: Option<u32>,
    daily: Option<u32>,
    weekly: Option<u32>,
    monthly: Option<u32>,
    yearly: Option<u32>,
    #[serde(alias = "max-backups")]
    keep_last: Option<u32>,
    exponential: Option<u32>,
    minimum: Option<u32>,
    grace: Option<Time>,
    warn_size: Option<Size>,
    lock: Option<LockWord>,
    lock_for: Option<Time>,
}

impl RuleSet {
    /// Where it names clusters.
    fn names_at(&self) -> Option<Range<usize>> {
        let named = self.cluster.as_ref().or(self.label.as_ref());
        named.map(Spanned::span)
    }

    /// Whether it is for a cluster.
    fn fits(&self, cluster: &ClusterName, labels: &BTreeMap<String, Vec<String>>) -> bool {
        let fits = |pattern: &String| matches(pattern, cluster.as_str());
        let labelled = |label: &String| {
            let patterns = labels.get(label);
            patterns.is_some_and(|patterns| patterns.iter().any(fits))
        };
        let cluster = self.cluster.as_ref().map(Spanned::get_ref);
        let label = self.label.as_ref().map(Spanned::get_ref);
        cluster.is_some_and(fits) || label.is_some_and(labelled)
    }

    fn over(&self, rules: &Rules) -> Rules {
        Rules {
            window: self.window.map_or(rules.window, |time| time.0),
            hourly: self.hourly.unwrap_or(rules.hourly),
            daily: self.daily.unwrap_or(rules.daily),
            weekly: self.weekly.unwrap_or(rules.weekly),
            monthly: self.monthly.unwrap_or(rules.monthly),
            yearly: self.yearly.unwrap_or(rules.yearly),
            keep_last: self.keep_last.unwrap_or(rules.keep_last),
            exponential: self.exponential.unwrap_or(rules.exponential),
            minimum: self.minimum.unwrap_or(rules.minimum),
            grace: self.grace.map_or(rules.grace, |time| time.0),
            warn_bytes: self.warn_size.map(|size| size.0).or(rules.warn_bytes),
        }
    }
}

/// `7d`, `36h`.
#[derive(Clone, Copy, Debug)]
struct Time(TimeDelta);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let read = humantime::parse_duration(&text).map_err(|error| error.to_string());
        let read =
            read.and_then(|time| TimeDelta::from_std(time).map_err(|error| error.to_string()));
        read.map(Self).map_err(|error| {
            serde::de::Error::custom(format!("{text:?} is no duration: {error}; write 36h or 7d"))
        })
    }
}

/// `50GiB`.
#[derive(Clone, Copy, Debug)]
struct Size(u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        size::parse(&text).map(Self).map_err(|error| {
            serde::de::Error::custom(format!(
                "{text:?} is no size: {error}; write 500MiB, 50GiB or 2TiB"
            ))
        })
    }
}

impl Policy {
    /// Reads a policy. `name` is the file's, for errors.
    ///
    /// # Errors
    /// `Config`, with file, line and column, for what is no policy, and for one that can keep nothing.
    pub fn parse(name: &str, text: &str) -> Result<Self, VaultError> {
        let wrong = |span: Option<Range<usize>>, what: &str| {
            let (line, column) = position(text, span.map_or(0, |span| span.start));
            VaultError::new(ErrorKind::Config, format!("{name}:{line}:{column}: {what}"))
        };
        let file: File = toml::from_str(text).map_err(|error| {
            wrong(
                error.span(),
                &format!("{}{}", error.message(), meant(error.message())),
            )
        })?;
        if let Some(at) = file.default.names_at() {
            let what = "[default] is for all clusters: name some in an [[override]]";
            return Err(wrong(Some(at), what));
        }
        let mut overrides = Vec::new();
        for one in file.overrides {
            let span = one.span();
            let one = one.into_inner();
            if one.cluster.is_some() == one.label.is_some() {
                let what = "an override needs either cluster, such as \"prod-*\", or label";
                return Err(wrong(Some(span), what));
            }
            if let Some(label) = one.label.as_ref().map(Spanned::get_ref)
                && !file.labels.contains_key(label)
            {
                let known: Vec<_> = file.labels.keys().map(String::as_str).collect();
                let what = format!("no label is called {label:?}{}", nearest(label, &known));
                return Err(wrong(Some(span), &what));
            }
            if one.minimum == Some(0) {
                return Err(wrong(
                    Some(span),
                    "minimum must be 1 or more: 0 would keep nothing of an idle cluster",
                ));
            }
            if let Some(what) = Keys::from(&one).wrong_beside(Keys::from(&file.default)) {
                return Err(wrong(Some(span), what));
            }
            overrides.push(one);
        }
        if let Some(what) =
            Keys::from(&file.default).wrong_default(overrides.iter().map(Keys::from))
        {
            let at = text.find("lock").map(|at| at..at);
            return Err(wrong(at, what));
        }
        if file.default.minimum == Some(0) {
            let at = text.find("minimum").map(|at| at..at);
            return Err(wrong(
                at,
                "minimum must be 1 or more: 0 would keep nothing of an idle cluster",
            ));
        }
        Ok(Self {
            zone: file.time_zone,
            labels: file.labels,
            default: file.default,
            overrides,
        })
    }

    /// Reads a policy file.
    ///
    /// # Errors
    /// `Config` for one that cannot be read, and as [`Policy::parse`].
    pub fn read(file: &std::path::Path) -> Result<Self, VaultError> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            VaultError::new(
                ErrorKind::Config,
                format!("the policy {} cannot be read: {error}", file.display()),
            )
        })?;
        Self::parse(&file.display().to_string(), &text)
    }

    /// The labels of a cluster, sorted.
    pub fn labels<'a>(&'a self, cluster: &'a ClusterName) -> impl Iterator<Item = &'a str> {
        let fits = |pattern: &String| matches(pattern, cluster.as_str());
        let labelled = self.labels.iter();
        let labelled = labelled.filter(move |(_, patterns)| patterns.iter().any(fits));
        labelled.map(|(label, _)| label.as_str())
    }

    /// The overrides that fit a cluster, in their order.
    fn overrides_of<'a>(&'a self, cluster: &'a ClusterName) -> impl Iterator<Item = &'a RuleSet> {
        let all = self.overrides.iter();
        all.filter(move |one| one.fits(cluster, &self.labels))
    }

    /// The rules for a cluster.
    pub fn rules(&self, cluster: &ClusterName) -> Rules {
        let mut rules = self.default.over(&Rules::default());
        for one in self.overrides_of(cluster) {
            rules = one.over(&rules);
        }
        rules
    }
}

/// Whether a name fits a pattern, in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = name.find(part) else {
            return false;
        };
        name = name.get(at + part.len()..).unwrap_or_default();
    }
    name.ends_with(end)
}

/// A question about the word that an error calls unknown.
fn meant(message: &str) -> String {
    let unknown = message
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.split('`').next());
    unknown.map_or_else(String::new, |word| nearest(word, &WORDS))
}

fn nearest(word: &str, known: &[&str]) -> String {
    let alike = known
        .iter()
        .map(|one| (strsim::jaro_winkler(word, one), one));
    match alike.max_by(|(one, _), (other, _)| one.total_cmp(other)) {
        Some((similarity, best)) if similarity >= SIMILAR => format!("; did you mean {best}?"),
        _ => String::new(),
    }
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
    use super::*;

    fn cluster(name: &str) -> ClusterName {
        ClusterName::new(name).unwrap()
    }

    fn wrong(text: &str) -> String {
        Policy::parse("keep.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn overrides_change_what_they_name() {
        let text = "time-zone = 'Europe/Berlin'\n[labels]\ngold = ['prod-*', 'billing']\n[default]\nwindow = '3d'\n\
                    warn-size = '50GiB'\n[[override]]\nlabel = 'gold'\nwindow = '30d'\n[[override]]\ncluster = '*-eu'\n\
                    max-backups = 5\n";
        let policy = Policy::parse("keep.toml", text).unwrap();
        assert_eq!(policy.zone, Tz::Europe__Berlin);
        let rules = policy.rules(&cluster("prod-eu"));
        assert_eq!((rules.window, rules.keep_last), (TimeDelta::days(30), 5));
        assert_eq!(rules.warn_bytes, Some(50 << 30));
        let rules = policy.rules(&cluster("test"));
        assert_eq!(rules.window, TimeDelta::days(3));
        assert_eq!(rules.daily, Rules::default().daily);
        assert_eq!(
            policy.rules(&cluster("billing")).window,
            TimeDelta::days(30)
        );
    }

    #[test]
    fn the_simplest_policies_are_one_line() {
        for text in [
            "",
            "[default]\nmax-backups = 7",
            "[default]\nkeep-last = 7",
            "[default]\nexponential = 2",
        ] {
            Policy::parse("keep.toml", text).unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let text = wrong("[default]\nwindw = '7d'\n");
        assert!(
            text.starts_with("keep.toml:2:1: unknown field `windw`"),
            "{text}"
        );
        assert!(text.contains("did you mean window?"), "{text}");
        let text = wrong("[default]\nwindow = '7 leagues'\n");
        assert!(text.starts_with("keep.toml:2:10: "), "{text}");
        let text = wrong("[labels]\ngold = ['a']\n[[override]]\nlabel = 'golt'\nwindow = '1d'\n");
        assert!(text.contains("did you mean gold?"), "{text}");
        assert!(wrong("[[override]]\nwindow = '1d'\n").contains("either cluster"));
        let text = wrong("[[override]]\ncluster = 'a'\nwindow = 'soon'\n");
        assert!(text.starts_with("keep.toml:3:10: "), "{text}");
        let text = wrong("[[override]]\ncluster = 'a'\nwindw = '1d'\n");
        assert!(
            text.starts_with("keep.toml:3:1: unknown field `windw`"),
            "{text}"
        );
        let text = wrong("[default]\ndaily = 1\nlabel = 'gold'\n");
        assert!(
            text.starts_with("keep.toml:3:9: [default] is for all"),
            "{text}"
        );
        assert!(wrong("[default]\nminimum = 0\n").starts_with("keep.toml:2:1: minimum"));
        assert!(wrong("time-zone = 'Mars/Olympus'").starts_with("keep.toml:1:"));
        assert!(wrong("[default]\ndaily = -1\n").starts_with("keep.toml:2:9: "));
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, fits) in [
            ("*", "x", true),
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("*b*", "abc", true),
            ("a", "ab", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
