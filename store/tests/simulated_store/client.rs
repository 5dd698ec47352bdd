//! Clients that read and write a few keys over gRPC, one operation after the other.

use std::{sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use revkeep_schemas::etcd_api::{
    etcdserverpb::{
        CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseKeepAliveRequest,
        LeaseRevokeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, compare,
        kv_client::KvClient, lease_client::LeaseClient, request_op,
    },
    mvccpb::KeyValue,
};
use tokio::time::{sleep, timeout};
use tonic::{Status, transport::Channel};

use super::{
    record::{Answer, Call},
    world::StoreWorld,
};

/// The keys that all clients share.
const KEYS: u64 = 8;

/// How long a client waits for an answer; then it does not know what became of its call.
const PATIENCE: Duration = Duration::from_secs(8);

/// One client.
pub struct Client {
    world: Arc<StoreWorld>,
    name: String,
    random: StdRng,
    member: String,
    channel: Channel,
    /// A lease that it holds, and how often it has granted one.
    lease: Option<i64>,
    leases: i64,
    number: i64,
    /// What it saw last of some key.
    seen: Option<KeyValue>,
}

impl Client {
    pub fn new(world: Arc<StoreWorld>, number: i64) -> Self {
        let name = format!("client {number}");
        let mut random = StdRng::seed_from_u64(world.seed_of(&name));
        let member = format!("m{}", random.random_range(0..world.founders));
        Self {
            channel: world.channel(&member),
            world,
            name,
            random,
            member,
            lease: None,
            leases: 0,
            number,
            seen: None,
        }
    }

    /// Works until the world is quiet.
    pub async fn work(mut self) {
        while !self.world.base.is_quiet() {
            let call = self.choose();
            let start = self.world.now();
            let number = {
                let mut record = self.world.record();
                record.begin(&self.name, &self.member, call.clone(), start)
            };
            match timeout(PATIENCE, self.ask(call)).await {
                Ok(Ok(answer)) => {
                    self.note(&answer);
                    let now = self.world.now();
                    self.world.record().end(number, answer, now);
                }
                // What became of it is for the judge to find out.
                Ok(Err(status)) => {
                    let refused = matches!(
                        status.code(),
                        tonic::Code::OutOfRange | tonic::Code::NotFound
                    );
                    if !refused {
                        self.move_on();
                    }
                    self.lease = self.lease.filter(|_| !refused);
                }
                Err(_) => self.move_on(),
            }
            let rest = self.random.random_range(0..80);
            sleep(Duration::from_millis(rest)).await;
            if self.random.random_bool(0.02) {
                self.move_on();
            }
        }
    }

    /// Goes to another member, or opens another connection to the same.
    fn move_on(&mut self) {
        let names = self.world.names();
        let next = self.random.random_range(0..names.len());
        self.member.clone_from(&names[next]);
        let is_spare =
            names.iter().position(|name| *name == self.member) == Some(self.world.founders);
        if is_spare && self.random.random_bool(0.7) {
            self.member.clone_from(&names[0]);
        }
        self.channel = self.world.channel(&self.member);
    }

    fn key(&mut self) -> Vec<u8> {
        format!("k{}", self.random.random_range(0..KEYS)).into_bytes()
    }

    fn put(&mut self) -> PutRequest {
        let mut value = self.world.record().fresh_value(&self.name);
        // Some are large, so that connections are filled and disks grow.
        if self.random.random_bool(0.05) {
            value.push('.');
            value.push_str(&"x".repeat(self.random.random_range(0..20_000)));
        }
        let lease = self.lease.filter(|_| self.random.random_bool(0.5));
        PutRequest {
            key: self.key().into(),
            value: value.into(),
            lease: lease.unwrap_or_default(),
            prev_kv: true,
            ..PutRequest::default()
        }
    }

    fn choose(&mut self) -> Call {
        match self.random.random_range(0..100) {
            0..30 => Call::Put(self.put()),
            30..38 => {
                let key = self.key();
                let end = if self.random.random_bool(0.15) {
                    "k9"
                } else {
                    ""
                };
                Call::Delete(DeleteRangeRequest {
                    key: key.into(),
                    range_end: end.into(),
                    prev_kv: true,
                })
            }
            38..55 => Call::Txn(self.swap()),
            55..62 => Call::Txn(self.two()),
            62..82 => Call::Range(RangeRequest {
                serializable: false,
                ..all()
            }),
            82..88 => Call::Range(RangeRequest {
                serializable: true,
                ..all()
            }),
            88..92 => {
                let highest = self.world.record().highest.max(1);
                let lowest = (highest - 60).max(1);
                Call::Range(RangeRequest {
                    revision: self.random.random_range(lowest..=highest),
                    ..all()
                })
            }
            92..96 => match self.lease {
                Some(id) if self.random.random_bool(0.3) => Call::Revoke { id },
                _ => {
                    self.leases += 1;
                    Call::Grant {
                        id: self.number * 1_000_000 + self.leases,
                    }
                }
            },
            _ => {
                let upto = self.world.record().complete;
                Call::Compact {
                    revision: self.random.random_range((upto - 100).max(1)..=upto.max(1)),
                }
            }
        }
    }

    /// Compare and swap of what it saw last, or of a key that must not be there.
    fn swap(&mut self) -> TxnRequest {
        let put = self.put();
        let (key, expected) = match self.seen.take() {
            Some(seen) => (seen.key, seen.mod_revision),
            None => (put.key.clone(), 0),
        };
        let put = PutRequest {
            key: key.clone(),
            ..put
        };
        TxnRequest {
            compare: vec![Compare {
                result: compare::CompareResult::Equal.into(),
                target: compare::CompareTarget::Mod.into(),
                key: key.clone(),
                target_union: Some(compare::TargetUnion::ModRevision(expected)),
                ..Compare::default()
            }],
            success: vec![op(request_op::Request::RequestPut(put))],
            failure: vec![op(request_op::Request::RequestRange(RangeRequest {
                key,
                ..RangeRequest::default()
            }))],
        }
    }

    /// Two changes that must be seen together, and what is there between them.
    fn two(&mut self) -> TxnRequest {
        let first = self.put();
        let mut second = self.put();
        while second.key == first.key {
            second.key = self.key().into();
        }
        let second = if self.random.random_bool(0.5) {
            op(request_op::Request::RequestPut(second))
        } else {
            op(request_op::Request::RequestDeleteRange(
                DeleteRangeRequest {
                    key: second.key,
                    prev_kv: true,
                    ..DeleteRangeRequest::default()
                },
            ))
        };
        TxnRequest {
            success: vec![
                op(request_op::Request::RequestPut(first)),
                op(request_op::Request::RequestRange(all())),
                second,
            ],
            ..TxnRequest::default()
        }
    }

    async fn ask(&mut self, call: Call) -> Result<Answer, Status> {
        let mut kv = KvClient::new(self.channel.clone());
        let mut lease = LeaseClient::new(self.channel.clone());
        Ok(match call {
            Call::Put(request) => Answer::Put(kv.put(request).await?.into_inner()),
            Call::Delete(request) => Answer::Delete(kv.delete_range(request).await?.into_inner()),
            Call::Txn(request) => Answer::Txn(kv.txn(request).await?.into_inner()),
            Call::Range(request) => Answer::Range(kv.range(request).await?.into_inner()),
            Call::Grant { id } => {
                let ttl = self.random.random_range(2..8);
                lease.lease_grant(LeaseGrantRequest { ttl, id }).await?;
                self.lease = Some(id);
                if self.random.random_bool(0.3) {
                    let beats = tokio_stream::iter(vec![LeaseKeepAliveRequest { id }; 2]);
                    let mut answers = lease.lease_keep_alive(beats).await?.into_inner();
                    while answers.message().await?.is_some() {}
                }
                Answer::Done(None)
            }
            Call::Revoke { id } => {
                self.lease = None;
                let request = LeaseRevokeRequest { id };
                let answer = lease.lease_revoke(request).await?.into_inner();
                Answer::Done(answer.header.map(|header| header.revision))
            }
            Call::Compact { revision } => {
                let physical = self.random.random_bool(0.3);
                let request = CompactionRequest { revision, physical };
                kv.compact(request).await?;
                Answer::Done(None)
            }
        })
    }

    fn note(&mut self, answer: &Answer) {
        if let Answer::Range(range) = answer
            && !range.kvs.is_empty()
        {
            let place = self.random.random_range(0..range.kvs.len());
            self.seen = range.kvs.get(place).cloned();
        }
    }
}

/// A read of everything.
pub fn all() -> RangeRequest {
    RangeRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        ..RangeRequest::default()
    }
}

fn op(request: request_op::Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}
