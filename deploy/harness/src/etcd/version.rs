//! The releases of etcd that are installed, and the store that takes a release's place.

use crate::binary::binary;
use crate::dev::{dev_dir, missing};
use anyhow::Result;
use revkeep_schemas::hashkv::TombstoneRule;
use std::fmt;
use std::path::PathBuf;

/// The series that `deploy/dev/setup` must be able to provide everywhere.
const BASE: [(u32, u32); 2] = [(3, 4), (3, 5)];

/// One installed release of etcd; or this workspace's store, which takes etcd's flags and is spoken to by etcd's tools.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EtcdVersion {
    numbers: (u32, u32, u32),
    folder: PathBuf,
    /// The store's binary, where it is the store that is started.
    store: Option<PathBuf>,
}

impl EtcdVersion {
    /// Major and minor number, for example `(3, 5)`.
    pub fn series(&self) -> (u32, u32) {
        (self.numbers.0, self.numbers.1)
    }

    /// Major, minor and patch number.
    pub fn numbers(&self) -> (u32, u32, u32) {
        self.numbers
    }

    /// The path of one of its binaries: `etcd`, `etcdctl` or (from 3.5 on) `etcdutl`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whether it is the store that is started.
    pub fn is_store(&self) -> bool {
        self.store.is_some()
    }

    /// The program that serves, and what stands before etcd's flags.
    pub fn server(&self) -> (PathBuf, Option<&'static str>) {
        match &self.store {
            Some(store) => (store.clone(), Some("serve")),
            None => (self.program("etcd"), None),
        }
    }

    /// The flag of `revkeep restore` that builds its data directory.
    pub fn restore_flag(&self) -> &'static str {
        if self.is_store() {
            "--store-dir"
        } else {
            "--data-dir"
        }
    }

    /// Whether HashKV covers the same rows in both releases; the store follows the newest 3.5.
    pub fn hashes_like(&self, other: &Self) -> bool {
        let rule = |version: &Self| {
            let numbers = if version.is_store() {
                "3.5.35".to_owned()
            } else {
                version.to_string()
            };
            TombstoneRule::for_version(&numbers)
        };
        rule(self) == rule(other)
    }

    fn found(folder: PathBuf) -> Option<Self> {
        let mut numbers = folder
            .file_name()?
            .to_str()?
            .splitn(3, '.')
            .map(|part| part.parse().ok());
        let numbers = (numbers.next()??, numbers.next()??, numbers.next()??);
        folder.join("etcd").is_file().then_some(Self {
            numbers,
            folder,
            store: None,
        })
    }
}

impl fmt::Display for EtcdVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_store() {
            return f.write_str("store");
        }
        let (major, minor, patch) = self.numbers;
        write!(f, "{major}.{minor}.{patch}")
    }
}

fn installed() -> Vec<EtcdVersion> {
    let entries = std::fs::read_dir(dev_dir().join("etcd"))
        .into_iter()
        .flatten()
        .flatten();
    let mut versions: Vec<_> = entries
        .filter_map(|entry| EtcdVersion::found(entry.path()))
        .collect();
    versions.sort();
    versions
}

/// Every installed release, oldest first. Says by name which base series (3.4, 3.5) is missing.
///
/// # Panics
/// With `CI=true` if a base series is missing.
pub fn etcd_versions() -> Vec<EtcdVersion> {
    let versions = installed();
    for (major, minor) in BASE {
        if !versions
            .iter()
            .any(|version| version.series() == (major, minor))
        {
            missing(&format!("etcd {major}.{minor}"), true);
        }
    }
    versions
}

/// The newest installed release of a series, `etcd_series(3, 6)`; `None`, said by name, if there is none.
///
/// # Panics
/// With `CI=true` if a base series (3.4, 3.5) is missing.
pub fn etcd_series(major: u32, minor: u32) -> Option<EtcdVersion> {
    let newest = installed()
        .into_iter()
        .rfind(|version| version.series() == (major, minor));
    if newest.is_none() {
        missing(
            &format!("etcd {major}.{minor}"),
            BASE.contains(&(major, minor)),
        );
    }
    newest
}

/// The release for tests that need just any etcd: the oldest installed 3.5, the same wherever the setup ran.
///
/// # Panics
/// With `CI=true` if there is none.
pub fn base_etcd() -> Option<EtcdVersion> {
    let found = installed()
        .into_iter()
        .find(|version| version.series() == (3, 5));
    if found.is_none() {
        missing("etcd 3.5", true);
    }
    found
}

/// The store of this workspace (`revkeep-store`, built first if need be) in the place of etcd's newest 3.5, whose tools it is
/// spoken to with; `None` if those are not here.
///
/// # Errors
/// When cargo cannot build it.
pub fn store() -> Result<Option<EtcdVersion>> {
    let Some(tools) = etcd_series(3, 5) else {
        return Ok(None);
    };
    Ok(Some(EtcdVersion {
        store: Some(binary("revkeep-store")?),
        ..tools
    }))
}
