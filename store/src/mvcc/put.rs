//! Put.

use revkeep_schemas::etcd_api::etcdserverpb::{PutRequest, PutResponse};

use super::{Mvcc, range::header, write::Write};
use crate::error::{Result, StoreError};

impl Mvcc {
    /// Puts one key.
    ///
    /// # Errors
    /// [`StoreError::LeaseNotFound`], or [`StoreError::KeyNotFound`] where the request takes the value or the lease from
    /// a key that is not there. Nothing is changed then.
    pub fn put(&self, request: &PutRequest) -> Result<PutResponse> {
        self.check_lease(request.lease)?;
        let mut write = Write::begin(self);
        let response = put(&mut write, request)?;
        write.commit()?;
        Ok(response)
    }

    /// etcd's check before a put: a lease that is named must be there.
    pub(super) fn check_lease(&self, lease: i64) -> Result<()> {
        if lease != 0 && !self.leases.contains(lease) {
            return Err(StoreError::LeaseNotFound);
        }
        Ok(())
    }
}

/// etcd, `server/etcdserver/apply.go`, `Put`.
pub(super) fn put(write: &mut Write<'_>, request: &PutRequest) -> Result<PutResponse> {
    let ignores = request.ignore_value || request.ignore_lease;
    let previous = if ignores || request.prev_kv {
        write.moment().now(&request.key)?
    } else {
        None
    };
    let (mut value, mut lease) = (&request.value, request.lease);
    if ignores {
        let previous = previous.as_ref().ok_or(StoreError::KeyNotFound)?;
        if request.ignore_value {
            value = &previous.value;
        }
        if request.ignore_lease {
            lease = previous.lease;
        }
    }
    write.put(&request.key, value, lease)?;
    Ok(PutResponse {
        header: header(write.next_revision()),
        prev_kv: previous.filter(|_| request.prev_kv),
    })
}
