//! Does what was prepared: one pass over the rows, or two where something was compacted, a read-back, and one rename.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use revkeep_schemas::compaction::LiveIndex;
use revkeep_schemas::member::{RestoredCluster, write_raft_files};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::error::{Kind, RestoreError};
use crate::estimate::Traffic;
use crate::leases::LeaseRule;
use crate::prepare::Prepared;
use crate::replay::index_rows;
use crate::report::{Report, ResultHash, Seconds};
use crate::source::Source;
use crate::target::{Built, Contents, Staging, build_database, read_back};

/// Where the result goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A member's data directory.
    DataDir {
        /// The directory: absent or empty.
        path: PathBuf,
        /// Where the log goes if not into the data directory: absent or empty.
        wal_dir: Option<PathBuf>,
        /// The cluster to boot into.
        cluster: RestoredCluster,
        /// The name of the member to build.
        name: String,
    },
    /// A data directory of `revkeep-store`: the rows and the members as a seed, which the store takes in at its first
    /// start (`schemas/formats/store.md`).
    StoreDir {
        /// The directory: absent or empty.
        path: PathBuf,
        /// The cluster to boot into.
        cluster: RestoredCluster,
    },
    /// A snapshot file for `etcdutl snapshot restore`; must not exist.
    SnapshotFile {
        /// The file.
        path: PathBuf,
    },
}

impl Destination {
    /// The path that appears at the end.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::DataDir { path, .. }
            | Self::StoreDir { path, .. }
            | Self::SnapshotFile { path } => path,
        }
    }

    /// How many members are restored one by one; 1 for a file that all take.
    #[must_use]
    pub fn members(&self) -> usize {
        self.cluster().map_or(1, |cluster| cluster.members.len())
    }

    /// What an operator does with the result.
    fn next(&self) -> String {
        match self {
            Self::SnapshotFile { path } => {
                format!("etcdutl snapshot restore {} --data-dir …", path.display())
            }
            Self::StoreDir { path, .. } => {
                format!("revkeep-store serve --data-dir {} …", path.display())
            }
            Self::DataDir { path, wal_dir, .. } => {
                let wal_dir = wal_dir.as_ref();
                let wal_dir = wal_dir.map(|wal_dir| format!(" --wal-dir {}", wal_dir.display()));
                format!(
                    "start etcd with --data-dir {}{}, as the user who owns it",
                    path.display(),
                    wal_dir.unwrap_or_default()
                )
            }
        }
    }

    fn cluster(&self) -> Option<&RestoredCluster> {
        match self {
            Self::DataDir { cluster, .. } | Self::StoreDir { cluster, .. } => Some(cluster),
            Self::SnapshotFile { .. } => None,
        }
    }
}

/// Told how many more bytes of rows were worked through, unpacked.
pub type Progress<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// Restores, on a thread that may block. Until the last rename nothing is at the destination, and nothing stays there when this
/// fails.
///
/// # Errors
/// [`Kind::Refused`] when something is at the destination, [`Kind::Interrupted`] once `cancelled` is true, and
/// what reading, proving and writing report.
pub fn execute(
    runtime: &Handle,
    source: &Source,
    prepared: &Prepared,
    destination: &Destination,
    cancelled: &watch::Receiver<bool>,
    plan_seconds: f64,
    progress: Progress<'_>,
) -> Result<Report, RestoreError> {
    let places = Places::prepare(destination)?;
    let started = Instant::now();
    let recipe = &prepared.recipe;
    let feed = |pieces: &[_]| source.feed(runtime, pieces.to_vec(), cancelled.clone());
    let expected = usize::try_from(prepared.index_rows).unwrap_or(usize::MAX);
    let mut batches = feed(&prepared.index_pieces);
    let seed = random_seed();
    let index = index_rows(recipe, &mut batches, seed, expected, progress)?;
    drop(batches);
    let indexed = Instant::now();

    let contents = Contents {
        buckets: &prepared.buckets,
        cluster: destination.cluster(),
        granted: &prepared.granted,
    };
    let mut batches = feed(&prepared.pieces);
    let (built, unsynced) = build_database(
        &places.database,
        recipe,
        &index,
        &contents,
        seed,
        &mut batches,
        progress,
    )?;
    drop(batches);
    let written = Instant::now();

    // The disk takes what is left while the processors read it back. Neither alone is enough.
    thread::scope(|scope| {
        let syncing = scope.spawn(|| unsynced.sync());
        verify(&places.database, prepared, &index, &built, cancelled)?;
        let synced = syncing.join().map_err(|_| {
            RestoreError::new(Kind::Failed, "the thread that synced the db file panicked")
        })?;
        Ok::<_, RestoreError>(synced?)
    })?;
    let removed = places.removed();
    places.commit(destination)?;
    Ok(report(
        prepared,
        destination,
        built,
        &removed,
        Seconds {
            plan: plan_seconds,
            index: (indexed - started).as_secs_f64(),
            write: (written - indexed).as_secs_f64(),
            verify: written.elapsed().as_secs_f64(),
        },
    ))
}

fn verify(
    database: &Path,
    prepared: &Prepared,
    index: &LiveIndex,
    built: &Built,
    cancelled: &watch::Receiver<bool>,
) -> Result<(), RestoreError> {
    read_back(database, &prepared.recipe, index, built, || {
        if *cancelled.borrow() {
            return Err(crate::replay::interrupted());
        }
        Ok(())
    })
}

/// Staging directories for the data directory, or the file, and for a log of its own.
struct Places {
    main: Staging,
    log: Option<Staging>,
    database: PathBuf,
}

impl Places {
    fn prepare(destination: &Destination) -> Result<Self, RestoreError> {
        match destination {
            Destination::SnapshotFile { path } => {
                let main = Staging::for_file(path)?;
                let database = main.path().join("db");
                Ok(Self {
                    main,
                    log: None,
                    database,
                })
            }
            Destination::StoreDir { path, .. } => {
                let main = Staging::for_directory(path)?;
                let seed = main.path().join("seed");
                make_private(&seed)?;
                Ok(Self {
                    main,
                    log: None,
                    database: seed.join("db"),
                })
            }
            Destination::DataDir { path, wal_dir, .. } => {
                if let Some(wal_dir) = wal_dir
                    && nested(path, wal_dir)
                {
                    return Err(RestoreError::new(
                        Kind::Invalid,
                        "--wal-dir and --data-dir lie inside each other: leave --wal-dir out, or give one elsewhere",
                    ));
                }
                let log = wal_dir.as_deref().map(Staging::for_directory).transpose()?;
                let main = Staging::for_directory(path)?;
                let snap = main.path().join("member/snap");
                make_private(&main.path().join("member"))?;
                make_private(&snap)?;
                Ok(Self {
                    main,
                    log,
                    database: snap.join("db"),
                })
            }
        }
    }

    /// The remains of restores into the same places that were killed.
    fn removed(&self) -> Vec<PathBuf> {
        let log = self.log.iter().flat_map(Staging::removed);
        self.main.removed().iter().chain(log).cloned().collect()
    }

    fn commit(self, destination: &Destination) -> Result<(), RestoreError> {
        match destination {
            Destination::SnapshotFile { .. } => self.main.commit_file(&self.database),
            Destination::StoreDir { .. } => self.main.commit_directory(),
            Destination::DataDir {
                cluster,
                name,
                wal_dir,
                ..
            } => {
                let member = self.main.path().join("member");
                let log = self.log.as_ref().map(Staging::path);
                write_raft_files(&member, log, cluster, name)?;
                if let Some(log) = self.log {
                    log.commit_directory()?;
                }
                self.main.commit_directory().inspect_err(|_| {
                    // The log alone is no member: take back what was just placed.
                    if let Some(wal_dir) = wal_dir {
                        let _best_effort = fs::remove_dir_all(wal_dir);
                    }
                })
            }
        }
    }
}

/// Whether one of two paths lies inside of the other, however they are spelled.
fn nested(one: &Path, other: &Path) -> bool {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let (one, other) = (absolute(one), absolute(other));
    one.starts_with(&other) || other.starts_with(&one)
}

fn make_private(directory: &Path) -> Result<(), RestoreError> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(directory)
        .map_err(RestoreError::io(format!("create {}", directory.display())))
}

/// The standard library seeds its hash maps from the operating system.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn report(
    prepared: &Prepared,
    destination: &Destination,
    built: Built,
    removed: &[PathBuf],
    seconds: Seconds,
) -> Report {
    let mut notes = prepared.notes.clone();
    notes.extend(removed.iter().map(|path| {
        format!(
            "removed {}, which a restore left that was killed",
            path.display()
        )
    }));
    if !built.synthesised_leases.is_empty() {
        notes.push(format!(
            "the TTL of {} leases is not known; they got one hour",
            built.synthesised_leases.len()
        ));
    }
    Report {
        plan: prepared.report.clone(),
        target: destination.path().to_path_buf(),
        restored_rows: built.rows,
        db_bytes: built.bytes,
        hashkv: ResultHash {
            hash: built.hash,
            revision: prepared.recipe.target,
            compact_revision: prepared.recipe.compact_revision,
        },
        compared_with: built.replayed.proofs,
        leases: built.leases,
        detached_rows: (prepared.recipe.leases == LeaseRule::Detach).then_some(built.detached_rows),
        leases_with_unknown_ttl: built
            .synthesised_leases
            .iter()
            .map(|id| format!("{:016x}", id.cast_unsigned()))
            .collect(),
        notes,
        next: destination.next(),
        fetched: Traffic::default(),
        seconds,
    }
}
