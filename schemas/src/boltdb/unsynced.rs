//! A db file that is complete, but not yet durable.

use std::fs::File;

use super::writeback::Writeback;
use crate::FormatError;

/// A finished db file of which a part may still be in the operating system's memory. It can be read already; it is
/// durable when [`UnsyncedDb::sync`] has returned.
#[must_use = "the file is not durable before it is synced"]
#[derive(Debug)]
pub struct UnsyncedDb {
    pub(super) file: File,
    pub(super) what: String,
    pub(super) writeback: Writeback,
}

impl UnsyncedDb {
    /// Makes the file durable; the caller syncs its directory.
    ///
    /// # Errors
    /// [`FormatError::Io`] when this sync or one before it failed; the file is then worthless.
    pub fn sync(mut self) -> Result<(), FormatError> {
        let synced = self.writeback.finish().and_then(|()| self.file.sync_all());
        synced.map_err(FormatError::io(format!("{}: sync", self.what)))
    }
}
