//! How long the disk takes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use redb::StorageBackend;

use crate::backend::{Disk, STATE_FILE, Watched, Watcher};

/// etcd's buckets, 1 ms to 8 s (etcd, `server/storage/wal/metrics.go`).
fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 14))
}

/// How long syncs took.
#[derive(Clone, Debug)]
pub struct SyncTimes {
    /// Those of the log.
    pub log: Histogram,
    /// Those of the state.
    pub state: Histogram,
}

impl Default for SyncTimes {
    fn default() -> Self {
        Self {
            log: histogram(),
            state: histogram(),
        }
    }
}

/// A disk whose syncs are measured.
#[derive(Debug)]
pub(super) struct TimedDisk {
    disk: Arc<dyn Disk>,
    times: SyncTimes,
}

impl TimedDisk {
    pub(super) fn new(disk: Arc<dyn Disk>, times: SyncTimes) -> Self {
        Self { disk, times }
    }
}

impl Disk for TimedDisk {
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let times = if name == STATE_FILE {
            &self.times.state
        } else {
            &self.times.log
        };
        Ok(Box::new(Watched {
            file: self.disk.open(name)?,
            watcher: times.clone(),
        }))
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        self.disk.exists(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn describe(&self, name: &str) -> String {
        self.disk.describe(name)
    }
}

impl Watcher for Histogram {
    fn synced(&self, took: Duration) {
        self.observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::backend::MemoryDisk;

    #[test]
    fn syncs_of_each_file_are_counted_apart() {
        let times = SyncTimes::default();
        let disk = TimedDisk::new(Arc::new(MemoryDisk::new()), times.clone());
        let (state, log) = (disk.open(STATE_FILE).unwrap(), disk.open("log").unwrap());
        state.sync_data().unwrap();
        log.sync_data().unwrap();
        log.sync_data().unwrap();
        let mut registry = Registry::default();
        registry.register("log", "", times.log);
        registry.register("state", "", times.state);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        assert!(
            text.contains("log_count 2\n") && text.contains("state_count 1\n"),
            "{text}"
        );
    }
}
