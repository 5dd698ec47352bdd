//! What the log has done to the keys, counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use revkeep_schemas::etcd_api::etcdserverpb::{TxnResponse, response_op};

use crate::apply::{Applier, Outcome, Response};
use crate::backend::Position;
use crate::error::Result;
use crate::raft::{EntryBody, SnapshotFile, StateMachine};

/// Operations applied since the member started, those inside of transactions too (etcd,
/// `server/storage/mvcc/metrics_txn.go`).
#[derive(Debug, Default)]
pub struct Operations {
    /// Puts.
    pub puts: AtomicU64,
    /// Deletions, whether or not a key was there.
    pub deletes: AtomicU64,
    /// Reads inside of transactions.
    pub ranges: AtomicU64,
    /// Transactions of more than one operation.
    pub txns: AtomicU64,
    /// Leases granted.
    pub leases_granted: AtomicU64,
    /// Leases ended.
    pub leases_revoked: AtomicU64,
}

impl Operations {
    fn count(&self, response: &Response) {
        match response {
            Response::Put(_) => add(&self.puts, 1),
            Response::DeleteRange(_) => add(&self.deletes, 1),
            Response::LeaseGrant(_) => add(&self.leases_granted, 1),
            Response::LeaseRevoke(_) => add(&self.leases_revoked, 1),
            Response::Txn(txn) => add(&self.txns, u64::from(self.txn(txn) > 1)),
            _ => {}
        }
    }

    /// Counts the operations of a transaction, and returns how many there are.
    fn txn(&self, txn: &TxnResponse) -> u64 {
        let mut total = 0;
        for operation in &txn.responses {
            let counter = match &operation.response {
                Some(response_op::Response::ResponsePut(_)) => &self.puts,
                Some(response_op::Response::ResponseDeleteRange(_)) => &self.deletes,
                Some(response_op::Response::ResponseRange(_)) => &self.ranges,
                Some(response_op::Response::ResponseTxn(inner)) => {
                    total += self.txn(inner);
                    continue;
                }
                None => continue,
            };
            add(counter, 1);
            total += 1;
        }
        total
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// The applier, with its outcomes counted.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) applier: Arc<Applier>,
    pub(super) operations: Arc<Operations>,
}

impl StateMachine for Counted {
    type Outcome = Outcome;

    fn position(&self) -> Position {
        self.applier.position()
    }

    fn durable(&self) -> Position {
        self.applier.durable()
    }

    fn raft_state(&self) -> Option<Bytes> {
        self.applier.raft_state()
    }

    fn apply(&self, at: Position, body: EntryBody<'_>) -> Result<Vec<Outcome>> {
        let outcomes = self.applier.apply(at, body)?;
        for response in outcomes.iter().flatten() {
            self.operations.count(response);
        }
        Ok(outcomes)
    }

    fn flush(&self) -> Result<Position> {
        self.applier.flush()
    }

    fn snapshot(&self) -> Result<SnapshotFile> {
        self.applier.snapshot()
    }

    fn install(&self, file: &SnapshotFile) -> Result<()> {
        self.applier.install(file)
    }

    fn is_started(&self, member: u64) -> bool {
        self.applier.is_started(member)
    }

    fn is_removed(&self, member: u64) -> bool {
        self.applier.is_removed(member)
    }
}

#[cfg(test)]
mod tests {
    use revkeep_schemas::etcd_api::etcdserverpb::{PutResponse, RangeResponse, ResponseOp};

    use super::*;

    #[test]
    fn operations_inside_of_transactions_count() {
        let op = |response| ResponseOp {
            response: Some(response),
        };
        let put = || op(response_op::Response::ResponsePut(PutResponse::default()));
        let range = op(response_op::Response::ResponseRange(
            RangeResponse::default(),
        ));
        let inner = TxnResponse {
            responses: vec![put(), range],
            ..TxnResponse::default()
        };
        let outer = TxnResponse {
            responses: vec![put(), op(response_op::Response::ResponseTxn(inner))],
            ..TxnResponse::default()
        };
        let operations = Operations::default();
        operations.count(&Response::Txn(outer));
        operations.count(&Response::Put(PutResponse::default()));
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!(read(&operations.puts), 3);
        assert_eq!(read(&operations.ranges), 1);
        assert_eq!(read(&operations.txns), 1);
    }
}
