//! A small deterministic state machine: it writes down what it is given.

use std::{
    io::Write as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use prost::Message as _;
use revkeep_schemas::{
    etcd_api::etcdserverpb::PutRequest,
    store_api::{Proposal, proposal::Command},
};
use revkeep_store::{
    Result, StoreError,
    backend::Position,
    raft::{EntryBody, SnapshotFile, StateMachine},
};

/// A command that was applied.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Row {
    #[prost(uint64, tag = "1")]
    pub index: u64,
    #[prost(string, tag = "2")]
    pub what: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Pages {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    index: u64,
    #[prost(bytes = "bytes", tag = "3")]
    raft: Bytes,
    #[prost(message, repeated, tag = "4")]
    rows: Vec<Row>,
}

impl Pages {
    fn position(&self) -> Position {
        Position::new(self.term, self.index)
    }
}

/// What survives a crash.
#[derive(Default)]
pub struct JournalStore {
    durable: Mutex<Pages>,
    installs: AtomicU64,
    snapshots: AtomicU64,
}

impl JournalStore {
    /// How many snapshots were installed.
    pub fn installs(&self) -> u64 {
        self.installs.load(Ordering::SeqCst)
    }

    /// How many snapshots were made for others.
    pub fn snapshots(&self) -> u64 {
        self.snapshots.load(Ordering::SeqCst)
    }
}

/// Writes down every command, and answers with how many there are by then. Durable only as of the last flush.
pub struct Journal {
    store: Arc<JournalStore>,
    pages: Mutex<Pages>,
    scratch: std::path::PathBuf,
}

impl Journal {
    /// The journal as of the last flush.
    pub fn open(store: Arc<JournalStore>, scratch: &std::path::Path) -> Self {
        let pages = store.durable.lock().unwrap().clone();
        Self {
            store,
            pages: Mutex::new(pages),
            scratch: scratch.to_path_buf(),
        }
    }

    /// All commands, in order.
    pub fn rows(&self) -> Vec<String> {
        let pages = self.pages.lock().unwrap();
        pages.rows.iter().map(|row| row.what.clone()).collect()
    }

    /// How many commands there are.
    pub fn revision(&self) -> u64 {
        self.pages.lock().unwrap().rows.len() as u64
    }

    /// A command for it.
    pub fn command(what: &str, padding: usize) -> Command {
        Command::Put(PutRequest {
            key: what.to_owned().into(),
            value: vec![b'x'; padding].into(),
            ..PutRequest::default()
        })
    }
}

fn what(proposal: &Proposal) -> String {
    match &proposal.command {
        Some(Command::Put(put)) => String::from_utf8_lossy(&put.key).into_owned(),
        other => format!("{other:?}"),
    }
}

impl StateMachine for Journal {
    type Outcome = u64;

    fn position(&self) -> Position {
        self.pages.lock().unwrap().position()
    }

    fn durable(&self) -> Position {
        self.store.durable.lock().unwrap().position()
    }

    fn raft_state(&self) -> Option<Bytes> {
        let raft = self.pages.lock().unwrap().raft.clone();
        (!raft.is_empty()).then_some(raft)
    }

    fn apply(&self, at: Position, body: EntryBody<'_>) -> Result<Vec<u64>> {
        let mut pages = self.pages.lock().unwrap();
        if at.index <= pages.index {
            return Ok(Vec::new());
        }
        if at.index != pages.index + 1 || at.term < pages.term {
            return Err(StoreError::internal(format!(
                "after {} comes {at}",
                pages.position()
            )));
        }
        (pages.term, pages.index) = (at.term, at.index);
        match body {
            EntryBody::Blank => Ok(Vec::new()),
            EntryBody::Membership { raft_bytes, .. } => {
                pages.raft = raft_bytes.clone();
                Ok(Vec::new())
            }
            EntryBody::Commands(commands) => Ok(commands
                .iter()
                .map(|command| {
                    pages.rows.push(Row {
                        index: at.index,
                        what: what(command),
                    });
                    pages.rows.len() as u64
                })
                .collect()),
        }
    }

    fn flush(&self) -> Result<Position> {
        let pages = self.pages.lock().unwrap();
        *self.store.durable.lock().unwrap() = pages.clone();
        Ok(pages.position())
    }

    fn snapshot(&self) -> Result<SnapshotFile> {
        self.store.snapshots.fetch_add(1, Ordering::SeqCst);
        let pages = self.pages.lock().unwrap().clone();
        let mut file = tempfile::NamedTempFile::new_in(&self.scratch)
            .map_err(|error| StoreError::disk("create a snapshot", error))?;
        file.write_all(&pages.encode_to_vec())
            .map_err(|error| StoreError::disk("write a snapshot", error))?;
        Ok(SnapshotFile {
            position: pages.position(),
            raft_bytes: Some(pages.raft),
            path: file.into_temp_path(),
        })
    }

    fn install(&self, file: &SnapshotFile) -> Result<()> {
        let bytes = std::fs::read(&file.path)
            .map_err(|error| StoreError::disk("read a snapshot", error))?;
        let pages = Pages::decode(bytes.as_slice())
            .map_err(|error| StoreError::internal_from("decode a snapshot", error))?;
        if pages.position() != file.position {
            return Err(StoreError::internal("the snapshot is of another position"));
        }
        self.store.installs.fetch_add(1, Ordering::SeqCst);
        *self.store.durable.lock().unwrap() = pages.clone();
        *self.pages.lock().unwrap() = pages;
        Ok(())
    }
}
