//! The Raft files of a restored member, and what its database has to say about the same cluster.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use prost::Message;

use super::{
    MemberIdentity, ResolvedCluster, RestoredCluster,
    raftpb::{ConfChange, ConfState, Entry, HardState, WalMetadata, WalSnapshot},
    snap::Snap,
    v2store,
    wal::{WalName, WalRecord, WalWriter},
};
use crate::FormatError;

/// The Raft term in which a restored member starts.
pub const RESTORED_TERM: u64 = 1;

/// What [`write_raft_files`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftFiles {
    /// The write-ahead log.
    pub wal: PathBuf,
    /// The Raft snapshot.
    pub snap: PathBuf,
    /// This member's id.
    pub member_id: u64,
    /// The cluster's id.
    pub cluster_id: u64,
}

/// Writes the log and the Raft snapshot of the member named `own`, as `etcdutl snapshot restore` does, and syncs them
/// and their directories. `member_dir` is the folder `member` of the data directory; the log goes to its `wal`, or to
/// `wal_dir`. Missing folders are made with mode 0700; the log has mode 0600 and the snapshot what the umask leaves of
/// 0666.
///
/// # Errors
/// [`FormatError::Misuse`] for a cluster that is not sound, or a name that is not in it; [`FormatError::Io`] when a
/// file cannot be written, or the folder of the log is not empty. Files written before an error are left.
pub fn write_raft_files(
    member_dir: &Path,
    wal_dir: Option<&Path>,
    cluster: &RestoredCluster,
    own: &str,
) -> Result<RaftFiles, FormatError> {
    let cluster = cluster.resolve()?;
    let member = cluster.member(own)?;
    let log = encode_log(&cluster, member);
    let snapshot = encode_snapshot(&cluster)?;

    let wal_dir = wal_dir.map_or_else(|| member_dir.join("wal"), Path::to_path_buf);
    let snap_dir = member_dir.join("snap");
    make_dir(&wal_dir)?;
    make_dir(&snap_dir)?;
    refuse_entries(&wal_dir)?;

    let files = RaftFiles {
        wal: wal_dir.join(WalName::default().to_string()),
        snap: snap_dir.join(snapshot.file_name()),
        member_id: member.id,
        cluster_id: cluster.id,
    };
    write_synced(&files.snap, &snapshot.encode(), 0o666)?;
    write_synced(&files.wal, &log, 0o600)?;
    for dir in [&wal_dir, &snap_dir] {
        sync_dir(dir)?;
        dir.parent().map_or(Ok(()), sync_dir)?;
    }
    Ok(files)
}

/// The log: each member joins, by ascending id, all in term 1, and a snapshot stands at the last of these entries.
fn encode_log(cluster: &ResolvedCluster, member: &MemberIdentity) -> Vec<u8> {
    let mut log = WalWriter::new(0);
    log.push(&WalRecord::Metadata(WalMetadata {
        node_id: Some(member.id),
        cluster_id: Some(cluster.id),
    }));
    log.push(&WalRecord::Snapshot(WalSnapshot {
        index: Some(0),
        term: Some(0),
        conf_state: None,
    }));
    for (member, index) in cluster.members.iter().zip(1..) {
        let change = ConfChange {
            id: Some(0),
            kind: Some(ConfChange::ADD_NODE),
            node_id: Some(member.id),
            context: Some(member.to_json().into_bytes()),
        };
        log.push(&WalRecord::Entry(Entry {
            kind: Some(Entry::CONF_CHANGE),
            term: Some(RESTORED_TERM),
            index: Some(index),
            data: Some(change.encode_to_vec()),
        }));
    }
    log.push(&WalRecord::State(HardState {
        term: Some(RESTORED_TERM),
        vote: cluster.members.first().map(|member| member.id),
        commit: Some(cluster.size()),
    }));
    log.push(&WalRecord::Snapshot(WalSnapshot {
        index: Some(cluster.size()),
        term: Some(RESTORED_TERM),
        conf_state: Some(conf_state(cluster)),
    }));
    log.finish()
}

fn encode_snapshot(cluster: &ResolvedCluster) -> Result<Snap, FormatError> {
    Ok(Snap {
        index: cluster.size(),
        term: RESTORED_TERM,
        conf_state: conf_state(cluster),
        data: v2store::encode(&cluster.members)?.into_bytes(),
    })
}

fn conf_state(cluster: &ResolvedCluster) -> ConfState {
    ConfState::of_voters(cluster.members.iter().map(|member| member.id).collect())
}

/// Rows for the small buckets of a restored database, each list in order of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendRows {
    /// The bucket `members`: hexadecimal id to JSON.
    pub members: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of the bucket `meta`: `consistent_index` and `term`, eight big-endian bytes each. The index has to be that of
    /// the log's last entry: below, the server does not start; above, it would skip writes.
    pub meta: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a restored database says about its cluster. [`survives_restore`] tells which rows of the source go.
///
/// # Errors
/// [`FormatError::Misuse`] for a cluster that is not sound.
pub fn backend_rows(cluster: &RestoredCluster) -> Result<BackendRows, FormatError> {
    let cluster = cluster.resolve()?;
    let mut members: Vec<_> = cluster
        .members
        .iter()
        .map(|member| (member.hex_id().into_bytes(), member.to_json().into_bytes()))
        .collect();
    members.sort();
    let number = |name: &str, value: u64| (name.as_bytes().to_vec(), value.to_be_bytes().to_vec());
    Ok(BackendRows {
        members,
        meta: vec![
            number("consistent_index", cluster.size()),
            number("term", RESTORED_TERM),
        ],
    })
}

/// Whether a row of a small bucket of the source belongs into a restored database. What describes the source's own
/// members, Raft log, alarms and version does not: kept, it stops some servers from starting, or from taking writes.
#[must_use]
pub fn survives_restore(bucket: &[u8], key: &[u8]) -> bool {
    match bucket {
        b"members" | b"members_removed" | b"alarm" => false,
        b"cluster" => !matches!(key, b"clusterVersion" | b"downgrade"),
        b"meta" => !matches!(
            key,
            b"consistent_index" | b"term" | b"confState" | b"storageVersion"
        ),
        _ => true,
    }
}

fn make_dir(path: &Path) -> Result<(), FormatError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let made = builder.create(path);
    made.map_err(FormatError::io(format!(
        "make the folder {}",
        path.display()
    )))
}

fn refuse_entries(dir: &Path) -> Result<(), FormatError> {
    let mut entries =
        fs::read_dir(dir).map_err(FormatError::io(format!("list {}", dir.display())))?;
    if entries.next().is_some() {
        let full = io::Error::new(
            io::ErrorKind::DirectoryNotEmpty,
            "it is not empty: give an empty or new folder",
        );
        return Err(FormatError::io(format!(
            "write a log into {}",
            dir.display()
        ))(full));
    }
    Ok(())
}

fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FormatError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let written = options.open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(FormatError::io(format!("write {}", path.display())))
}

fn sync_dir(path: &Path) -> Result<(), FormatError> {
    // The parent of a relative path of one part is empty, and means the working directory.
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let synced = File::open(path).and_then(|dir| dir.sync_all());
    synced.map_err(FormatError::io(format!(
        "sync the folder {}",
        path.display()
    )))
}
