//! Handing the lead on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use revkeep_schemas::store_api::TakeLeadRequest;
use tokio::time::{Instant, sleep, timeout_at};

use super::core::Core;
use crate::{Result, StoreError};

/// How often it is looked at how far the other has come.
const PAUSE: Duration = Duration::from_millis(5);

/// The leader takes no commands until this is dropped; also when whoever asked for the hand-over goes away.
struct HandingOver<'a>(&'a AtomicBool);

impl<'a> HandingOver<'a> {
    /// `None` while another one is under way.
    fn begin(flag: &'a AtomicBool) -> Option<Self> {
        (!flag.swap(true, Ordering::AcqRel)).then_some(Self(flag))
    }
}

impl Drop for HandingOver<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Makes `target` the leader in this one's place. No commands are taken until it is, or until twice an election's time
/// has passed (Ongaro's thesis, section 3.10).
pub(super) async fn hand_over<O: Send + 'static>(core: &Arc<Core<O>>, target: u64) -> Result<()> {
    if !core.leads() {
        return Err(StoreError::NotLeader);
    }
    if target == core.config.member_id {
        return Ok(());
    }
    if !core.membership().voter_ids().any(|id| id == target) {
        return Err(StoreError::BadLeaderTransferee);
    }
    let _handing_over =
        HandingOver::begin(&core.handing_over).ok_or(StoreError::BadLeaderTransferee)?;
    try_hand_over(core, target).await
}

async fn try_hand_over<O: Send + 'static>(core: &Arc<Core<O>>, target: u64) -> Result<()> {
    let deadline = Instant::now() + core.config.election * 2;
    let work = async {
        while !core.has_whole_log(target) {
            sleep(PAUSE).await;
        }
        let link = core.link(target).ok_or(StoreError::BadLeaderTransferee)?;
        let message = TakeLeadRequest {
            route: Some(link.route()),
            term: core.term(),
        };
        let mut client = link.client();
        let limit = core.config.election;
        let told = link.call(limit, client.take_lead(message)).await;
        told.map_err(|status| super::peer::store_error(&status))?;
        let mut leadership = core.leadership.subscribe();
        let moved = leadership.wait_for(|now| now.leader == Some(target));
        moved.await.map(drop).map_err(|_| StoreError::Stopped)
    };
    timeout_at(deadline, work)
        .await
        .unwrap_or(Err(StoreError::TimeoutLeaderTransfer))
}

/// The leader wants this member in its place.
pub(super) async fn take_lead<O: Send + 'static>(core: &Arc<Core<O>>, term: u64) -> Result<()> {
    if core.term() != term || core.leads() {
        return Err(StoreError::LeaderChanged);
    }
    core.links.set_transfer(true);
    // Only a stopped library refuses.
    let elected = core.raft.trigger().elect().await;
    let core = Arc::clone(core);
    tokio::spawn(async move {
        // The votes are asked for right away; later elections are ordinary ones.
        sleep(core.config.election / 2).await;
        core.links.set_transfer(false);
    });
    elected.map_err(|_| StoreError::Stopped)
}
