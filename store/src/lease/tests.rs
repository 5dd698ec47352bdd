//! Leases on two members under random leaders and random failures, in time that does not really pass.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;
use revkeep_schemas::etcd_api::etcdserverpb::{
    LeaseCheckpointResponse, LeaseGrantRequest, LeaseRevokeResponse, LeaseTimeToLiveRequest,
};
use revkeep_schemas::store_api::proposal::Command;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, sleep, timeout};

use super::{Lease, LeaseTable, Lessor, LessorOptions};
use crate::apply::{Propose, Response};
use crate::error::{Result, StoreError};
use crate::raft::{Lead, LeaderDuties as _};

const EXTEND: Duration = Duration::from_secs(1);

/// The state that the log gives both members.
#[derive(Debug, Default)]
struct Table(Mutex<BTreeMap<i64, Lease>>);

impl LeaseTable for Table {
    fn get(&self, id: i64) -> Option<Lease> {
        self.0.lock().get(&id).copied()
    }

    fn all(&self) -> Vec<Lease> {
        self.0.lock().values().copied().collect()
    }

    fn keys(&self, _: i64) -> Vec<Bytes> {
        vec![Bytes::from_static(b"key")]
    }
}

/// Two members that apply what either proposes.
struct Cluster {
    table: Arc<Table>,
    members: Vec<Arc<Lessor>>,
    /// Proposals fail.
    broken: Mutex<bool>,
    /// Leases that ended by their time, and when.
    ended: Mutex<BTreeMap<i64, Instant>>,
    checkpoints: Mutex<usize>,
}

/// The log, as a member proposes to it.
struct Log(Weak<Cluster>);

#[async_trait]
impl Propose for Log {
    async fn propose(&self, command: Command) -> Result<Response> {
        let cluster = self.0.upgrade().ok_or(StoreError::Stopped)?;
        sleep(Duration::from_millis(5)).await;
        if *cluster.broken.lock() {
            return Err(StoreError::Timeout);
        }
        match command {
            Command::LeaseRevoke(request) => {
                let removed = cluster.table.0.lock().remove(&request.id);
                removed.ok_or(StoreError::LeaseNotFound)?;
                cluster.ended.lock().insert(request.id, Instant::now());
                for member in &cluster.members {
                    member.revoked(request.id);
                }
                Ok(Response::LeaseRevoke(LeaseRevokeResponse::default()))
            }
            Command::LeaseCheckpoint(request) => {
                *cluster.checkpoints.lock() += 1;
                for checkpoint in request.checkpoints {
                    if let Some(lease) = cluster.table.0.lock().get_mut(&checkpoint.id) {
                        lease.remaining_ttl_s = checkpoint.remaining_ttl;
                    }
                    for member in &cluster.members {
                        member.checkpointed(checkpoint.id);
                    }
                }
                let response = LeaseCheckpointResponse::default();
                Ok(Response::LeaseCheckpoint(response))
            }
            other => panic!("the time-keeper proposes {other:?}"),
        }
    }
}

impl Cluster {
    fn new(checkpoint_interval: Option<Duration>) -> (Arc<Self>, Vec<JoinHandle<()>>) {
        let table = Arc::new(Table::default());
        let options = LessorOptions {
            checkpoint_interval,
            ..LessorOptions::new(EXTEND)
        };
        let member = || Arc::new(Lessor::new(Arc::clone(&table) as _, options));
        let cluster = Arc::new(Self {
            members: vec![member(), member()],
            table,
            broken: Mutex::default(),
            ended: Mutex::default(),
            checkpoints: Mutex::default(),
        });
        let tasks = cluster.members.iter().map(|member| {
            let member = Arc::clone(member);
            let log = Arc::new(Log(Arc::downgrade(&cluster)));
            tokio::spawn(async move { member.run(log).await })
        });
        let tasks = tasks.collect();
        (cluster, tasks)
    }

    fn grant(&self, id: i64, ttl_s: i64) {
        let lease = Lease {
            id,
            ttl_s,
            remaining_ttl_s: 0,
        };
        self.table.0.lock().insert(id, lease);
        for member in &self.members {
            member.granted(lease);
        }
    }

    fn lead(&self, leader: Option<usize>) {
        for (number, member) in self.members.iter().enumerate() {
            if leader == Some(number) {
                member.promote();
            } else {
                member.demote();
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Grant(i64),
    Renew(usize),
    Pass(u64),
    Lead(Option<usize>),
    Break(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (2_i64..40).prop_map(Step::Grant),
        4 => (0_usize..20).prop_map(Step::Renew),
        4 => (1_u64..15_000).prop_map(Step::Pass),
        1 => proptest::option::weighted(0.8, 0_usize..2).prop_map(Step::Lead),
        1 => any::<bool>().prop_map(Step::Break),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn a_lease_lives_its_time_and_no_longer_than_it_must(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(lives_its_time(steps));
    }
}

async fn lives_its_time(steps: Vec<Step>) {
    let (cluster, tasks) = Cluster::new(None);
    let mut leader = Some(0);
    cluster.lead(leader);
    // What the model knows of each lease: its TTL, and when it may end.
    let mut model: BTreeMap<i64, (Duration, Instant)> = BTreeMap::new();
    let mut next_id = 1;
    for step in steps {
        match step {
            Step::Grant(ttl) => {
                cluster.grant(next_id, ttl);
                let ttl = Duration::from_secs(ttl.try_into().unwrap());
                model.insert(next_id, (ttl, Instant::now() + ttl));
                next_id += 1;
            }
            Step::Renew(which) => {
                let id = i64::try_from(which).unwrap();
                let Some(leader) = leader else { continue };
                let member = Arc::clone(&cluster.members[leader]);
                let asked = Instant::now();
                let renewal = timeout(Duration::from_millis(50), member.renew(id));
                match renewal.await {
                    Ok(Ok(ttl)) => {
                        let (own, end) = model.get_mut(&id).unwrap();
                        assert_eq!(ttl, i64::try_from(own.as_secs()).unwrap());
                        *end = asked + *own;
                    }
                    Ok(Err(StoreError::LeaseNotFound)) => {
                        assert!(!cluster.table.0.lock().contains_key(&id));
                    }
                    // It has ended and is about to go.
                    Err(_) => {
                        assert!(model[&id].1 <= Instant::now());
                    }
                    Ok(Err(error)) => panic!("{error}"),
                }
            }
            Step::Pass(millis) => advance_in_steps(Duration::from_millis(millis)).await,
            Step::Lead(new) => {
                leader = new;
                cluster.lead(leader);
                let now = Instant::now();
                for (ttl, end) in model.values_mut() {
                    // All of it again, and the time without a leader; but the end of one that is over may be on its way.
                    if leader.is_some() && *end > now {
                        *end = now + *ttl + EXTEND;
                    }
                }
            }
            Step::Break(broken) => *cluster.broken.lock() = broken,
        }
        check(&cluster, &model);
    }
    // With a leader and a log everything ends.
    *cluster.broken.lock() = false;
    if leader.is_none() {
        cluster.lead(Some(0));
    }
    advance_in_steps(Duration::from_secs(60)).await;
    assert!(cluster.table.0.lock().is_empty());
    assert_eq!(cluster.ended.lock().len(), model.len());
    for task in tasks {
        task.abort();
    }
}

async fn advance_in_steps(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        sleep((end - Instant::now()).min(Duration::from_millis(200))).await;
    }
}

/// No lease ends before its time.
fn check(cluster: &Cluster, model: &BTreeMap<i64, (Duration, Instant)>) {
    for (id, ended) in &*cluster.ended.lock() {
        let (ttl, end) = model[id];
        assert!(
            *ended >= end,
            "lease {id} of {ttl:?} ended {:?} early",
            end - *ended
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_soon_after_its_time() {
    let (cluster, _tasks) = Cluster::new(None);
    cluster.lead(Some(1));
    cluster.grant(7, 10);
    let end = Instant::now() + Duration::from_secs(10);
    sleep(Duration::from_secs(12)).await;
    let ended = cluster.ended.lock()[&7];
    assert!(ended >= end && ended < end + Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_lead_says_so() {
    let (cluster, _tasks) = Cluster::new(None);
    cluster.lead(Some(0));
    cluster.grant(7, 10);
    let request = LeaseTimeToLiveRequest { id: 7, keys: true };
    let follower = &cluster.members[1];
    assert!(matches!(
        follower.renew(7).await,
        Err(StoreError::NotPrimary)
    ));
    assert!(matches!(
        follower.time_to_live(request),
        Err(StoreError::NotPrimary)
    ));
    sleep(Duration::from_millis(3_500)).await;
    let response = cluster.members[0].time_to_live(request).unwrap();
    assert_eq!((response.ttl, response.granted_ttl), (6, 10));
    assert_eq!(response.keys, ["key"]);
    assert!(matches!(
        cluster.members[0].renew(8).await,
        Err(StoreError::LeaseNotFound)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_waits_for_the_end_of_a_lease_that_is_over() {
    let (cluster, _tasks) = Cluster::new(None);
    cluster.lead(Some(0));
    cluster.grant(7, 2);
    *cluster.broken.lock() = true;
    sleep(Duration::from_secs(3)).await;
    let member = Arc::clone(&cluster.members[0]);
    let renewal = tokio::spawn(async move { member.renew(7).await });
    sleep(Duration::from_secs(1)).await;
    assert!(!renewal.is_finished());
    *cluster.broken.lock() = false;
    assert!(matches!(
        renewal.await.unwrap(),
        Err(StoreError::LeaseNotFound)
    ));
    // And where the leader changes meanwhile, the next one is to be asked.
    cluster.grant(8, 2);
    *cluster.broken.lock() = true;
    sleep(Duration::from_secs(3)).await;
    let member = Arc::clone(&cluster.members[0]);
    let renewal = tokio::spawn(async move { member.renew(8).await });
    sleep(Duration::from_secs(1)).await;
    cluster.lead(Some(1));
    assert!(matches!(
        renewal.await.unwrap(),
        Err(StoreError::NotPrimary)
    ));
    assert_eq!(cluster.members[1].renew(8).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_goes_on_from_the_last_checkpoint() {
    let (cluster, _tasks) = Cluster::new(Some(Duration::from_secs(300)));
    cluster.lead(Some(0));
    cluster.grant(7, 1_000);
    cluster.grant(8, 200);
    sleep(Duration::from_secs(350)).await;
    assert_eq!(*cluster.checkpoints.lock(), 1);
    assert_eq!(cluster.table.get(7).unwrap().remaining_ttl_s, 700);
    cluster.lead(Some(1));
    let request = LeaseTimeToLiveRequest { id: 7, keys: false };
    let left = cluster.members[1].time_to_live(request).unwrap().ttl;
    assert_eq!(left, 701, "what was left, and the time without a leader");
    // A renewal takes the note back, or the leader after that would shorten the lease.
    assert_eq!(cluster.members[1].renew(7).await.unwrap(), 1_000);
    assert_eq!(cluster.table.get(7).unwrap().remaining_ttl_s, 0);
    cluster.lead(Some(0));
    let left = cluster.members[0].time_to_live(request).unwrap().ttl;
    assert_eq!(left, 1_001);
}

#[tokio::test(start_paused = true)]
async fn leases_of_a_new_leader_do_not_all_end_at_once() {
    let (cluster, _tasks) = Cluster::new(None);
    for id in 1..=3_000 {
        cluster.grant(id, 10);
    }
    cluster.lead(Some(0));
    sleep(Duration::from_secs(60)).await;
    let ended = cluster.ended.lock();
    assert_eq!(ended.len(), 3_000);
    let first = ended.values().min().unwrap();
    let in_first_second = ended
        .values()
        .filter(|end| **end < *first + Duration::from_secs(1))
        .count();
    assert!(in_first_second <= 1_000, "{in_first_second}");
}

#[tokio::test]
async fn a_request_is_completed_before_it_is_proposed() {
    let (cluster, _tasks) = Cluster::new(None);
    let mut request = LeaseGrantRequest { id: 0, ttl: 1 };
    cluster.members[0].complete(&mut request);
    assert!(request.id > 0);
    assert_eq!(request.ttl, 2);
    let mut request = LeaseGrantRequest { id: 5, ttl: 60 };
    cluster.members[0].complete(&mut request);
    assert_eq!(request, LeaseGrantRequest { id: 5, ttl: 60 });
    for (election, ttl) in [(1_000, 2), (200, 1), (10_000, 15), (1_400, 3)] {
        assert_eq!(LessorOptions::min_ttl(Duration::from_millis(election)), ttl);
    }
}

#[tokio::test(start_paused = true)]
async fn granting_and_revoking_leaves_nothing_behind() {
    let (cluster, _tasks) = Cluster::new(Some(Duration::from_secs(300)));
    cluster.lead(Some(0));
    for id in 1..1_000 {
        cluster.grant(id, 1_000_000);
        cluster.table.0.lock().remove(&id);
        cluster.members[0].revoked(id);
    }
    assert!(cluster.members[0].is_idle());
    advance(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn who_leads_no_longer_ends_no_further_lease() {
    let (cluster, _tasks) = Cluster::new(None);
    cluster.lead(Some(0));
    for id in 1..=100 {
        cluster.grant(id, 10);
    }
    // The first are ended, a few at a time; the next leader gives all others their time again.
    sleep(Duration::from_millis(10_008)).await;
    let before = cluster.ended.lock().len();
    assert!((1..50).contains(&before), "{before}");
    cluster.lead(Some(1));
    sleep(Duration::from_secs(5)).await;
    let after = cluster.ended.lock().len();
    assert!(after <= before + 16, "{after} after {before}");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(cluster.ended.lock().len(), 100);
}

/// Whether the member leads for certain.
struct Certainty(AtomicBool);

#[async_trait]
impl Lead for Certainty {
    async fn is_certain(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_not_sure_to_lead_ends_no_lease() {
    let (cluster, _tasks) = Cluster::new(None);
    let lead = Arc::new(Certainty(AtomicBool::new(false)));
    cluster.members[0].set_lead(Arc::clone(&lead) as _);
    cluster.lead(Some(0));
    cluster.grant(7, 10);
    sleep(Duration::from_secs(20)).await;
    assert!(cluster.ended.lock().is_empty());
    lead.0.store(true, Ordering::SeqCst);
    sleep(Duration::from_secs(4)).await;
    assert!(cluster.ended.lock().contains_key(&7));
}

/// A table whose log goes on while its leases are listed: one more is granted, and one ends.
#[derive(Default)]
struct Busy {
    table: Table,
    lessor: OnceLock<Weak<Lessor>>,
    log: Mutex<Option<thread::JoinHandle<()>>>,
}

impl LeaseTable for Busy {
    fn get(&self, id: i64) -> Option<Lease> {
        self.table.get(id)
    }

    fn all(&self) -> Vec<Lease> {
        let listed = self.table.all();
        let lessor = self.lessor.get().and_then(Weak::upgrade).unwrap();
        let granted = Lease {
            id: 7,
            ttl_s: 10,
            remaining_ttl_s: 0,
        };
        let mut leases = self.table.0.lock();
        leases.insert(7, granted);
        leases.remove(&6);
        drop(leases);
        *self.log.lock() = Some(thread::spawn(move || {
            lessor.granted(granted);
            lessor.revoked(6);
        }));
        thread::sleep(Duration::from_millis(100));
        listed
    }

    fn keys(&self, id: i64) -> Vec<Bytes> {
        self.table.keys(id)
    }
}

#[test]
fn a_new_leader_knows_the_leases_that_come_and_go_while_it_begins() {
    let busy = Arc::new(Busy::default());
    let ended = Lease {
        id: 6,
        ttl_s: 10,
        remaining_ttl_s: 0,
    };
    busy.table.0.lock().insert(6, ended);
    let lessor = Arc::new(Lessor::new(
        Arc::clone(&busy) as _,
        LessorOptions::new(EXTEND),
    ));
    busy.lessor.set(Arc::downgrade(&lessor)).unwrap();
    lessor.promote();
    busy.log.lock().take().unwrap().join().unwrap();
    let request = LeaseTimeToLiveRequest { id: 7, keys: false };
    assert_eq!(lessor.time_to_live(request).unwrap().granted_ttl, 10);
    lessor.revoked(7);
    assert!(
        lessor.is_idle(),
        "the lease that ended is not looked at again"
    );
}
