//! What a restore left for the first start: a database file of etcd, its members with it.

use std::path::PathBuf;

use revkeep_schemas::boltdb::DbFile;

use crate::error::{Result, StoreError};
use crate::members::Member;

/// A database to begin with.
#[derive(Debug)]
pub(in crate::server) struct Seed {
    folder: PathBuf,
    /// The members that the restore was told; none for a bare database.
    pub(in crate::server) members: Vec<Member>,
}

impl Seed {
    pub(super) fn open(folder: PathBuf) -> Result<Option<Self>> {
        let path = folder.join("db");
        if !path.exists() {
            return Ok(None);
        }
        let damaged = |error: &dyn std::fmt::Display| {
            StoreError::damaged(
                path.display().to_string(),
                format!("{error}. Restore into an empty directory again"),
            )
        };
        let file = DbFile::open(&path).map_err(|error| damaged(&error))?;
        let mut members = Vec::new();
        if let Some(bucket) = file.bucket(b"members").map_err(|error| damaged(&error))? {
            let mut entries = bucket.cursor();
            while let Some((_, value)) = entries.next_entry().map_err(|error| damaged(&error))? {
                let member: Member =
                    serde_json::from_slice(value).map_err(|error| damaged(&error))?;
                members.push(member);
            }
        }
        Ok(Some(Self { folder, members }))
    }

    /// The database file.
    pub(in crate::server) fn file(&self) -> PathBuf {
        self.folder.join("db")
    }
}
