//! Whether a snapshot continues what was captured, by the rows in its file, before any of them is used.

use std::path::{Path, PathBuf};

use revkeep_schemas::boltdb::{DbFile, META_BUCKET};
use revkeep_schemas::digest::RowDigest;
use revkeep_schemas::{FormatError, Revision, RowBuf, RowSource};
use revkeep_vault::{ErrorKind, Timeline};

use super::examine::{Verdict, consult_hashes, settle};
use super::known::Newest8;
use super::raft::surplus;
use super::sample::Compared;
use super::trail::Parting;
use super::{Known, RaftMark, Sample};
use crate::AgentError;
use crate::base::{Position, Taken};
use crate::source::{Connection, Member};

/// What the end of a snapshot is: where a watch goes on.
#[derive(Clone, Debug, Default)]
pub(crate) struct End {
    /// The digest of the last revision alone; `None` where compaction may have removed some of its rows.
    pub(crate) last: Option<RowDigest>,
    /// The newest keys.
    pub(crate) tip: Vec<RowBuf>,
    /// Where the Raft log stands in it, as [`RaftMark::surplus`].
    pub(crate) surplus: Option<i64>,
}

/// What a snapshot turned out to be.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) end: End,
    /// Revisions at which what was captured is not what the source has: the capture was wrong.
    pub(crate) wrong: Option<Parting>,
}

#[derive(Debug, Default)]
struct Look {
    end: End,
    /// Whether any revision could be compared.
    compared: bool,
    parting: Option<Parting>,
    sampled: Compared,
}

/// Compares a snapshot that was taken of `member` with what is known; of the Raft log, with what was known before it was
/// taken. `timeline` is asked for older rows where compaction
/// left nothing of the newest.
///
/// # Errors
/// [`AgentError::Lineage`] when it continues another history, [`AgentError::Diverged`] when only this member does, or when
/// that cannot be told.
pub(crate) async fn judge(
    taken: &Taken,
    known: &Known,
    timeline: Option<&Timeline>,
    (connection, member): (&Connection, &Member),
) -> Result<Judged, AgentError> {
    let mark = RaftMark {
        term: taken.identity.raft_term,
        index: taken.identity.raft_index,
        revision: taken.position.revision,
        surplus: None,
    };
    if known.cluster_id != taken.identity.cluster_id {
        return Err(AgentError::Lineage(format!(
            "its cluster id is {:x}, and was {:x}",
            taken.identity.cluster_id, known.cluster_id
        )));
    }
    if let Some(reason) = known.raft.gone_back(&mark) {
        return Err(AgentError::Lineage(reason));
    }
    let compact = taken.position.compact_revision;
    let sample = match (timeline, known.trail.last()) {
        (Some(timeline), Some(last)) if compact >= last => sample(timeline).await?,
        _ => Sample::default(),
    };
    let look = look(taken, known, sample).await?;
    let Some(parting) = look.parting else {
        if let Some(key) = look.sampled.foreign {
            return Err(AgentError::Lineage(format!(
                "its row of revision {} is not what was captured at that revision",
                key.main
            )));
        }
        let mark = RaftMark {
            surplus: look.end.surplus,
            ..mark
        };
        if !look.compared
            && let Some(reason) = known.raft.outgrown(&mark)
        {
            return Err(AgentError::Lineage(reason));
        }
        if !look.compared && look.sampled.same == 0 && !known.trail.is_empty() {
            tracing::warn!(
                "the source has compacted all that was captured: that it is the same one is known by its ids and its Raft log \
                 alone"
            );
        }
        return Ok(Judged {
            end: look.end,
            wrong: None,
        });
    };
    let reason = format!(
        "the snapshot of {} differs from what was captured between revisions {} and {}",
        taken.endpoint,
        parting.after.next(),
        parting.to
    );
    if known.tip.is_empty() {
        // Of what was captured only digests are left, as after a start without the store: whether it was wrong or the source is
        // another one can be told from the vault alone.
        return Err(AgentError::Lineage(reason));
    }
    match settle(connection, member, known).await?.0 {
        Verdict::Other(why) => return Err(AgentError::Lineage(format!("{reason}; {why}"))),
        Verdict::Continues | Verdict::Unknown => {}
    }
    // The newest keys are the same: either the watch was wrong, or the member is. The others know.
    consult_hashes(connection, taken, &reason).await?;
    tracing::error!(
        first = %parting.after.next(), last = %parting.to,
        "what was captured is not what the source has: a base takes its place, and what the source has compacted of it is lost"
    );
    Ok(Judged {
        end: look.end,
        wrong: Some(parting),
    })
}

/// Older rows of the vault; none while the store is away.
async fn sample(timeline: &Timeline) -> Result<Sample, AgentError> {
    let reading = async {
        match timeline.newest().await? {
            Some(newest) => Sample::read(timeline, &newest).await,
            None => Ok(Sample::default()),
        }
    };
    match reading.await {
        Err(AgentError::Vault(error)) if error.kind() == ErrorKind::Retry => {
            tracing::warn!(%error, "older rows cannot be compared with the source");
            Ok(Sample::default())
        }
        read => read,
    }
}

/// The end of a snapshot, and nothing compared.
pub(crate) async fn end(taken: &Taken) -> Result<End, AgentError> {
    Ok(look(taken, &Known::default(), Sample::default()).await?.end)
}

async fn look(taken: &Taken, known: &Known, sample: Sample) -> Result<Look, AgentError> {
    let path: PathBuf = taken.spooled.path().to_path_buf();
    let (position, known) = (taken.position, known.clone());
    let reading = tokio::task::spawn_blocking(move || read(&path, position, &known, &sample));
    let look = reading
        .await
        .map_err(|error| AgentError::Internal(format!("reading a snapshot: {error}")))??;
    Ok(look)
}

fn read(
    path: &Path,
    position: Position,
    known: &Known,
    sample: &Sample,
) -> Result<Look, FormatError> {
    let db = DbFile::open(path)?;
    let mut look = Look::default();
    let mut rows = db.rows()?;
    let mut check = known
        .trail
        .check(position.compact_revision, position.revision);
    if let Some((after, to)) = check.range() {
        look.compared = true;
        rows.seek(after.next())?;
        while let Some(row) = rows.next_row()?
            && row.key.main <= to
        {
            check.row(&row);
        }
    }
    look.parting = check.finish();
    for (first, last) in sample.ranges() {
        rows.seek(*first)?;
        while let Some(row) = rows.next_row()?
            && row.key.main <= *last
        {
            sample.compare(&row, &mut look.sampled);
        }
    }
    look.end = end_of(&db, position)?;
    Ok(look)
}

fn end_of(db: &DbFile, position: Position) -> Result<End, FormatError> {
    /// How far back the newest keys are looked for.
    const BACK: i64 = 32;
    let mut rows = db.rows()?;
    let last = position.revision;
    rows.seek(Revision(last.0.saturating_sub(BACK).max(0)))?;
    let mut newest = Newest8::default();
    let mut digest = RowDigest::default();
    while let Some(row) = rows.next_row()? {
        newest.row(&row);
        if row.key.main == last {
            digest.add(&row);
        }
    }
    let meta = db.bucket(META_BUCKET)?;
    let surplus = surplus(last, |name| match &meta {
        Some(meta) => meta.get(name),
        None => Ok(None),
    })?;
    Ok(End {
        surplus,
        last: (last > position.compact_revision && last > Revision::INITIAL).then_some(digest),
        tip: newest.finish(),
    })
}
