//! Transactions.

use revkeep_schemas::etcd_api::etcdserverpb::{
    RangeRequest, RequestOp, ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
    request_op::Request, response_op::Response,
};

use super::{
    Mvcc,
    compare::all_hold,
    delete::delete_range,
    put::put,
    range::{header, range},
    read::Moment,
    write::Write,
};
use crate::error::{Result, StoreError};

/// Whether a transaction only reads on either branch, so that it needs no place in the log. One inside another counts as
/// writing, whatever it does (etcd, `server/etcdserver/v3_server.go`, `isTxnReadonly`).
pub fn txn_is_read_only(request: &TxnRequest) -> bool {
    let reads = |op: &RequestOp| matches!(op.request, Some(Request::RequestRange(_)));
    request.success.iter().all(reads) && request.failure.iter().all(reads)
}

impl Mvcc {
    /// Runs a transaction that may write; all its changes take one revision. It reads its own changes; its conditions,
    /// those inside too, are asked before the first of them.
    ///
    /// # Errors
    /// etcd's, for a lease, a key to take a value from, or a revision to read that is not there. Nothing is changed then.
    pub fn txn(&self, request: &TxnRequest) -> Result<TxnResponse> {
        let mut write = Write::begin(self);
        let plan = Plan::make(&write.moment(), request)?;
        plan.check_puts(&write.moment())?;
        plan.check_ranges(&write.moment())?;
        let mut response = plan.run(&mut |op| match op {
            Request::RequestRange(request) => {
                range(&write.moment(), request).map(Response::ResponseRange)
            }
            Request::RequestPut(request) => put(&mut write, request).map(Response::ResponsePut),
            Request::RequestDeleteRange(request) => {
                delete_range(&mut write, request).map(Response::ResponseDeleteRange)
            }
            Request::RequestTxn(_) => Err(StoreError::internal("a transaction ran as one step")),
        })?;
        response.header = header(write.commit()?);
        Ok(response)
    }

    /// Runs a transaction that only reads, at one moment. See [`txn_is_read_only`].
    ///
    /// # Errors
    /// etcd's, for revisions to read; [`StoreError::Internal`] where it would write.
    pub fn txn_read(&self, request: &TxnRequest) -> Result<TxnResponse> {
        // Below the current revision by what the oldest read asks for: nothing of it may be removed meanwhile.
        let oldest = ranges(request)
            .filter(|range| range.revision > 0)
            .map(|range| range.revision)
            .min();
        let read = |moment: Moment<'_>| {
            let plan = Plan::make(&moment, request)?;
            plan.check_ranges(&moment)?;
            let mut response = plan.run(&mut |op| match op {
                Request::RequestRange(request) => {
                    range(&moment, request).map(Response::ResponseRange)
                }
                _ => Err(StoreError::internal("a transaction that only reads writes")),
            })?;
            response.header = header(moment.current);
            Ok(response)
        };
        match self.reading(oldest.unwrap_or(0), read) {
            // Perhaps only the branch that is not taken asks for what is not there.
            Err(StoreError::Compacted | StoreError::FutureRevision) if oldest.is_some() => {
                self.reading(0, read)
            }
            outcome => outcome,
        }
    }
}

fn ranges(request: &TxnRequest) -> impl Iterator<Item = &RangeRequest> {
    let ops = request.success.iter().chain(&request.failure);
    ops.filter_map(|op| match &op.request {
        Some(Request::RequestRange(range)) => Some(range),
        _ => None,
    })
}

/// The branch that a transaction takes, and those of the transactions in it.
struct Plan<'a> {
    succeeded: bool,
    steps: Vec<Step<'a>>,
}

enum Step<'a> {
    Request(&'a Request),
    Inside(Plan<'a>),
    /// An operation that names nothing; requests with one are refused before they come here.
    Nothing,
}

impl<'a> Plan<'a> {
    fn make(moment: &Moment<'_>, request: &'a TxnRequest) -> Result<Self> {
        let succeeded = all_hold(moment, &request.compare)?;
        let ops = if succeeded {
            &request.success
        } else {
            &request.failure
        };
        let steps = ops.iter().map(|op| {
            Ok(match &op.request {
                Some(Request::RequestTxn(request)) => Step::Inside(Self::make(moment, request)?),
                Some(request) => Step::Request(request),
                None => Step::Nothing,
            })
        });
        Ok(Self {
            succeeded,
            steps: steps.collect::<Result<_>>()?,
        })
    }

    fn check(&self, check: &impl Fn(&Request) -> Result<()>) -> Result<()> {
        self.steps.iter().try_for_each(|step| match step {
            Step::Request(request) => check(request),
            Step::Inside(plan) => plan.check(check),
            Step::Nothing => Ok(()),
        })
    }

    /// etcd, `server/etcdserver/apply.go`, `checkRequestPut`.
    fn check_puts(&self, moment: &Moment<'_>) -> Result<()> {
        self.check(&|request| {
            let Request::RequestPut(put) = request else {
                return Ok(());
            };
            if (put.ignore_value || put.ignore_lease) && !moment.exists(&put.key) {
                return Err(StoreError::KeyNotFound);
            }
            moment.store.check_lease(put.lease)
        })
    }

    /// etcd, `server/etcdserver/apply.go`, `checkRequestRange`. Other than outside of a transaction, a negative revision
    /// is one before the compact revision.
    fn check_ranges(&self, moment: &Moment<'_>) -> Result<()> {
        self.check(&|request| match request {
            Request::RequestRange(range) if range.revision > moment.current => {
                Err(StoreError::FutureRevision)
            }
            Request::RequestRange(range)
                if range.revision != 0 && range.revision < moment.compact =>
            {
                Err(StoreError::Compacted)
            }
            _ => Ok(()),
        })
    }

    /// Runs the steps in order. Only the outermost answer gets the transaction's revision, as in etcd.
    fn run(&self, step: &mut impl FnMut(&Request) -> Result<Response>) -> Result<TxnResponse> {
        let responses = self.steps.iter().map(|planned| {
            let response = match planned {
                Step::Request(request) => Some(step(request)?),
                Step::Inside(plan) => Some(Response::ResponseTxn(plan.run(step)?)),
                Step::Nothing => None,
            };
            Ok(ResponseOp { response })
        });
        Ok(TxnResponse {
            responses: responses.collect::<Result<_>>()?,
            succeeded: self.succeeded,
            header: Some(ResponseHeader::default()),
        })
    }
}
