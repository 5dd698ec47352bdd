//! Side by side with a real etcd: every answer, and every hash.

use std::{collections::HashSet, path::Path, sync::Arc};

use rand::RngExt as _;
use revkeep_harness::{Etcd, etcd_series};
use revkeep_schemas::etcd_api::etcdserverpb::{
    CompactionRequest, HashKvRequest, LeaseGrantRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, PutRequest, RangeRequest, ResponseHeader, TxnResponse,
    kv_client::KvClient, lease_client::LeaseClient, maintenance_client::MaintenanceClient,
    response_op::Response,
};
use revkeep_store::{
    StoreError,
    backend::{Backend, BackendOptions, FileDisk, Position},
    mvcc::{Mvcc, MvccOptions, txn_is_read_only},
};
use tonic::{Status, transport::Channel};

use crate::requests::Requests;

/// Both under the same requests.
struct Pair {
    kv: KvClient<Channel>,
    lease: LeaseClient<Channel>,
    maintenance: MaintenanceClient<Channel>,
    store: Arc<Mvcc>,
    requests: Requests,
    index: u64,
    /// Revisions that delete a key and put it again: compacted exactly there, etcd loses the put.
    twice: HashSet<i64>,
}

/// Only the revision of a header is the store's.
fn bare(header: &mut Option<ResponseHeader>) {
    if let Some(header) = header {
        *header = ResponseHeader {
            revision: header.revision,
            ..ResponseHeader::default()
        };
    }
}

fn bare_txn(response: &mut TxnResponse) {
    bare(&mut response.header);
    for op in &mut response.responses {
        match op.response.as_mut().unwrap() {
            Response::ResponseRange(range) => bare(&mut range.header),
            Response::ResponsePut(put) => bare(&mut put.header),
            Response::ResponseDeleteRange(delete) => bare(&mut delete.header),
            Response::ResponseTxn(txn) => bare_txn(txn),
        }
    }
}

type Said<T> = Result<T, (tonic::Code, String)>;

fn etcd_said<T>(outcome: Result<tonic::Response<T>, Status>) -> Said<T> {
    outcome
        .map(tonic::Response::into_inner)
        .map_err(|status| (status.code(), status.message().to_owned()))
}

fn we_said<T>(outcome: Result<T, StoreError>) -> Said<T> {
    outcome.map_err(|error| (error.code(), error.message()))
}

impl Pair {
    fn sealed(&mut self) {
        self.index += 1;
        let backend = self.store.backend();
        backend.set_position(Position::new(1, self.index), None);
        for of in self.store.take_events() {
            let mut deleted = HashSet::new();
            for event in of.events {
                let kv = event.kv.unwrap();
                if kv.version == 0 {
                    deleted.insert(kv.key);
                } else if deleted.contains(&kv.key) {
                    self.twice.insert(of.revision);
                }
            }
        }
        if self.requests.chance(0.05) {
            self.store.flush().unwrap();
        }
    }

    async fn write(&mut self) {
        let current = self.store.revision();
        match self.requests.random.random_range(0..10) {
            0..=4 => {
                let request = self.requests.put();
                let etcd = etcd_said(self.kv.put(request.clone()).await);
                let etcd = etcd.map(|mut response| {
                    bare(&mut response.header);
                    response
                });
                assert_eq!(we_said(self.store.put(&request)), etcd, "{request:?}");
            }
            5 => {
                let request = self.requests.delete();
                let mut etcd = etcd_said(self.kv.delete_range(request.clone()).await).unwrap();
                bare(&mut etcd.header);
                assert_eq!(
                    self.store.delete_range(&request).unwrap(),
                    etcd,
                    "{request:?}"
                );
            }
            _ => {
                let request = self.requests.txn(current, 2);
                let etcd = etcd_said(self.kv.txn(request.clone()).await).map(|mut response| {
                    bare_txn(&mut response);
                    response
                });
                if etcd
                    .as_ref()
                    .is_err_and(|(_, text)| text.contains("duplicate key"))
                {
                    // Refused before it reached the store.
                    return;
                }
                let ours = if txn_is_read_only(&request) {
                    self.store.txn_read(&request)
                } else {
                    self.store.txn(&request)
                };
                assert_eq!(we_said(ours), etcd, "{request:?}");
            }
        }
        self.sealed();
    }

    async fn read(&mut self) {
        let request = self.requests.range(self.store.revision());
        self.compare_range(request).await;
    }

    async fn compare_range(&mut self, request: RangeRequest) {
        let etcd = etcd_said(self.kv.range(request.clone()).await).map(|mut response| {
            bare(&mut response.header);
            response
        });
        assert_eq!(we_said(self.store.range(&request)), etcd, "{request:?}");
    }

    async fn leases(&mut self) {
        if self.requests.leases.len() < 4 || self.requests.chance(0.4) {
            let id = self.requests.random.random_range(1..1000);
            let request = LeaseGrantRequest { ttl: 3600, id };
            let etcd = etcd_said(self.lease.lease_grant(request).await).map(|lease| lease.ttl);
            let ours = self.store.leases().grant(id, 3600).map(|lease| lease.ttl_s);
            assert_eq!(we_said(ours), etcd);
            self.requests.leases.push(id);
        } else {
            let place = self
                .requests
                .random
                .random_range(0..self.requests.leases.len());
            // Some stay in the list, so that they are named when they are gone.
            let id = self.requests.leases[place];
            let asked = LeaseTimeToLiveRequest { id, keys: true };
            let etcd = self
                .lease
                .lease_time_to_live(asked)
                .await
                .unwrap()
                .into_inner();
            let mut keys = etcd.keys;
            keys.sort();
            assert_eq!(self.store.leases().keys(id).unwrap_or_default(), keys);
            let request = LeaseRevokeRequest { id };
            let etcd = etcd_said(self.lease.lease_revoke(request).await);
            let etcd = etcd.map(|response| response.header.unwrap().revision);
            assert_eq!(we_said(self.store.revoke_lease(id)), etcd);
        }
        self.sealed();
    }

    async fn compact(&mut self) {
        let current = self.store.revision();
        let mut at = current - self.requests.random.random_range(-1..15);
        while self.twice.contains(&at) {
            at -= 1;
        }
        let request = CompactionRequest {
            revision: at,
            physical: true,
        };
        let etcd = etcd_said(self.kv.compact(request).await).map(drop);
        let ours = self.store.compact(at);
        self.sealed();
        match ours {
            Ok(ticket) => {
                assert_eq!(etcd, Ok(()));
                ticket.wait().await.unwrap();
            }
            Err(error) => assert_eq!(Err((error.code(), error.message())), etcd),
        }
    }

    async fn hashes(&mut self) {
        let current = self.store.revision();
        for revision in (current - 25).max(-1)..=current + 1 {
            let request = HashKvRequest { revision };
            let etcd = etcd_said(self.maintenance.hash_kv(request).await);
            let etcd = etcd.map(|hash| {
                let current = hash.header.unwrap().revision;
                (hash.hash, hash.compact_revision, current)
            });
            let ours = self.store.hash_kv(revision);
            let ours = ours.map(|hash| (hash.hash, hash.compact_revision, hash.current));
            assert_eq!(we_said(ours), etcd, "hash at {revision}, current {current}");
        }
    }
}

async fn pair(etcd: &Etcd, folder: &Path, seed: u64) -> Pair {
    let disk = Arc::new(FileDisk::open(folder).unwrap());
    let backend = Backend::open(disk, BackendOptions::default()).unwrap();
    let channel = Channel::from_shared(etcd.endpoint()).unwrap();
    let channel = channel.connect().await.unwrap();
    Pair {
        kv: KvClient::new(channel.clone()),
        lease: LeaseClient::new(channel.clone()),
        maintenance: MaintenanceClient::new(channel),
        store: Mvcc::open(Arc::new(backend), MvccOptions::default()).unwrap(),
        requests: Requests::new(seed, true),
        index: 0,
        twice: HashSet::new(),
    }
}

async fn run(etcd: &Etcd, seed: u64, steps: usize) {
    println!("seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    let mut pair = pair(etcd, folder.path(), seed).await;
    for step in 0..steps {
        match step % 20 {
            0..=9 => pair.write().await,
            10..=16 => pair.read().await,
            17 => pair.leases().await,
            18 if step % 60 == 18 => pair.compact().await,
            _ if step % 200 == 199 => pair.hashes().await,
            _ => pair.write().await,
        }
    }
    pair.hashes().await;
    pair.store.stop();
}

#[tokio::test]
async fn every_answer_is_etcds() {
    let Some(version) = etcd_series(3, 5) else {
        return;
    };
    let runs = std::env::var("REVKEEP_MODEL_RUNS").ok();
    let runs = runs.map_or(2, |runs| runs.parse().unwrap());
    for seed in 0..runs {
        let mut etcd = Etcd::start(&version).await.unwrap();
        run(&etcd, seed, 1500).await;
        etcd.stop().await.unwrap();
    }
}

/// Where many keys tie, etcd's sort decides their order, and with a limit which of them are there.
#[tokio::test]
async fn many_keys_stand_in_etcds_order() {
    let Some(version) = etcd_series(3, 5) else {
        return;
    };
    let mut etcd = Etcd::start(&version).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut pair = pair(&etcd, folder.path(), 7).await;
    for number in 0..900 {
        // Few versions and values; in runs, and not.
        let key = match number % 3 {
            0 => number,
            _ => pair.requests.random.random_range(0..400),
        };
        let request = PutRequest {
            key: format!("{key:05}").into(),
            value: format!("{}", number / 100 % 4).into(),
            ..PutRequest::default()
        };
        pair.kv.put(request.clone()).await.unwrap();
        pair.store.put(&request).unwrap();
        pair.sealed();
    }
    for step in 0..400 {
        let mut request = pair.requests.range(pair.store.revision());
        let first = pair.requests.random.random_range(0..900);
        let last = first + pair.requests.random.random_range(1..600);
        request.key = format!("{first:05}").into();
        request.range_end = format!("{last:05}").into();
        if step % 2 == 0 {
            request.revision = 0;
            (request.min_mod_revision, request.max_mod_revision) = (0, 0);
            (request.min_create_revision, request.max_create_revision) = (0, 0);
        }
        pair.compare_range(request).await;
    }
    pair.store.stop();
    etcd.stop().await.unwrap();
}
