//! From commands to log entries.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream::FuturesUnordered};
use openraft::error::ClientWriteError;
use revkeep_schemas::store_api::{Proposal, ProposeRequest};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use super::{core::Core, peer::never_sent, types::Commands};

/// Commands of one entry, at most.
const BATCH_COMMANDS: usize = 1_000;

/// Bytes of one entry, about: one command may be larger alone.
const BATCH_BYTES: usize = 1024 * 1024;

/// How many commands may wait to be taken into an entry.
pub(super) const QUEUE: usize = 10_000;

/// How many bytes of commands may wait. What this member's log has taken does not count.
pub(super) const QUEUE_BYTES: u64 = 256 * 1024 * 1024;

/// Entries on their way at once: while one is synced here the next gathers, and the followers sync the one before.
const IN_FLIGHT: usize = 3;

/// How long commands wait before they are offered again, when there is no leader or it has just changed.
const PAUSE: Duration = Duration::from_millis(20);

/// Something to be put into an entry: an encoded piece of a `Batch`, and who waits.
///
/// A protobuf message is the concatenation of its pieces, so entries are put together without decoding them.
#[derive(Debug)]
pub(super) struct Item<O> {
    pub(super) batch: Bytes,
    pub(super) from: From<O>,
}

#[derive(Debug)]
pub(super) enum From<O> {
    /// A command of this member, whose client waits for the outcome.
    Here {
        proposal: Proposal,
        waiter: oneshot::Sender<O>,
    },
    /// Commands of a member that waits for them to be taken or refused.
    Peer(oneshot::Sender<bool>),
}

/// What was put together and is not in a log yet.
struct Load {
    commands: Commands,
    /// This member's own commands. They come first in the entry, in `own_len` bytes.
    own: Arc<[Proposal]>,
    own_len: usize,
    /// Who waits for the others to be taken.
    peers: Vec<oneshot::Sender<bool>>,
}

impl Load {
    /// What is left when the others' commands have been given back.
    fn own_only(self) -> Option<Self> {
        for peer in self.peers {
            // It may have given up.
            let _ = peer.send(false);
        }
        if self.own.is_empty() {
            return None;
        }
        let batch = self.commands.batch.slice(..self.own_len);
        Some(Self {
            commands: Commands::new(batch, Some(Arc::clone(&self.own))),
            own: self.own,
            own_len: self.own_len,
            peers: Vec::new(),
        })
    }
}

type Flight = Pin<Box<dyn Future<Output = Option<Load>> + Send>>;

/// Makes one entry of all that waits, again and again.
pub(super) async fn run<O: Send + 'static>(core: Arc<Core<O>>, mut items: mpsc::Receiver<Item<O>>) {
    let mut flights: FuturesUnordered<Flight> = FuturesUnordered::new();
    // Refused for sure, so to be offered again.
    let mut again: Vec<Load> = Vec::new();
    let mut waiting = Vec::with_capacity(BATCH_COMMANDS);
    loop {
        if let Some(load) = again.pop() {
            flights.push(launch(Arc::clone(&core), load, true));
            continue;
        }
        tokio::select! {
            biased;
            () = core.stopper.stopped() => return,
            Some(back) = flights.next(), if !flights.is_empty() => again.extend(back),
            taken = items.recv_many(&mut waiting, BATCH_COMMANDS), if flights.len() < IN_FLIGHT => {
                if taken == 0 {
                    return;
                }
                while !waiting.is_empty() {
                    if let Some(load) = gather(&core, &mut waiting) {
                        flights.push(launch(Arc::clone(&core), load, false));
                    }
                }
            }
        }
    }
}

/// Puts one entry together from the front of what waits, and notes who waits for it. `None` if nobody does any more.
fn gather<O: Send + 'static>(core: &Core<O>, waiting: &mut Vec<Item<O>>) -> Option<Load> {
    let mut bytes = 0;
    let fitting = waiting
        .iter()
        .take_while(|item| {
            let first = bytes == 0;
            bytes += item.batch.len();
            first || bytes <= BATCH_BYTES
        })
        .count();
    let taken: Vec<Item<O>> = waiting.drain(..fitting).collect();
    let total: usize = taken.iter().map(|item| item.batch.len()).sum();
    core.queued_bytes.fetch_sub(total as u64, Ordering::Relaxed);

    let mut own = Vec::with_capacity(taken.len());
    let mut waiters = Vec::with_capacity(taken.len());
    let mut peers = Vec::new();
    let mut pieces = Vec::with_capacity(taken.len());
    let mut foreign = Vec::new();
    for item in taken {
        match item.from {
            // Its client has gone before anything was done.
            From::Here { waiter, .. } if waiter.is_closed() => {}
            From::Here { proposal, waiter } => {
                waiters.push((proposal.id, waiter));
                own.push(proposal);
                pieces.push(item.batch);
            }
            From::Peer(peer) => {
                peers.push(peer);
                foreign.push(item.batch);
            }
        }
    }
    if own.is_empty() && peers.is_empty() {
        return None;
    }
    core.waiters.add(waiters.into_iter());
    let own: Arc<[Proposal]> = own.into();
    let own_len = pieces.iter().map(Bytes::len).sum();
    pieces.append(&mut foreign);
    let decoded = peers.is_empty().then(|| Arc::clone(&own));
    Some(Load {
        commands: Commands::new(concatenate(pieces, total), decoded),
        own,
        own_len,
        peers,
    })
}

fn concatenate(mut pieces: Vec<Bytes>, total: usize) -> Bytes {
    if pieces.len() == 1 {
        return pieces.pop().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(total);
    for piece in pieces {
        all.extend_from_slice(&piece);
    }
    all.freeze()
}

/// Sends an entry on its way. It comes back if it has been refused for sure and somebody still waits.
fn launch<O: Send + 'static>(core: Arc<Core<O>>, load: Load, again: bool) -> Flight {
    Box::pin(async move {
        if again {
            sleep(PAUSE).await;
            if !core.waiters.has_any(load.own.iter().map(|own| own.id)) {
                return None;
            }
        }
        if core.is_handing_over() {
            return load.own_only();
        }
        if core.leads() {
            return here(&core, load).await;
        }
        // Only a leader takes commands of others.
        let load = load.own_only()?;
        match core.leader_link() {
            Some(leader) => there(&core, &leader, load).await,
            None => Some(load),
        }
    })
}

/// Into this member's own log, as the leader.
async fn here<O: Send + 'static>(core: &Core<O>, mut load: Load) -> Option<Load> {
    let commands = load.commands.clone();
    let Ok(mut written) = core.raft.client_write_ff(commands).await else {
        return None;
    };
    let answer = tokio::select! {
        biased;
        answer = &mut written => Some(answer),
        () = leadership_without(core, core.config.member_id) => {
            // The library's word may be a moment behind; but it has none for an entry that a snapshot has covered.
            timeout(core.config.election / 2, &mut written).await.ok()
        }
    };
    match answer? {
        Ok(Ok(_)) => {
            for peer in load.peers.drain(..) {
                // It may have given up.
                let _ = peer.send(true);
            }
            None
        }
        Ok(Err(ClientWriteError::ForwardToLeader(_))) if !load.commands.is_taken() => {
            load.own_only()
        }
        // Cut off by another leader, or the member stops: some log may still hold it, so it is not offered again.
        _ => None,
    }
}

/// Into the leader's log.
async fn there<O: Send + 'static>(
    core: &Core<O>,
    leader: &super::peer::Link,
    load: Load,
) -> Option<Load> {
    let message = ProposeRequest {
        route: Some(leader.route()),
        batch: load.commands.batch.clone(),
    };
    let mut client = leader.client();
    let limit = core.config.request_timeout();
    let answer = tokio::select! {
        biased;
        answer = leader.call(limit, client.propose(message)) => answer,
        // Whoever it was may have taken them; the next ones go to the next leader.
        () = leadership_without(core, leader.route().to) => return None,
    };
    match answer {
        Ok(response) if response.accepted => None,
        Ok(_) => Some(load),
        Err(status) if never_sent(&status) => Some(load),
        // Whether the leader has taken them nobody knows: their clients wait for what this member applies.
        Err(_) => None,
    }
}

/// Returns once `leader` is not the leader, as far as this member knows.
async fn leadership_without<O: Send + 'static>(core: &Core<O>, leader: u64) {
    let mut leadership = core.leadership.subscribe();
    // The sender lives as long as the member.
    let _ = leadership.wait_for(|now| now.leader != Some(leader)).await;
}
