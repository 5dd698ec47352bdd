//! Reads that must not be stale.

use std::{sync::Arc, time::Duration};

use revkeep_schemas::store_api::ReadIndexRequest;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};

use super::{Role, core::Core, types::position_or_origin};
use crate::{Result, StoreError};

/// How many reads may wait for a round.
pub(super) const QUEUE: usize = 20_000;

/// Reads that one round serves.
const ROUND: usize = 10_000;

/// How long to wait before a round that failed is tried again (etcd tries again every 500 ms, by its ticks).
const PAUSE: Duration = Duration::from_millis(30);

/// Somebody who waits for the index that its read must see.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) answer: oneshot::Sender<Result<u64>>,
    pub(super) deadline: Instant,
    /// Asked by another member: it is told at once when this one does not lead.
    pub(super) leader_only: bool,
}

/// Finds out, for all that wait at once, up to which index everything was agreed on when they came: one round of
/// confirmations that this member still leads, or one question to the leader, serves them all (Ongaro's thesis, section
/// 6.4).
pub(super) async fn run<O: Send + 'static>(core: Arc<Core<O>>, mut reads: mpsc::Receiver<Read>) {
    let mut round = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = core.stopper.stopped() => return,
            taken = reads.recv_many(&mut round, ROUND) => if taken == 0 { return },
        }
        serve(&core, &mut round).await;
    }
}

async fn serve<O: Send + 'static>(core: &Core<O>, round: &mut Vec<Read>) {
    let leader = core.leadership().leader;
    while !round.is_empty() {
        if !core.leads() {
            refuse(round, |read| read.leader_only, &StoreError::NotLeader);
        }
        if let Some(index) = ask(core).await {
            for read in round.drain(..) {
                // Its client may have gone.
                let _ = read.answer.send(Ok(index));
            }
            return;
        }
        let now = core.leadership().leader;
        if leader.is_some() && now.is_some() && now != leader {
            // As etcd: whoever waited through a change of the leader is told to try again.
            refuse(round, |_| true, &StoreError::LeaderChanged);
            return;
        }
        let moment = Instant::now();
        refuse(round, |read| read.deadline <= moment, &StoreError::Timeout);
        round.retain(|read| !read.answer.is_closed());
        if round.is_empty() || core.stopper.is_stopped() {
            return;
        }
        sleep(PAUSE).await;
    }
}

fn refuse(round: &mut Vec<Read>, which: impl Fn(&Read) -> bool, why: &StoreError) {
    for read in round.extract_if(.., |read| which(read)) {
        let _ = read.answer.send(Err(why.clone()));
    }
}

/// One try.
async fn ask<O: Send + 'static>(core: &Core<O>) -> Option<u64> {
    if core.leadership().role == Role::Leader {
        let confirmed = core.raft.get_read_log_id().await;
        return match confirmed {
            Ok((id, _)) => Some(position_or_origin(id.as_ref()).index),
            Err(error) => {
                tracing::debug!(%error, "leadership was not confirmed for a read");
                None
            }
        };
    }
    let leader = core.leader_link()?;
    let message = ReadIndexRequest {
        route: Some(leader.route()),
    };
    let mut client = leader.client();
    let limit = core.config.election;
    let response = leader.call(limit, client.read_index(message)).await;
    response.ok()?.index
}
