//! By how much the revision of a restored cluster is raised, so that none is given out twice.
//!
//! A watcher, an informer or a lock holder that has seen revision 900 of the old cluster must not meet a revision 900 with
//! other content. etcd's `snapshot restore --bump-revision N --mark-compacted` (etcd, `etcdutl/snapshot/v3_snapshot.go`)
//! answers that with one more row, without key and value, at the revision N above the last one, and with a compaction
//! scheduled there: whoever asks for anything older is told that it was compacted, and lists again. The same is done here.

use std::fmt;

use revkeep_schemas::Revision;
use revkeep_vault::{Cluster, ErrorKind, TimelineId};

use crate::error::{Kind, RestoreError};

/// The largest bump: an agent that takes a snapshot while the scheduled compaction runs follows that far.
pub const MOST: i64 = (1 << 36) - 1;
/// Revisions that a source is taken to write in a second, at most, after it was last seen.
const REVISIONS_PER_SECOND: i64 = 10_000;
const LEAST_MARGIN: i64 = 1_000_000;
const MOST_MARGIN: i64 = 10_000_000_000;
/// Where it is not known when the source was last seen.
const UNKNOWN_MARGIN: i64 = 1_000_000_000;
/// The new revision is a multiple of it: easy to tell from old ones.
const ROUND: i64 = 1_000_000;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// So many revisions.
    By(i64),
    /// As many as no client can have seen.
    Auto,
}

impl Wish {
    /// Reads a number or `auto`.
    ///
    /// # Errors
    /// Says what is wrong, for the command line.
    pub fn parse(words: &str) -> Result<Self, String> {
        if words == "auto" {
            return Ok(Self::Auto);
        }
        match words.parse::<i64>() {
            Ok(amount) if (0..=MOST).contains(&amount) => Ok(Self::By(amount)),
            Ok(_) => Err(format!("give 0 to {MOST}, or auto")),
            Err(_) => Err("give a number of revisions, or auto".to_owned()),
        }
    }
}

/// The newest revision that any agent of a cluster saw, on whichever timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LastSeen {
    /// The revision.
    pub revision: Revision,
    /// The timeline.
    #[serde(serialize_with = "displayed")]
    pub timeline: TimelineId,
    /// When an agent last said that it lives, in milliseconds since 1970 by its clock; `None` where that is not known.
    pub unix_ms: Option<i64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn displayed<S: serde::Serializer>(id: &TimelineId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

impl LastSeen {
    /// Looks through the head and the names of all objects of all timelines: a timeline that was left is one that clients
    /// have seen.
    ///
    /// # Errors
    /// [`Kind::Verification`] when a timeline cannot be read; when the store cannot be reached.
    pub async fn of(cluster: &Cluster) -> Result<Self, RestoreError> {
        let mut seen = Self {
            revision: Revision::INITIAL,
            timeline: TimelineId::FIRST,
            unix_ms: None,
        };
        match cluster.head().await {
            Ok(Some(head)) => {
                seen.see(
                    head.source_revision.max(head.durable_revision),
                    head.timeline,
                );
                seen.unix_ms = (head.heartbeat_unix_ms > 0).then_some(head.heartbeat_unix_ms);
            }
            Ok(None) => {}
            // A hint that cannot be read; then the time is not known.
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            Err(error) => return Err(error.into()),
        }
        let timelines = cluster.timelines().await.map_err(|error| {
            // A store that does not answer is asked again; what is damaged stays so.
            let advice = match error.kind() {
                ErrorKind::Corrupt => ". Try: --bump-revision 1000000000",
                _ => "",
            };
            let error = RestoreError::from(error);
            RestoreError::new(
                error.kind(),
                format!(
                    "--bump-revision auto: what the agents of a timeline saw cannot be read{advice}"
                ),
            )
            .because(error)
        })?;
        for timeline in timelines {
            let highest = timeline.listing().await?.highest();
            seen.see(highest, timeline.id());
        }
        Ok(seen)
    }

    fn see(&mut self, revision: Revision, timeline: TimelineId) {
        if revision > self.revision {
            (self.revision, self.timeline) = (revision, timeline);
        }
    }

    fn margin(&self, now_unix_ms: i64) -> i64 {
        let Some(unix_ms) = self.unix_ms else {
            return UNKNOWN_MARGIN;
        };
        let seconds = now_unix_ms.saturating_sub(unix_ms) / 1000;
        seconds
            .saturating_mul(REVISIONS_PER_SECOND)
            .clamp(LEAST_MARGIN, MOST_MARGIN)
    }
}

/// By how much, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Bump {
    /// The amount.
    pub amount: i64,
    /// The revision at which the result stands; the first write takes the next one.
    pub revision: Revision,
    /// What `auto` went by, and how much it added for what the source may have written unseen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub computed_from: Option<(LastSeen, i64)>,
}

impl Bump {
    /// A bump of `target` by a number.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for one beyond what can be counted.
    pub fn by(target: Revision, amount: i64) -> Result<Self, RestoreError> {
        let revision = target.0.checked_add(amount);
        let revision = revision.filter(|_| (1..=MOST).contains(&amount));
        let revision = revision.ok_or_else(|| {
            RestoreError::new(
                Kind::Invalid,
                format!(
                    "revision {target} cannot be bumped by {amount}: give 1 to {MOST}. Try: --bump-revision auto"
                ),
            )
        })?;
        Ok(Self {
            amount,
            revision: Revision(revision),
            computed_from: None,
        })
    }

    /// A bump of `target` beyond all that any client of the cluster can have seen.
    ///
    /// # Errors
    /// As [`Bump::by`], where the source was that far ahead.
    pub fn auto(target: Revision, seen: LastSeen, now_unix_ms: i64) -> Result<Self, RestoreError> {
        let margin = seen.margin(now_unix_ms);
        let beyond = seen.revision.max(target).0.saturating_add(margin);
        let revision = (beyond / ROUND).saturating_add(1).saturating_mul(ROUND);
        Ok(Self {
            computed_from: Some((seen, margin)),
            ..Self::by(target, revision.saturating_sub(target.0))?
        })
    }
}

impl fmt::Display for Bump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "by {} to {}, all before it compacted",
            self.amount, self.revision
        )?;
        if let Some((seen, margin)) = &self.computed_from {
            write!(
                f,
                "; the agents last saw revision {} (timeline {}), and {margin} are left for what nobody saw",
                seen.revision, seen.timeline
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(revision: i64, unix_ms: Option<i64>) -> LastSeen {
        LastSeen {
            revision: Revision(revision),
            timeline: TimelineId::FIRST,
            unix_ms,
        }
    }

    #[test]
    fn auto_goes_beyond_what_was_seen_and_what_may_have_been_written_since() {
        let bumped = |seen, now| {
            let bump = Bump::auto(Revision(500), seen, now).unwrap();
            assert_eq!(bump.amount, bump.revision.0 - 500);
            bump.revision.0
        };
        // Just now; an hour ago; long ago; by a clock that is ahead; unknown.
        assert_eq!(bumped(seen(900, Some(5_000)), 6_000), 2_000_000);
        assert_eq!(bumped(seen(900, Some(0)), 3_600_000), 37_000_000);
        assert_eq!(bumped(seen(900, Some(0)), i64::MAX), 10_001_000_000);
        assert_eq!(bumped(seen(900, Some(9_000)), 0), 2_000_000);
        assert_eq!(bumped(seen(900, None), 0), 1_001_000_000);
        // What was seen counts from where it was, not from the target.
        assert_eq!(bumped(seen(7_000_123, Some(0)), 0), 9_000_000);
    }

    #[test]
    fn an_amount_that_cannot_be_counted_is_refused() {
        for (target, amount) in [(5, 0), (5, -1), (5, MOST + 1), (i64::MAX - 3, 4)] {
            let error = Bump::by(Revision(target), amount).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{target} {amount}");
        }
        let far = seen(1 << 40, Some(0));
        assert_eq!(
            Bump::auto(Revision(5), far, 0).unwrap_err().kind(),
            Kind::Invalid
        );
        assert_eq!(Bump::by(Revision(5), MOST).unwrap().revision.0, MOST + 5);
    }

    #[test]
    fn a_wish_is_a_number_or_auto() {
        assert_eq!(Wish::parse("auto"), Ok(Wish::Auto));
        assert_eq!(Wish::parse("1000"), Ok(Wish::By(1000)));
        for wrong in [
            "",
            "-1",
            "1e9",
            "Auto",
            "99999999999999999999",
            "68719476736",
        ] {
            assert!(Wish::parse(wrong).is_err(), "{wrong}");
        }
    }
}
