//! Asks a member, and where its content differs the other members too.

use std::time::Duration;

use futures::future::join_all;
use revkeep_schemas::kv::key_of;
use revkeep_schemas::{Revision, RowBuf};

use super::known::Beyond;
use super::{Known, RaftMark};
use crate::AgentError;
use crate::base::Taken;
use crate::source::{Connection, Identity, KeyAt, Member, TransactionAt};

/// How long another member may take to be reached.
const REACH: Duration = Duration::from_secs(3);

/// What a member's content says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It is what was captured.
    Same,
    /// It is not.
    Differs(String),
    /// There is nothing to compare, or the member has compacted it.
    Nothing,
}

/// What a source is to a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its continuation.
    Continues,
    /// As far as can be told without a snapshot: nothing that was captured can be read back.
    Unknown,
    /// Another history, and why.
    Other(String),
}

/// Decides; gives where the source's Raft log stands, and who answered.
///
/// # Errors
/// [`AgentError::Diverged`] when only this member's content differs, or when nobody can tell; when it does not answer.
pub(crate) async fn settle(
    connection: &Connection,
    member: &Member,
    known: &Known,
) -> Result<(Verdict, RaftMark, Identity), AgentError> {
    // The member answers this only once it has applied all that its cluster has committed: what its log says is no longer
    // behind.
    let current = member.current_revision().await?;
    let identity = member.identity().await?;
    let mark = RaftMark {
        term: identity.raft_term,
        index: identity.raft_index,
        revision: current,
        surplus: None,
    };
    let verdict = match other(known, &identity, &mark) {
        Some(reason) => Verdict::Other(reason),
        None => match read(member, known).await? {
            Reading::Same => Verdict::Continues,
            // Nothing is known of its content, or it had none.
            Reading::Nothing if known.tip.is_empty() && !known.was_witnessed() => {
                Verdict::Continues
            }
            Reading::Nothing => Verdict::Unknown,
            Reading::Differs(reason) => {
                Verdict::Other(consult(connection, member, &identity, known, reason).await?)
            }
        },
    };
    Ok((verdict, mark, identity))
}

/// [`settle`] without a question to the other members: a member whose content differs is as another source.
///
/// # Errors
/// When the member does not answer.
pub(crate) async fn settle_alone(member: &Member, known: &Known) -> Result<Verdict, AgentError> {
    let current = member.current_revision().await?;
    let identity = member.identity().await?;
    let mark = RaftMark {
        term: identity.raft_term,
        index: identity.raft_index,
        revision: current,
        surplus: None,
    };
    if let Some(reason) = other(known, &identity, &mark) {
        return Ok(Verdict::Other(reason));
    }
    Ok(match read(member, known).await? {
        Reading::Same => Verdict::Continues,
        Reading::Nothing => Verdict::Unknown,
        Reading::Differs(reason) => Verdict::Other(reason),
    })
}

/// What speaks against it before any content is read.
fn other(known: &Known, identity: &Identity, mark: &RaftMark) -> Option<String> {
    if known.cluster_id != identity.cluster_id {
        return Some(format!(
            "its cluster id is {:x}, and was {:x}",
            identity.cluster_id, known.cluster_id
        ));
    }
    if let Some(reason) = known.raft.gone_back(mark) {
        return Some(reason);
    }
    let last = known.reached();
    (mark.revision < last).then(|| {
        format!(
            "it stands at revision {}, and {last} was captured",
            mark.revision
        )
    })
}

/// Reads back what is known.
async fn read(member: &Member, known: &Known) -> Result<Reading, AgentError> {
    for (row, at) in known.beyond().into_iter().flat_map(Beyond::rows) {
        // What is compacted of it says nothing.
        if let Reading::Differs(reason) = read_row(member, row, at).await? {
            return Ok(Reading::Differs(reason));
        }
    }
    if let (true, Some(witness)) = (known.trail.last().is_none(), known.witness) {
        if witness.revision <= Revision::INITIAL {
            return Ok(Reading::Nothing);
        }
        return Ok(match member.transaction_at(witness.revision).await? {
            TransactionAt::Rows(digest) if digest == witness.digest => Reading::Same,
            TransactionAt::Rows(_) | TransactionAt::Later => Reading::Differs(format!(
                "its revision {} is not the one that the timeline began with",
                witness.revision
            )),
            TransactionAt::Compacted => Reading::Nothing,
        });
    }
    let at = known.trail.last().unwrap_or_default();
    for row in &known.tip {
        match read_row(member, row, at).await? {
            Reading::Same => {}
            other => return Ok(other),
        }
    }
    Ok(if known.tip.is_empty() {
        Reading::Nothing
    } else {
        Reading::Same
    })
}

async fn read_row(member: &Member, row: &RowBuf, at: Revision) -> Result<Reading, AgentError> {
    let key = key_of(&row.value)?;
    let expected = (!row.key.tombstone).then_some(&row.value[..]);
    Ok(match member.key_at(key, at).await? {
        KeyAt::Compacted => Reading::Nothing,
        KeyAt::Found(found) if found.as_deref() == expected => Reading::Same,
        KeyAt::Found(_) | KeyAt::Later => Reading::Differs(format!(
            "at revision {at} a key that was written at revision {} is not what was captured",
            row.key.main
        )),
    })
}

/// The other members, by every address that is known of them.
async fn others(connection: &Connection, member: &Member, own: u64) -> (usize, Vec<Member>) {
    let mut addresses = connection.endpoints.clone();
    let mut voters = 0;
    match member.members().await {
        Ok(members) => {
            voters = members.iter().filter(|one| !one.is_learner).count();
            let urls = members.into_iter().filter(|one| one.member_id != own);
            addresses.extend(urls.flat_map(|one| one.client_urls));
        }
        Err(error) => tracing::debug!(%error, "the members are not known"),
    }
    addresses.retain(|address| address != member.endpoint());
    addresses.sort();
    addresses.dedup();
    let connecting = addresses.iter().map(async |address| {
        let connected = tokio::time::timeout(REACH, Member::connect(connection, address)).await;
        let (other, identity) = connected.ok()?.ok()?;
        (identity.member_id != own).then_some((identity.member_id, other))
    });
    let mut found: Vec<_> = join_all(connecting).await.into_iter().flatten().collect();
    found.sort_by_key(|(id, _)| *id);
    found.dedup_by_key(|(id, _)| *id);
    let found = found.into_iter().map(|(_, other)| other).collect();
    (voters, found)
}

/// This member's content differs, for `reason`, though its log goes on. Gives the reason when the whole cluster differs.
async fn consult(
    connection: &Connection,
    member: &Member,
    identity: &Identity,
    known: &Known,
    reason: String,
) -> Result<String, AgentError> {
    let (voters, others) = others(connection, member, identity.member_id).await;
    if voters == 1 {
        return Ok(reason);
    }
    let reading = others.iter().map(async |other| {
        let asking = async {
            let current = other.current_revision().await?;
            let who = other.identity().await?;
            if who.cluster_id != identity.cluster_id {
                return Ok(None);
            }
            if current < known.reached() {
                return Ok(Some((
                    other.endpoint(),
                    Reading::Differs("it is behind".into()),
                )));
            }
            let reading = read(other, known).await?;
            Ok::<_, AgentError>(Some((other.endpoint(), reading)))
        };
        tokio::time::timeout(REACH, asking).await.ok()?.ok()?
    });
    let answers: Vec<_> = join_all(reading).await.into_iter().flatten().collect();
    let same = answers
        .iter()
        .find(|(_, reading)| *reading == Reading::Same);
    if let Some((endpoint, _)) = same {
        return Err(AgentError::Diverged(format!(
            "{} has diverged from its cluster: {reason}, which is what {endpoint} has; nothing of it is stored: remove this \
             member and add it again",
            member.endpoint()
        )));
    }
    let differ = |(_, reading): &&(&str, Reading)| matches!(reading, Reading::Differs(_));
    match answers.iter().filter(differ).count() {
        0 => Err(AgentError::Diverged(format!(
            "{}: {reason}; whether the cluster is another one, or this member has diverged from it, cannot be told while no \
             other member answers; nothing is stored until then: name all members in --endpoints",
            member.endpoint()
        ))),
        members => Ok(format!("{reason}, on {} members", members + 1)),
    }
}

/// A snapshot differs from what was captured, for `reason`, though its newest keys are the same: compares its hash with
/// those of the other members, at the same revision and compaction.
///
/// # Errors
/// [`AgentError::Diverged`] when others have another hash.
pub(super) async fn consult_hashes(
    connection: &Connection,
    taken: &Taken,
    reason: &str,
) -> Result<(), AgentError> {
    let Ok((member, _)) = Member::connect(connection, &taken.endpoint).await else {
        return Ok(());
    };
    let Ok(Some(ours)) = member.hash_kv(taken.position.revision).await else {
        return Ok(());
    };
    let (_, others) = others(connection, &member, taken.identity.member_id).await;
    for other in others {
        match other.hash_kv(ours.revision).await {
            Ok(Some(theirs))
                if theirs.compact_revision == ours.compact_revision && theirs.hash != ours.hash =>
            {
                return Err(AgentError::Diverged(format!(
                    "{} or {} has diverged from its cluster: {reason}, and their hashes at revision {} differ; compare the \
                     hashes of all members (etcdctl endpoint hashkv)",
                    taken.endpoint,
                    other.endpoint(),
                    ours.revision
                )));
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "another member gave no hash"),
        }
    }
    Ok(())
}
