//! Does what was planned.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp, TxnOpResponse, TxnResponse};
use futures::{StreamExt, stream};
use tokio::sync::watch;

use super::{Action, Live, Step};
use crate::error::{Kind, RestoreError};

/// etcd's default limit of operations in a transaction (etcd, `--max-txn-ops`).
const MAX_OPERATIONS: usize = 128;
/// etcd's default limit of a request is 1.5 MiB (etcd, `--max-request-bytes`); a larger value goes alone and is etcd's to refuse.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// Transactions that are under way at once: each is of other keys.
const PARALLEL: usize = 4;
/// How often a transaction without an answer is sent again, with its guards.
const TRIES: u32 = 6;

/// A key that was not touched, because it is no longer what the plan saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The key.
    pub key: Vec<u8>,
    /// Its mod revision as the plan saw it; zero where it was not there.
    pub planned: i64,
    /// Its mod revision now; zero where it is not there.
    pub found: i64,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Keys that were put.
    pub put: usize,
    /// Keys that were deleted.
    pub deleted: usize,
    /// Keys that were already what they should be: another wrote the same, or an answer was lost.
    pub already: usize,
    /// Keys that others have changed.
    pub conflicts: Vec<Conflict>,
    /// The newest revision that this made, or zero.
    pub revision: i64,
}

impl Applied {
    fn add(&mut self, other: Self) {
        self.put += other.put;
        self.deleted += other.deleted;
        self.already += other.already;
        self.conflicts.extend(other.conflicts);
        self.revision = self.revision.max(other.revision);
    }
}

/// Why a plan was not carried out to its end, and what was done of it.
#[derive(Debug)]
pub struct Unfinished {
    /// What was done.
    pub applied: Applied,
    /// The keys of the transactions that failed: where no answer came, they may have been changed all the same.
    pub failed: Vec<Vec<u8>>,
    /// Why.
    pub error: RestoreError,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for Unfinished {}

/// What became of one batch.
enum Fate {
    Done(Applied),
    Failed(RestoreError),
    /// Something else failed before it was begun.
    Left,
}

/// Does the steps in guarded transactions. `done` is told of the steps of each transaction once etcd has acknowledged it.
/// After a failure nothing more is begun, and what is under way is waited for.
///
/// # Errors
/// When the cluster cannot be reached or refuses, or `cancelled` turns true; what `done` was told of stays done.
pub async fn apply(
    live: &Live,
    steps: &[Step],
    cancelled: &watch::Receiver<bool>,
    mut done: impl FnMut(&[Step]) -> Result<(), RestoreError>,
) -> Result<Applied, Box<Unfinished>> {
    let mut all = Applied::default();
    let (mut failure, mut failed) = (None, Vec::new());
    let ended = AtomicBool::new(false);
    {
        let ended = &ended;
        let mut working = std::pin::pin!(
            stream::iter(batches(steps))
                .map(|batch| async move {
                    if ended.load(Ordering::Relaxed) || *cancelled.borrow() {
                        return (batch, Fate::Left);
                    }
                    match put_back(live, batch, cancelled).await {
                        Ok(applied) => (batch, Fate::Done(applied)),
                        Err(error) => (batch, Fate::Failed(error)),
                    }
                })
                .buffer_unordered(PARALLEL)
        );
        while let Some((batch, fate)) = working.next().await {
            let error = match fate {
                Fate::Done(applied) => {
                    let told = done(&kept(batch, &applied));
                    all.add(applied);
                    told.err()
                }
                Fate::Failed(error) => {
                    failed.extend(batch.iter().map(|step| step.key.clone()));
                    Some(error)
                }
                Fate::Left => Some(interrupted()),
            };
            if let Some(error) = error {
                ended.store(true, Ordering::Relaxed);
                failure.get_or_insert(error);
            }
        }
    }
    all.conflicts.sort_by(|a, b| a.key.cmp(&b.key));
    match failure {
        None => Ok(all),
        Some(error) => Err(Box::new(Unfinished {
            applied: all,
            failed,
            error,
        })),
    }
}

fn interrupted() -> RestoreError {
    RestoreError::new(Kind::Interrupted, "interrupted; what was put stays")
}

/// The steps of a batch that were not given up.
fn kept(batch: &[Step], applied: &Applied) -> Vec<Step> {
    let lost = |step: &&Step| {
        let mut conflicts = applied.conflicts.iter();
        conflicts.any(|conflict| conflict.key == step.key)
    };
    batch.iter().filter(|step| !lost(step)).cloned().collect()
}

/// Cuts steps into what one request can hold.
fn batches(steps: &[Step]) -> Vec<&[Step]> {
    let (mut batches, mut rest) = (Vec::new(), steps);
    while !rest.is_empty() {
        let mut bytes = 0_usize;
        let fits = rest.iter().take(MAX_OPERATIONS).take_while(|step| {
            bytes = bytes.saturating_add(step.bytes());
            bytes <= MAX_BATCH_BYTES
        });
        let (batch, later) = rest.split_at(fits.count().max(1));
        batches.push(batch);
        rest = later;
    }
    batches
}

/// One batch: all of it, or all but those keys that others have changed.
async fn put_back(
    live: &Live,
    batch: &[Step],
    cancelled: &watch::Receiver<bool>,
) -> Result<Applied, RestoreError> {
    let mut applied = Applied::default();
    let mut left: Vec<&Step> = batch.iter().collect();
    while !left.is_empty() {
        let answer = send(live, &left, cancelled).await?;
        if answer.succeeded() {
            for step in left {
                match step.action {
                    Action::Put(_) => applied.put += 1,
                    Action::Delete => applied.deleted += 1,
                }
            }
            applied.revision = answer
                .header()
                .map_or(0, etcd_client::ResponseHeader::revision);
            break;
        }
        let now = found(&answer);
        let before = left.len();
        left.retain(|step| {
            let now = now.get(&step.key);
            let mod_revision = now.map_or(0, |now| now.0);
            if mod_revision == step.seen {
                return true;
            }
            let as_wished = match (&step.action, now) {
                (Action::Put(wish), Some((_, value, lease))) => wish.is(value, *lease),
                (Action::Delete, None) => true,
                _ => false,
            };
            if as_wished {
                applied.already += 1;
            } else {
                applied.conflicts.push(Conflict {
                    key: step.key.clone(),
                    planned: step.seen,
                    found: mod_revision,
                });
            }
            false
        });
        if left.len() == before {
            return Err(RestoreError::new(
                Kind::Failed,
                "the live cluster refuses a transaction and names no key that differs; try again",
            ));
        }
    }
    Ok(applied)
}

/// What the keys of a refused transaction are now.
fn found(answer: &TxnResponse) -> BTreeMap<Vec<u8>, (i64, Bytes, i64)> {
    let responses = answer.op_responses();
    let kvs = responses.iter().filter_map(|response| match response {
        TxnOpResponse::Get(get) => get.kvs().first(),
        _ => None,
    });
    kvs.map(|kv| {
        let value = Bytes::copy_from_slice(kv.value());
        (kv.key().to_vec(), (kv.mod_revision(), value, kv.lease()))
    })
    .collect()
}

/// Sends a transaction until it is answered. Sending it twice does no harm: the second finds its guards broken, and the keys
/// as they were wished.
async fn send(
    live: &Live,
    steps: &[&Step],
    cancelled: &watch::Receiver<bool>,
) -> Result<TxnResponse, RestoreError> {
    let mut tried = 0;
    let mut cancelled = cancelled.clone();
    loop {
        let mut kv = live.kv.clone();
        let answer = live
            .within("put keys back", kv.txn(transaction(steps)))
            .await;
        tried += 1;
        let error = match answer {
            Err(error) if error.kind() == Kind::Unreachable && tried < TRIES => error,
            other => return other,
        };
        tracing::warn!(%error, "a transaction was not answered; sending it again");
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(100) * 2_u32.pow(tried)) => {}
            Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => {
                return Err(interrupted().because(error));
            }
        }
    }
}

fn transaction(steps: &[&Step]) -> Txn {
    let guards = steps
        .iter()
        .map(|step| Compare::mod_revision(step.key.clone(), CompareOp::Equal, step.seen));
    let changes = steps.iter().map(|step| match &step.action {
        Action::Put(wish) => {
            let options = (wish.lease != 0).then(|| PutOptions::new().with_lease(wish.lease));
            TxnOp::put(step.key.clone(), wish.value.to_vec(), options)
        }
        Action::Delete => TxnOp::delete(step.key.clone(), None),
    });
    let looks = steps.iter().map(|step| TxnOp::get(step.key.clone(), None));
    Txn::new()
        .when(guards.collect::<Vec<_>>())
        .and_then(changes.collect::<Vec<_>>())
        .or_else(looks.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Wish;

    #[test]
    fn a_batch_is_what_etcd_takes() {
        let step = |size: usize| Step {
            key: b"k".to_vec(),
            seen: 1,
            action: Action::Put(Wish {
                value: vec![0; size].into(),
                lease: 0,
            }),
        };
        let of = |sizes: &[usize]| -> Vec<usize> {
            let steps: Vec<_> = sizes.iter().map(|size| step(*size)).collect();
            batches(&steps).into_iter().map(<[Step]>::len).collect()
        };
        assert_eq!(of(&[]), [0_usize; 0]);
        assert_eq!(of(&[1; 300]), [128, 128, 44]);
        assert_eq!(of(&[400_000; 5]), [2, 2, 1]);
        assert_eq!(of(&[10, 3_000_000, 10]), [1, 1, 1]);
    }
}
