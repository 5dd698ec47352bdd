//! Finds the revision of what was asked for.

use std::fmt;

use chrono::{DateTime, SecondsFormat};
use revkeep_schemas::Revision;
use revkeep_vault::{Cluster, PinName, PinRecord};

use super::{After, Doubt, Seen, Wanted, before_delete, revision_at, seen};
use crate::error::{Kind, RestoreError};
use crate::plan::{Target, coverage, nearest};
use crate::source::{Source, timeline_id};

/// A revision, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Point {
    /// The revision.
    pub revision: Revision,
    /// When an agent first saw it: its clock, RFC 3339.
    pub seen: Option<String>,
    /// Until when it was the newest: when the one after it was first seen.
    pub seen_until: Option<String>,
    /// What came after it.
    pub after: After,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<17} {}", "revision", self.revision)?;
        match (&self.seen, &self.seen_until) {
            (Some(seen), Some(until)) => {
                writeln!(f, "{:<17} ≈ {seen}, the newest until ≈ {until}", "seen")?;
            }
            (Some(seen), None) => writeln!(f, "{:<17} ≈ {seen}", "seen")?,
            (None, Some(until)) => writeln!(f, "{:<17} before ≈ {until}", "seen")?,
            (None, None) => {}
        }
        writeln!(f, "{:<17} {}", "after it", self.after)
    }
}

/// What was asked for, found.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The timeline, and what it holds.
    pub source: Source,
    /// The revision, or the latest.
    pub target: Target,
}

/// Finds the timeline and the revision. The newest revision stays "the latest", since what is damaged must not make an
/// older one pass for it.
///
/// # Errors
/// [`Kind::NotFound`] for a timeline or a pin that is not there, [`Kind::OutsideCoverage`] for a time before all that the vault
/// knows and for a key that was not deleted, [`Kind::Invalid`] where a pin is of another timeline than the one asked for.
pub async fn resolve(
    cluster: &Cluster,
    timeline: Option<&str>,
    wanted: &Wanted,
) -> Result<Resolved, RestoreError> {
    Ok(find(cluster, timeline, wanted).await?.0)
}

/// As [`resolve`], and says what makes it doubtful that this is what was meant.
///
/// # Errors
/// As [`resolve`].
pub async fn find(
    cluster: &Cluster,
    timeline: Option<&str>,
    wanted: &Wanted,
) -> Result<(Resolved, Option<Doubt>), RestoreError> {
    if let Wanted::Pin(name) = wanted {
        return Ok((pinned(cluster, timeline, name).await?, None));
    }
    let source = Source::open(cluster, timeline).await?;
    let (target, doubt) = with_doubt(&source, wanted).await?;
    Ok((Resolved { source, target }, doubt))
}

/// What a pin holds.
///
/// # Errors
/// [`Kind::NotFound`] for one that is not there; the message names those that are.
pub(crate) async fn pin_record(
    cluster: &Cluster,
    name: &PinName,
) -> Result<PinRecord, RestoreError> {
    if let Some(pin) = cluster.pin(name).await? {
        return Ok(pin);
    }
    let others = cluster.pin_names().await?;
    let others: Vec<_> = others.iter().map(ToString::to_string).collect();
    let others = if others.is_empty() {
        "no other".to_owned()
    } else {
        others.join(", ")
    };
    Err(RestoreError::new(
        Kind::NotFound,
        format!("the cluster has no pin {name}; it has {others}"),
    ))
}

async fn pinned(
    cluster: &Cluster,
    timeline: Option<&str>,
    name: &PinName,
) -> Result<Resolved, RestoreError> {
    let asked = timeline.map(timeline_id).transpose()?;
    let pin = pin_record(cluster, name).await?;
    if asked.is_some_and(|asked| asked != pin.timeline) {
        return Err(RestoreError::new(
            Kind::Invalid,
            format!(
                "the pin {name} is of timeline {}: leave --timeline out",
                pin.timeline
            ),
        ));
    }
    Ok(Resolved {
        source: Source::open(cluster, Some(&pin.timeline.to_string())).await?,
        target: Target::Revision(pin.revision),
    })
}

/// Finds a revision in a timeline that is known. Pins belong to the whole cluster.
pub(crate) async fn within(source: &Source, wanted: &Wanted) -> Result<Target, RestoreError> {
    Ok(with_doubt(source, wanted).await?.0)
}

async fn with_doubt(
    source: &Source,
    wanted: &Wanted,
) -> Result<(Target, Option<Doubt>), RestoreError> {
    match wanted {
        Wanted::Latest => Ok((Target::Latest, None)),
        Wanted::Revision(revision) => Ok((Target::Revision(*revision), None)),
        Wanted::Time(moment) => {
            let found = revision_at(source, moment.unix_ms).await?;
            let found = found.ok_or_else(|| too_early(source, moment.unix_ms))?;
            let doubt = Doubt::of_time(&source.holdings(), found);
            Ok((Target::Revision(found), doubt))
        }
        Wanted::BeforeDelete { key, since } => {
            let since = match since.as_deref() {
                None => Revision::ZERO,
                Some(bound) => match Box::pin(within(source, bound)).await {
                    Ok(Target::Revision(revision)) => revision,
                    Ok(Target::Latest) => Revision::MAX,
                    // A time before all that is known bounds nothing.
                    Err(error) if error.kind() == Kind::OutsideCoverage => Revision::ZERO,
                    Err(error) => return Err(error),
                },
            };
            let (deleted, gap) = before_delete::newest_deletion(source, key, since).await?;
            let found = deleted.previous();
            let doubt = gap.map(|gap| Doubt::NewerDeletion { found, gap });
            Ok((Target::Revision(found), doubt))
        }
        Wanted::Pin(name) => Err(RestoreError::new(
            Kind::Invalid,
            format!("the pin {name} cannot be used here: give a revision or a time"),
        )),
    }
}

fn too_early(source: &Source, unix_ms: i64) -> RestoreError {
    let covered = coverage(&source.holdings());
    let advice = source.timeline_before().unwrap_or_default();
    let asked = time(unix_ms).unwrap_or_default();
    RestoreError::new(
        Kind::OutsideCoverage,
        format!(
            "timeline {} of the vault knows of no revision that was there at {asked}{advice}",
            source.timeline.id()
        ),
    )
    .near(nearest(&covered, Revision::ZERO))
}

/// What is known of a revision. What cannot be read is not known: a restore must not fail of it.
pub async fn describe(source: &Source, revision: Revision) -> Point {
    let Seen { from, until } = seen(source, revision).await.unwrap_or_default();
    Point {
        revision,
        seen: from.and_then(time),
        seen_until: until.and_then(time),
        after: After::of(&source.holdings(), revision),
    }
}

/// A time as it is shown, in UTC.
pub(crate) fn time(unix_ms: i64) -> Option<String> {
    if unix_ms <= 0 {
        return None;
    }
    DateTime::from_timestamp_millis(unix_ms)
        .map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}
