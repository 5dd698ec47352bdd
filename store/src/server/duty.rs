//! What a member does by itself while it runs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use revkeep_schemas::etcd_api::etcdserverpb::CompactionRequest;
use revkeep_schemas::store_api::proposal::Command;
use revkeep_schemas::store_api::{ClusterVersion, MemberAttributes};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{AutoCompaction, Config, ServerUrl};
use crate::apply::Propose;
use crate::error::StoreError;
use crate::rpc::Engine;

/// The version of the API that the cluster speaks: etcd 3.5's.
const CLUSTER_VERSION: &str = "3.5.0";

/// How long a member waits before it tells its name again after that failed, mostly after a time-out.
const PUBLISH_PAUSE: Duration = Duration::from_millis(100);

/// How often the leader looks whether the cluster has a version (etcd, `monitorVersionInterval`).
const VERSION_INTERVAL: Duration = Duration::from_secs(4);

/// How often the compaction by revisions looks (etcd, `v3compactor/revision.go`).
const REVISION_INTERVAL: Duration = Duration::from_secs(300);

/// Into so many parts a period is cut (etcd, `v3compactor/periodic.go`).
const PERIOD_PARTS: u32 = 10;

/// Tells the cluster this member's name and client URLs, at every start, and says so to `ready` once this member has applied
/// it. Until then it serves no client (etcd, `server/etcdserver/server.go`, `publishV3`, and `server/embed/serve.go`): who
/// is served by a member finds it in the list of members, and sees what was agreed on before it started.
pub(super) async fn publish(
    engine: Arc<Engine>,
    name: String,
    client_urls: Vec<ServerUrl>,
    ready: watch::Sender<bool>,
) {
    let attributes = MemberAttributes {
        member_id: engine.options().member_id,
        name,
        client_urls: client_urls.iter().map(ToString::to_string).collect(),
    };
    let mut stopped = engine.raft().stopped();
    tokio::select! {
        biased;
        // With its sender gone, nobody waits for it any more.
        _ = stopped.wait_for(Option::is_some) => {}
        () = tell(&engine, &attributes) => {
            tracing::info!(
                name = attributes.name,
                client_urls = ?attributes.client_urls,
                "published this member"
            );
            ready.send_replace(true);
        }
    }
}

/// Returns once this member has applied what it tells.
async fn tell(engine: &Engine, attributes: &MemberAttributes) {
    let mut leadership = engine.watch_leadership();
    let mut asked = None;
    loop {
        let led = leadership.wait_for(|now| now.leader.is_some()).await;
        // The sender lives as long as the engine.
        asked = led.map_or(asked, |now| Some((now.leader, now.term)));
        let command = Command::MemberAttributes(attributes.clone());
        let proposed = tokio::select! {
            biased;
            proposed = Propose::propose(engine, command) => proposed,
            // The old leader may have lost it. Telling it twice does no harm.
            _ = leadership.wait_for(|now| {
                now.leader.is_some() && Some((now.leader, now.term)) != asked
            }) => continue,
        };
        match proposed {
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, "cannot publish this member yet");
                sleep(PUBLISH_PAUSE).await;
            }
        }
    }
}

/// Keeps the leases' time while this member leads, and sets the cluster's version.
pub(super) async fn lead(engine: Arc<Engine>) {
    let mut leadership = engine.watch_leadership();
    let mut was_leader = None;
    loop {
        let now = *leadership.borrow_and_update();
        let term = now.is_leader().then_some(now.term);
        if term != was_leader {
            was_leader = term;
            let lessor = &engine.shared().lessor;
            if term.is_some() {
                lessor.promote();
            } else {
                lessor.demote();
            }
        }
        let versionless = term.is_some() && engine.shared().members.cluster_version().is_none();
        if versionless {
            let version = ClusterVersion {
                version: CLUSTER_VERSION.to_owned(),
            };
            let set = Propose::propose(&*engine, Command::ClusterVersion(version)).await;
            if let Err(error) = set {
                tracing::warn!(%error, "cannot set the cluster's version yet");
            }
        }
        tokio::select! {
            biased;
            changed = leadership.changed() => if changed.is_err() {
                return;
            },
            () = sleep(VERSION_INTERVAL) => {}
        }
    }
}

/// Compacts the history by itself, on the leader, as the settings say.
pub(super) async fn compact(engine: Arc<Engine>, config: Config) {
    match config.auto_compaction {
        Some(AutoCompaction::Periodic(period)) => periodic(&engine, period).await,
        Some(AutoCompaction::Revision(keep)) => by_revision(&engine, keep).await,
        None => {}
    }
}

/// Compacts at the revision of one period ago, every period or every hour.
async fn periodic(engine: &Engine, period: Duration) {
    let interval = period.min(Duration::from_secs(3600));
    let step = interval / PERIOD_PARTS;
    let kept = period.as_nanos() / step.as_nanos().max(1) + 1;
    let mut revisions = VecDeque::new();
    let mut last = Instant::now();
    let mut wait = period;
    loop {
        revisions.push_back(engine.shared().mvcc.revision());
        if revisions.len() as u128 > kept {
            revisions.pop_front();
        }
        sleep(step).await;
        if !engine.leadership().is_leader() || last.elapsed() < wait {
            continue;
        }
        wait = interval;
        if let Some(&revision) = revisions.front()
            && compacted(engine, revision).await
        {
            last = Instant::now();
        }
    }
}

/// Compacts so that so many revisions are kept.
async fn by_revision(engine: &Engine, keep: i64) {
    let mut previous = 0;
    loop {
        sleep(REVISION_INTERVAL).await;
        let revision = engine.shared().mvcc.revision() - keep;
        if engine.leadership().is_leader()
            && revision > 0
            && revision != previous
            && compacted(engine, revision).await
        {
            previous = revision;
        }
    }
}

async fn compacted(engine: &Engine, revision: i64) -> bool {
    let request = CompactionRequest {
        revision,
        physical: false,
    };
    match Propose::propose(engine, Command::Compaction(request)).await {
        Ok(_) => {
            tracing::info!(revision, "compacted by itself");
            true
        }
        Err(StoreError::Compacted) => true,
        Err(error) => {
            tracing::warn!(%error, revision, "cannot compact by itself");
            false
        }
    }
}
