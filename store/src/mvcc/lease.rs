//! The end of a lease.

use super::{Mvcc, index::Span, write::Write};
use crate::error::Result;

impl Mvcc {
    /// Deletes a lease and, in one revision and in the order of their names, the keys that hang on it. Returns the
    /// revision that the store then stands at; without keys no revision is taken.
    ///
    /// # Errors
    /// [`StoreError::LeaseNotFound`](crate::StoreError::LeaseNotFound).
    pub fn revoke_lease(&self, id: i64) -> Result<i64> {
        let keys = self.leases.keys(id)?;
        let mut write = Write::begin(self);
        for key in &keys {
            write.delete(Span::One(key))?;
        }
        let revision = write.commit()?;
        self.leases.forget(id);
        Ok(revision)
    }
}
