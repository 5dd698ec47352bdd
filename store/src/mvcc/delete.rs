//! Delete range.

use revkeep_schemas::etcd_api::etcdserverpb::{DeleteRangeRequest, DeleteRangeResponse};

use super::{Mvcc, index::Span, range::header, write::Write};
use crate::error::Result;

impl Mvcc {
    /// Deletes keys, all in one revision; none deleted takes no revision.
    pub fn delete_range(&self, request: &DeleteRangeRequest) -> Result<DeleteRangeResponse> {
        let mut write = Write::begin(self);
        let response = delete_range(&mut write, request)?;
        write.commit()?;
        Ok(response)
    }
}

/// etcd, `server/etcdserver/apply.go`, `DeleteRange`.
pub(super) fn delete_range(
    write: &mut Write<'_>,
    request: &DeleteRangeRequest,
) -> Result<DeleteRangeResponse> {
    let span = Span::new(&request.key, &request.range_end);
    let mut prev_kvs = Vec::new();
    if request.prev_kv {
        let moment = write.moment();
        let (changes, _) = moment.changes(span, moment.current, 0);
        prev_kvs = moment.rows(&changes)?;
    }
    let deleted = write.delete(span)?;
    Ok(DeleteRangeResponse {
        header: header(write.revision()),
        deleted: i64::try_from(deleted).unwrap_or(i64::MAX),
        prev_kvs,
    })
}
