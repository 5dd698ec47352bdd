//! Writes a small vault with everything in it that this version can write, for the golden corpus.
//!
//!     cargo run --example golden_vault -- schemas/golden/revkeep/vaults/NAME
//!
//! writes a new one; `REVKEEP_GOLDEN=write` has the test note what comes of it. Run it once for every version that changes a
//! format, check the folder in, and never touch it again: `restores_golden_vaults.rs` restores all of them. It never writes
//! into a folder that is there.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use chrono::{TimeDelta, Utc};
use revkeep_schemas::hashkv::HashKv;
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::manifest::{ChunkerOptions, PinRecord, SmallBucket, Witness};
use revkeep_schemas::{Revision, Row, RowBuf, RowKey, RowSource};
use revkeep_vault::retention::{Progress, Rules};
use revkeep_vault::{
    BaseFacts, Checkpoint, Cluster, ClusterName, CompactionMark, Head, LeaseFact, PinName,
    SourceIdentity, Timeline, TimelineId, TimelineRecord, Vault,
};

/// Small, so that bases have several and share some.
const CHUNKS: ChunkerOptions = ChunkerOptions {
    min_bytes: 600,
    target_bytes: 1_200,
    max_bytes: 4_000,
};
const START_UNIX_MS: i64 = 1_790_000_000_000;
const LEASE: i64 = 0x1234_5678_9abc;

/// A history of 30 keys, some with a lease, one transaction of two changes and one deletion in each ten revisions.
fn history(last: i64, branch: &str) -> Vec<RowBuf> {
    let mut rows = Vec::new();
    let mut live = BTreeMap::<String, (i64, i64)>::new();
    let fork = 110;
    for main in 2..=last {
        let changes = if main % 10 == 0 { 2 } else { 1 };
        for sub in 0..changes {
            let name = format!(
                "/registry/pods/ns-{}/pod-{:02}",
                main % 3,
                (main * 7 + sub) % 30
            );
            let deletes = main % 10 == 5 && live.contains_key(&name);
            let value = if deletes {
                live.remove(&name);
                KeyValue::encode_tombstone(name.as_bytes())
            } else {
                let (created, version) = live.entry(name.clone()).or_insert((main, 0));
                *version += 1;
                let text = if main > fork { branch } else { "shared" };
                KeyValue {
                    key: name.as_bytes(),
                    create_revision: *created,
                    mod_revision: main,
                    version: *version,
                    value: format!("{text} value of revision {main} {}", "x".repeat(40)).as_bytes(),
                    lease: if main % 11 == 0 { LEASE + main % 2 } else { 0 },
                }
                .encode()
            };
            rows.push(RowBuf {
                key: RowKey {
                    main: Revision(main),
                    sub,
                    tombstone: deletes,
                },
                value: value.into(),
            });
        }
    }
    rows
}

struct Rows(std::vec::IntoIter<RowBuf>, Option<RowBuf>);

impl RowSource for Rows {
    type Error = Infallible;

    fn next_row(&mut self) -> Result<Option<Row<'_>>, Infallible> {
        self.1 = self.0.next();
        Ok(self.1.as_ref().map(RowBuf::as_row))
    }
}

fn key(row: &RowBuf) -> Option<Vec<u8>> {
    let kv = KeyValue::decode(&row.value).ok()?;
    Some(kv.key.to_vec())
}

/// The newest row of each key at or below a revision.
fn newest(rows: &[RowBuf], at: i64) -> BTreeMap<Option<Vec<u8>>, RowKey> {
    let seen = rows.iter().filter(|row| row.key.main.0 <= at);
    seen.map(|row| (key(row), row.key)).collect()
}

/// What a member that was compacted at `compact` has at `revision`, by the newer rule of tombstones.
fn present(rows: &[RowBuf], revision: i64, compact: i64) -> Vec<RowBuf> {
    let newest = newest(rows, compact);
    let stays = |row: &&RowBuf| {
        let main = row.key.main.0;
        let lives = if row.key.tombstone {
            main == compact
        } else {
            newest.get(&key(row)) == Some(&row.key)
        };
        main <= revision && (main > compact || lives)
    };
    rows.iter().filter(stays).cloned().collect()
}

/// etcd's hash of all of them: of what is compacted only what still lives at the end counts.
fn hash_kv(present: &[RowBuf], compact: i64) -> u32 {
    let newest = newest(present, i64::MAX);
    let mut hash = HashKv::new();
    for row in present {
        let lives = !row.key.tombstone && newest.get(&key(row)) == Some(&row.key);
        if row.key.main.0 > compact || lives {
            hash.update(&row.as_row());
        }
    }
    hash.finish()
}

fn bucket(name: &str, entries: &[(&[u8], &[u8])]) -> SmallBucket {
    SmallBucket {
        name: name.as_bytes().to_vec(),
        entries: entries
            .iter()
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .collect(),
    }
}

async fn base(timeline: &Timeline, rows: &[RowBuf], revision: i64, compact: i64) -> Result<()> {
    let kept = present(rows, revision, compact);
    let checkpoint = Checkpoint {
        revision: Revision(revision),
        compact_revision: Revision(if compact == 0 { -1 } else { compact }),
        hash: hash_kv(&kept, compact),
    };
    let id = LEASE.to_be_bytes();
    // ID = 1, TTL = 2: 600 seconds.
    let mut lease = vec![8];
    prost::encoding::encode_varint(LEASE.cast_unsigned(), &mut lease);
    lease.extend([16, 0xd8, 0x04]);
    let facts = BaseFacts {
        revision: Revision(revision),
        compact_revision: Revision(compact),
        buckets: vec![
            bucket(
                "auth",
                &[
                    (b"authEnabled", &[0]),
                    (b"authRevision", &1_u64.to_be_bytes()),
                ],
            ),
            bucket("authRoles", &[(b"root", b"\x0a\x04root")]),
            bucket(
                "authUsers",
                &[(b"root", b"\x0a\x04root\x12\x04hash\x1a\x04root")],
            ),
            bucket("cluster", &[(b"clusterVersion", b"3.5.0")]),
            bucket("lease", &[(&id, &lease)]),
            bucket(
                "meta",
                &[
                    (b"consistent_index", &777_u64.to_be_bytes()),
                    (b"term", &3_u64.to_be_bytes()),
                ],
            ),
        ],
        checkpoint: Some(checkpoint),
        etcd_version: "3.5.35".to_owned(),
        cluster_id: 0xc0ff_ee00,
        member_id: 7,
        raft_term: 3,
        raft_index: 777,
        db_bytes: 1 << 20,
        started_unix_ms: START_UNIX_MS + revision * 1000,
        finished_unix_ms: START_UNIX_MS + revision * 1000 + 400,
    };
    let rows = Rows(kept.into_iter(), None);
    let written = timeline.write_base_with(facts, rows, None, CHUNKS).await?;
    ensure!(written.chunks.len() > 1, "the base has one chunk alone");
    Ok(())
}

struct Facts<'a> {
    level: u8,
    compactions: &'a [(i64, i64)],
    lease: Option<i64>,
}

const PLAIN: Facts<'_> = Facts {
    level: 0,
    compactions: &[],
    lease: None,
};

async fn segment(
    timeline: &Timeline,
    rows: &[RowBuf],
    (first, last): (i64, i64),
    facts: Facts<'_>,
) -> Result<()> {
    let mut writer = timeline.segment_writer(facts.level, 3);
    for main in first..=last {
        let of_it = rows.iter().filter(|row| row.key.main.0 == main);
        let of_it: Vec<_> = of_it.map(RowBuf::as_row).collect();
        writer.push_revision(&of_it, START_UNIX_MS + main * 1000)?;
    }
    for (revision, compact_revision) in facts.compactions {
        writer.compaction(CompactionMark {
            revision: Revision(*revision),
            compact_revision: Revision(*compact_revision),
        });
    }
    if let Some(first_seen) = facts.lease {
        writer.lease(LeaseFact {
            id: LEASE + 1,
            granted_ttl_s: 900,
            first_seen: Revision(first_seen),
        });
    }
    timeline.put_segment(&writer.finish()?).await?;
    Ok(())
}

fn source(version: &str, at: i64) -> SourceIdentity {
    SourceIdentity {
        cluster_id: 0xc0ff_ee00,
        member_ids: vec![7, 8, 9],
        etcd_version: version.to_owned(),
        first_seen_unix_ms: START_UNIX_MS + at * 1000,
        witness: Some(Witness {
            revision: Revision(at),
            raft_term: 3,
            raft_index: 700,
            ..Witness::default()
        }),
    }
}

/// Bases, segments of two agents and merged ones, and a gap.
async fn first(cluster: &Cluster) -> Result<()> {
    let rows = history(150, "first");
    let first = cluster.create_timeline(source("3.5.35", 40), None).await?;
    base(&first, &rows, 40, 0).await?;
    let compactions = [(60, 20), (85, 50)];
    let merged = Facts {
        level: 1,
        compactions: &compactions,
        lease: Some(55),
    };
    segment(&first, &rows, (41, 90), merged).await?;
    // Another agent's, and those that were merged.
    segment(
        &first,
        &rows,
        (41, 60),
        Facts {
            compactions: &[(60, 20)],
            lease: Some(55),
            ..PLAIN
        },
    )
    .await?;
    segment(
        &first,
        &rows,
        (55, 90),
        Facts {
            compactions: &[(85, 50)],
            ..PLAIN
        },
    )
    .await?;
    base(&first, &rows, 90, 50).await?;
    segment(&first, &rows, (91, 120), PLAIN).await?;
    first
        .put_gap(
            Revision(121),
            Revision(130),
            "the source had compacted up to 131",
        )
        .await?;
    base(&first, &rows, 140, 131).await?;
    segment(&first, &rows, (141, 150), PLAIN).await?;
    Ok(())
}

/// A timeline that parted from the first.
async fn second(cluster: &Cluster) -> Result<()> {
    let rows = history(145, "second");
    let record = TimelineRecord {
        source: source("3.6.16", 125),
        parent: Some((TimelineId::FIRST, Revision(110))),
        fork_at_most: true,
    };
    let second = cluster
        .open_timeline(record, Some(TimelineId::FIRST))
        .await?;
    base(&second, &rows, 125, 100).await?;
    segment(
        &second,
        &rows,
        (126, 145),
        Facts {
            compactions: &[(140, 105)],
            ..PLAIN
        },
    )
    .await?;
    Ok(())
}

/// Writes it.
///
/// # Errors
/// When something is there already, or nothing can be written.
pub(crate) async fn write(folder: &Path) -> Result<()> {
    ensure!(
        !folder.exists(),
        "{} is there already: golden files are never changed",
        folder.display()
    );
    fs::create_dir_all(folder)?;
    let vault = folder
        .join("vault")
        .canonicalize()
        .unwrap_or(fs::canonicalize(folder)?.join("vault"));
    fs::create_dir(&vault)?;
    let url = format!("file://{}", vault.display());
    let cluster = Vault::create(&url)
        .await?
        .cluster(&ClusterName::new("golden")?);
    first(&cluster).await?;
    second(&cluster).await?;
    let pin = PinRecord {
        timeline: TimelineId::FIRST,
        revision: Revision(77),
        reason: "before the upgrade".to_owned(),
        created_unix_ms: START_UNIX_MS,
        expires_unix_ms: None,
    };
    cluster
        .set_pin(&PinName::new("before-upgrade")?, &pin)
        .await?;
    let head = Head {
        timeline: TimelineId(2),
        base_revision: Revision(125),
        durable_revision: Revision(145),
        heartbeat_unix_ms: START_UNIX_MS + 145_000,
        source_revision: Revision(147),
        compact_revision: Revision(105),
        uploader: 42,
        turn: 3,
        followed_unix_ms: START_UNIX_MS + 145_000,
    };
    cluster.put_head(&head).await?;

    // What retention has marked stays until its grace has ended. It looks at the store's times, so all was written long ago.
    age(&vault)?;
    let rules = Rules {
        window: TimeDelta::days(1),
        daily: 0,
        monthly: 0,
        minimum: 1,
        grace: TimeDelta::days(36_500),
        ..Rules::default()
    };
    let marked = cluster.apply_retention(&rules, &Utc).await?;
    // Git keeps no empty folders, which probes leave.
    if vault.join("probe").exists() {
        fs::remove_dir_all(vault.join("probe"))?;
    }
    ensure!(
        matches!(marked, Progress::Marked { .. }),
        "nothing was marked: {marked:?}"
    );
    Ok(())
}

fn age(folder: &Path) -> Result<()> {
    let long_ago = SystemTime::now() - Duration::from_secs(90 * 86_400);
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            age(&path)?;
        } else {
            File::options()
                .write(true)
                .open(&path)?
                .set_times(FileTimes::new().set_modified(long_ago))?;
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .context("usage: golden_vault FOLDER")?;
    write(Path::new(&folder)).await
}
