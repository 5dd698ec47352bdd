//! What other members are told while this one applies more slowly than they do.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use revkeep_schemas::{
    etcd_api::etcdserverpb::{LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, PutRequest},
    store_api::proposal::Command,
};
use tokio::time::{sleep, timeout};

use super::*;
use crate::{
    Result,
    backend::{MemoryDisk, Position},
    executor::Executor,
    raft::{
        EntryBody, Lead, LeaderDuties, Leadership, PeerMember, RaftConfig, RaftEnvironment,
        RaftHandle, StateMachine, TcpDial,
    },
};

/// Applies no command before it is opened.
#[derive(Default)]
struct Gate {
    state: Mutex<(Position, Option<Bytes>)>,
    reached: AtomicBool,
    open: Mutex<bool>,
    opened: Condvar,
}

impl StateMachine for Gate {
    type Outcome = ();

    fn position(&self) -> Position {
        self.state.lock().0
    }

    fn durable(&self) -> Position {
        self.position()
    }

    fn raft_state(&self) -> Option<Bytes> {
        self.state.lock().1.clone()
    }

    fn apply(&self, at: Position, body: EntryBody<'_>) -> Result<Vec<()>> {
        let mut outcomes = Vec::new();
        match body {
            EntryBody::Blank => {}
            EntryBody::Membership { raft_bytes, .. } => {
                self.state.lock().1 = Some(raft_bytes.clone());
            }
            EntryBody::Commands(commands) => {
                self.reached.store(true, Ordering::SeqCst);
                tokio::task::block_in_place(|| {
                    let mut open = self.open.lock();
                    while !*open {
                        self.opened.wait(&mut open);
                    }
                });
                outcomes.resize(commands.len(), ());
            }
        }
        self.state.lock().0 = at;
        Ok(outcomes)
    }

    fn flush(&self) -> Result<Position> {
        Ok(self.position())
    }

    fn snapshot(&self) -> Result<SnapshotFile> {
        Err(StoreError::internal("nobody lags"))
    }

    fn install(&self, _: &SnapshotFile) -> Result<()> {
        Err(StoreError::internal("nobody leads"))
    }
}

struct Duties;

#[async_trait]
impl LeaderDuties for Duties {
    fn set_lead(&self, _: Arc<dyn Lead>) {}

    async fn renew_lease(&self, id: i64) -> Result<i64> {
        Ok(id)
    }

    async fn lease_time_to_live(
        &self,
        _: LeaseTimeToLiveRequest,
    ) -> Result<LeaseTimeToLiveResponse> {
        Ok(LeaseTimeToLiveResponse::default())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_leader_speaks_of_leases_once_it_has_applied_what_is_agreed_on() {
    let scratch = tempfile::tempdir().unwrap();
    let config = RaftConfig {
        election: Duration::from_millis(200),
        ..RaftConfig::new(1, 2, scratch.path())
    };
    let founders = [PeerMember {
        id: 2,
        name: "alone".to_owned(),
        peer_urls: vec!["http://127.0.0.1:1".to_owned()],
        learner: false,
    }];
    let environment = RaftEnvironment {
        disk: Arc::new(MemoryDisk::new()),
        dial: Arc::new(TcpDial),
        executor: Executor::Threads,
    };
    let gate = Arc::new(Gate::default());
    let handle = RaftHandle::start(config, &founders, Arc::clone(&gate) as _, environment);
    let handle = handle.await.unwrap();
    handle.set_duties(Arc::new(Duties));
    let mut leadership = handle.leadership();
    leadership.wait_for(Leadership::is_leader).await.unwrap();
    let other = handle.clone();
    let command = Command::Put(PutRequest::default());
    let proposed = tokio::spawn(async move { other.propose(command, "", 0).await });
    while !gate.reached.load(Ordering::SeqCst) {
        sleep(Duration::from_millis(5)).await;
    }

    let service = PeerService::new(Arc::clone(&handle.core));
    let route = Some(api::Route {
        cluster_id: 1,
        from: 3,
        to: 2,
        version: PROTOCOL,
    });
    let renewal = || service.renew_lease(Request::new(api::RenewLeaseRequest { route, id: 7 }));
    let look = || {
        let request = Some(LeaseTimeToLiveRequest { id: 7, keys: false });
        service.lease_time_to_live(Request::new(api::LeaseTimeToLiveCall { route, request }))
    };
    let moment = Duration::from_millis(200);
    let early = (
        timeout(moment, renewal()).await.is_ok(),
        timeout(moment, look()).await.is_ok(),
    );
    // Before anything can fail, or the runtime would wait for the gate.
    *gate.open.lock() = true;
    gate.opened.notify_all();
    assert_eq!(early, (false, false));
    assert_eq!(renewal().await.unwrap().into_inner().ttl, 7);
    assert!(look().await.unwrap().into_inner().response.is_some());
    proposed.await.unwrap().unwrap();
    handle.shutdown().await;
}
