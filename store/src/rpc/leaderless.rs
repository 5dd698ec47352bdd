//! Streams of clients that would rather hear than wait when the member has lost the leader.

use std::sync::Arc;
use std::time::Duration;

use tonic::Status;
use tonic::metadata::MetadataMap;

use super::engine::Engine;
use crate::error::StoreError;

/// The metadata by which a client asks for it (etcd, `api/v3rpc/rpctypes/metadatafields.go`).
const REQUIRE_LEADER: &str = "hasleader";

/// How many election time-outs without a leader end a stream: to connect again costs more than a refusal (etcd,
/// `server/etcdserver/api/v3rpc/interceptor.go`, `maxNoLeaderCnt`).
const ELECTIONS_WITHOUT: u32 = 3;

/// Whether a request asks to be refused while the member knows no leader.
pub(super) fn requires_leader(metadata: &MetadataMap) -> bool {
    metadata
        .get(REQUIRE_LEADER)
        .is_some_and(|value| value == "true")
}

/// Ends a stream that asked for it once there has been no leader for a while.
pub(super) struct Leaderless {
    /// Absent for a stream that did not ask.
    engine: Option<Arc<Engine>>,
}

impl Leaderless {
    /// What a stream's first request asks for.
    pub(super) fn of<T>(engine: &Arc<Engine>, request: &tonic::Request<T>) -> Self {
        Self {
            engine: requires_leader(request.metadata()).then(|| Arc::clone(engine)),
        }
    }

    /// Waits until the stream has to end, for ever if it did not ask. May be dropped and called again.
    pub(super) async fn ended(&self) -> Status {
        let Some(engine) = &self.engine else {
            return std::future::pending().await;
        };
        let patience: Duration = engine.options().election_timeout * ELECTIONS_WITHOUT;
        let mut leadership = engine.watch_leadership();
        loop {
            if leadership
                .wait_for(|now| now.leader.is_none())
                .await
                .is_err()
            {
                return StoreError::Stopped.into();
            }
            let found = leadership.wait_for(|now| now.leader.is_some());
            if tokio::time::timeout(patience, found).await.is_err() {
                return StoreError::NoLeader.into();
            }
        }
    }
}
