//! The links to all members.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::Link;
use crate::raft::{Dial, PeerNode, RaftConfig};

/// The links to all members, and what they must know of this one.
#[derive(Debug)]
pub(in crate::raft) struct Links {
    cluster_id: u64,
    member_id: u64,
    dial: Arc<dyn Dial>,
    patience: Duration,
    by_id: Mutex<BTreeMap<u64, Arc<Link>>>,
    /// A leader that has lost the majority falls silent, so that the others may elect another.
    silenced: AtomicBool,
    /// The running election was asked for by the leader.
    transfer: AtomicBool,
}

impl Links {
    pub(in crate::raft) fn new(config: &RaftConfig, dial: Arc<dyn Dial>) -> Self {
        Self {
            cluster_id: config.cluster_id,
            member_id: config.member_id,
            dial,
            patience: config.election,
            by_id: Mutex::default(),
            silenced: AtomicBool::new(false),
            transfer: AtomicBool::new(false),
        }
    }

    /// The link to a member at these addresses.
    pub(in crate::raft) fn to(&self, id: u64, node: &PeerNode) -> Arc<Link> {
        let mut links = self.by_id.lock();
        let link = links.entry(id).or_insert_with(|| {
            let route = (self.cluster_id, self.member_id, id);
            let urls = node.peer_urls.clone();
            Arc::new(Link::new(
                route,
                urls,
                Arc::clone(&self.dial),
                self.patience,
            ))
        });
        link.set_urls(&node.peer_urls);
        Arc::clone(link)
    }

    /// The link to a member that was met before.
    pub(in crate::raft) fn known(&self, id: u64) -> Option<Arc<Link>> {
        self.by_id.lock().get(&id).cloned()
    }

    /// Drops the links to members that are none any more.
    pub(in crate::raft) fn keep(&self, is_member: impl Fn(u64) -> bool) {
        self.by_id.lock().retain(|id, _| is_member(*id));
    }

    pub(in crate::raft) fn set_silenced(&self, silenced: bool) {
        self.silenced.store(silenced, Ordering::Release);
    }

    pub(in crate::raft) fn is_silenced(&self) -> bool {
        self.silenced.load(Ordering::Acquire)
    }

    pub(in crate::raft) fn set_transfer(&self, transfer: bool) {
        self.transfer.store(transfer, Ordering::Release);
    }

    pub(in crate::raft) fn is_transfer(&self) -> bool {
        self.transfer.load(Ordering::Acquire)
    }
}
