//! How much of its history the source keeps, against how long a change may wait to be stored.

use std::time::{Duration, Instant};

use revkeep_schemas::Revision;

use super::{Report, Source};
use crate::run::RunOptions;
use crate::status::words;

/// For so long at least the source is watched for how fast it changes.
const WATCHED: Duration = Duration::from_secs(1);
/// History should last so many flush intervals, and a minute for a restart of the agent.
const INTERVALS: u32 = 4;
const RESTART: Duration = Duration::from_secs(60);
/// Revisions from which on a source that nobody compacts is told of.
const MANY: i64 = 10_000;

/// Looks at compaction.
pub(super) async fn look(
    source: &Source,
    started: Instant,
    options: &RunOptions,
    report: &mut Report,
) {
    let Some(before) = source.current else { return };
    tokio::time::sleep(WATCHED.saturating_sub(started.elapsed())).await;
    let compact = match source.member.compacted_above(Revision::ZERO).await {
        Ok(found) => found.map(|(_, compact)| compact),
        Err(error) => {
            report.error("history", &error, "see the log of that member");
            return;
        }
    };
    let Ok(current) = source.member.current_revision().await else {
        return;
    };
    let Some(compact) = compact else {
        if current.0 > MANY {
            report.warn(
                "history",
                format!("nothing was ever compacted, up to revision {current}: the file only grows"),
                "give etcd --auto-compaction-mode and --auto-compaction-retention, or let the API server compact",
            );
        } else {
            report.ok("history", "nothing is compacted yet");
        }
        return;
    };
    let kept = current.0.saturating_sub(compact.0);
    let came = current.0.saturating_sub(before.0);
    let wait = options.limits.get().interval;
    let text = format!("compacted at {compact}: the last {kept} revisions are kept");
    match lasts(kept, came, started.elapsed()) {
        Some(lasts) if lasts < wait * INTERVALS + RESTART => report.warn(
            "history",
            format!(
                "{text}, about {} at the present rate; a change may wait {} to be stored",
                words(lasts),
                words(wait)
            ),
            "let etcd keep more (--auto-compaction-retention), or give a shorter --flush-interval",
        ),
        Some(lasts) => report.ok(
            "history",
            format!("{text}, about {} at the present rate", words(lasts)),
        ),
        None => report.ok("history", text),
    }
}

/// How long so many revisions last, if `came` came within `watched`; `None` where none came.
fn lasts(kept: i64, came: i64, watched: Duration) -> Option<Duration> {
    let (kept, came) = (u32::try_from(kept).ok()?, u32::try_from(came).ok()?);
    (came > 0).then(|| watched.mul_f64(f64::from(kept) / f64::from(came)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_lasts_by_how_fast_it_goes() {
        let second = Duration::from_secs(1);
        assert_eq!(lasts(1000, 10, second), Some(second * 100));
        assert_eq!(lasts(0, 10, second), Some(Duration::ZERO));
        assert_eq!(lasts(1000, 0, second), None);
    }
}
