//! Who a member is: written once.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::folder::failed;
use crate::error::{Result, StoreError};
use crate::members::Member;

const FILE: &str = "identity";

/// The ids that a member keeps for its whole life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Identity {
    /// Its cluster.
    pub(in crate::server) cluster_id: u64,
    /// Itself.
    pub(in crate::server) member_id: u64,
    /// Its peer URLs when it began.
    pub(in crate::server) peer_urls: Vec<String>,
    /// With whom it founded the cluster, itself among them; empty if it joined one. Needed again by a first start that
    /// ended before the log's first entry.
    pub(in crate::server) founders: Vec<Member>,
}

impl Identity {
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = fs::read(&path).map_err(|error| failed("read", &path, error))?;
        serde_json::from_slice(&text).map_err(|error| {
            StoreError::damaged(
                path.display().to_string(),
                format!("{error}. Remove the data directory and let the member join anew"),
            )
        })
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        let text = serde_json::to_vec(self)
            .map_err(|error| StoreError::internal_from("write an identity", error))?;
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| {
                file.write_all(&text)?;
                file.sync_all()
            })
            .map_err(|error| failed("write", &path, error))
    }
}
