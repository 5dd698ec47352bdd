//! What clients did and saw.

use std::{collections::BTreeMap, time::Duration};

use revkeep_schemas::etcd_api::{
    etcdserverpb::{
        DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest,
        RangeResponse, TxnRequest, TxnResponse,
    },
    mvccpb::Event,
};

/// What a client asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Range(RangeRequest),
    Grant { id: i64 },
    Revoke { id: i64 },
    Compact { revision: i64 },
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Put(PutResponse),
    Delete(DeleteRangeResponse),
    Txn(TxnResponse),
    Range(RangeResponse),
    /// Done, at a revision where that is known.
    Done(Option<i64>),
}

impl Answer {
    /// The revision that the member was at.
    pub fn revision(&self) -> Option<i64> {
        let header = match self {
            Self::Put(answer) => answer.header,
            Self::Delete(answer) => answer.header,
            Self::Txn(answer) => answer.header,
            Self::Range(answer) => answer.header,
            Self::Done(revision) => return *revision,
        };
        header.map(|header| header.revision)
    }
}

/// A call, from its beginning to its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    pub client: String,
    pub member: String,
    pub call: Call,
    pub start: Duration,
    /// When and what was answered; nobody knows what became of a call without an answer.
    pub end: Option<(Duration, Answer)>,
}

/// What one watcher got, without a break.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    pub watcher: String,
    pub member: String,
    /// The key, or everything.
    pub key: Option<Vec<u8>>,
    /// The first revision it asked for.
    pub from: i64,
    /// The revision up to which it has got everything.
    pub upto: i64,
    pub events: Vec<Event>,
}

/// What clients did and saw.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub operations: Vec<Operation>,
    /// The events of every revision that some watcher has got.
    pub events: BTreeMap<i64, Vec<Event>>,
    pub watched: Vec<Watched>,
    /// Up to this revision `events` has every one.
    pub complete: i64,
    /// The highest revision that anybody saw, for those who choose one.
    pub highest: i64,
    /// Why the members are not yet equal after the last fault.
    pub unsettled: String,
    /// What must not happen, and did.
    pub failures: Vec<String>,
    /// Changes of the members and of the leader that were done.
    pub changes: usize,
    /// The number that makes the next value unlike all others.
    pub values: u64,
}

impl Record {
    /// A client begins; the number names the operation.
    pub fn begin(&mut self, client: &str, member: &str, call: Call, now: Duration) -> usize {
        self.operations.push(Operation {
            client: client.to_owned(),
            member: member.to_owned(),
            call,
            start: now,
            end: None,
        });
        self.operations.len() - 1
    }

    /// It was answered.
    pub fn end(&mut self, number: usize, answer: Answer, now: Duration) {
        self.highest = self.highest.max(answer.revision().unwrap_or_default());
        self.operations[number].end = Some((now, answer));
    }

    /// A value that nobody else writes.
    pub fn fresh_value(&mut self, client: &str) -> String {
        self.values += 1;
        format!("{client}/{}", self.values)
    }

    /// All events of a revision, as a watcher of everything got them.
    pub fn saw_events(&mut self, who: &str, revision: i64, events: Vec<Event>) {
        match self.events.get(&revision) {
            Some(known) if *known != events => self.failures.push(format!(
                "{who} got other events of revision {revision} than another watcher: {events:?} is not {known:?}"
            )),
            Some(_) => {}
            None => {
                self.events.insert(revision, events);
            }
        }
        self.highest = self.highest.max(revision);
        self.complete = self.complete.max(1);
        while self.events.contains_key(&(self.complete + 1)) {
            self.complete += 1;
        }
    }
}
