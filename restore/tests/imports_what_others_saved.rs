//! The promise: a snapshot that any etcd tool saved becomes a base, exactly, and nothing else does; and a plain snapshot comes
//! out again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use revkeep_harness::product::{Answer, VaultPlace, run};
use revkeep_harness::truth::{Truth, keys_at, leases_of};
use revkeep_harness::workload::Workload;
use revkeep_harness::{Etcd, EtcdOptions, EtcdTool, EtcdVersion, base_etcd, etcd_versions};
use serde_json::Value;
use tempfile::TempDir;

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

/// A source with a history, and a file that its own tool saved.
struct Saved {
    source: Etcd,
    workload: Workload,
    truth: Truth,
    file: PathBuf,
    folder: TempDir,
}

impl Saved {
    async fn of(version: &EtcdVersion, seed: u64) -> Result<Self> {
        let mut saved = Self {
            source: Etcd::start(version).await?,
            workload: Workload::new(seed),
            truth: Truth {
                revision: 0,
                compact_revision: 0,
                hash: 0,
                keys: Vec::new(),
                leases: std::collections::BTreeMap::new(),
            },
            file: PathBuf::new(),
            folder: TempDir::with_prefix("revkeep-import-")?,
        };
        saved.goes_on(60).await?;
        Ok(saved)
    }

    /// The source goes on, and is saved again.
    async fn goes_on(&mut self, steps: usize) -> Result<()> {
        let mut client = self.source.client().await?;
        for _ in 0..steps {
            self.workload.step(&mut client).await?;
        }
        client.put("last", steps.to_string(), None).await?;
        self.truth = Truth::now(&mut client).await?;
        let name = format!("{}.db", self.truth.revision);
        self.file = self.folder.path().join(name);
        self.source.tool().snapshot_save(&self.file).await
    }

    async fn same(&self, data_dir: &Path) -> Result<()> {
        let etcd = Etcd::start_with(self.source.version(), EtcdOptions::booting(data_dir)).await?;
        let mut client = etcd.client().await?;
        let at = self.truth.revision;
        let keys = keys_at(&mut client, at).await?;
        ensure!(keys == self.truth.keys, "the keys differ");
        let answer = client.hash_kv(at).await?;
        ensure!(
            (answer.hash(), answer.compact_version())
                == (self.truth.hash, self.truth.compact_revision),
            "HashKV {answer:?}, not {} under {}",
            self.truth.hash,
            self.truth.compact_revision
        );
        let leases = leases_of(&mut client, &keys).await?;
        let mut ours = self.truth.leases.clone();
        // Short ones may have ended on either side.
        ours.retain(|_, ttl_s| *ttl_s > 60);
        ensure!(
            ours.iter().all(|(id, ttl_s)| leases.get(id) == Some(ttl_s)),
            "leases {leases:?}, not {ours:?}"
        );
        Ok(())
    }
}

async fn import(vault: &VaultPlace, file: &Path, cluster: &str, flags: &[&str]) -> Result<Answer> {
    let arguments = ["import", text(file), "--cluster", cluster, "-w", "json"];
    run("revkeep", vault, &[&arguments[..], flags].concat()).await
}

fn said<'a>(report: &'a Value, name: &str) -> Option<&'a str> {
    report.get(name)?.as_str()
}

fn objects(folder: &Path) -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() {
            objects(&entry.path())?
        } else {
            1
        };
    }
    Ok(count)
}

async fn check_release(version: &EtcdVersion) -> Result<()> {
    let saved = Saved::of(version, 11).await?;
    let place = saved.folder.path();
    let vault = VaultPlace::folder(&place.join("vault"));
    let report = import(&vault, &saved.file, "c", &[]).await?.json()?;
    ensure!(
        said(&report, "outcome") == Some("imported")
            && report.get("sha256") == Some(&true.into())
            && report.get("hashkv") == Some(&saved.truth.hash.into())
            && report.get("revision") == Some(&saved.truth.revision.into()),
        "{report}"
    );
    let series = format!("{}.{}", version.series().0, version.series().1);
    ensure!(
        said(&report, "etcd_version").is_some_and(|known| known.starts_with(&series)),
        "{report}"
    );

    let data_dir = place.join("restored");
    let flags = ["restore", "c", "--latest", "--data-dir", text(&data_dir)];
    let answer = run("revkeep", &vault, &flags).await?;
    ensure!(answer.code == 0, "{answer:?}");
    saved
        .same(&data_dir)
        .await
        .context("imported and restored")?;

    let exported = place.join("exported.db");
    let flags = ["export", "c", "--latest", text(&exported), "-w", "json"];
    let report = run("revkeep", &vault, &flags).await?.json()?;
    ensure!(report.get("restored_rows").is_some(), "{report}");
    let data_dir = place.join("by-etcd");
    let tool = EtcdTool::new(version);
    tool.snapshot_restore(&exported, &data_dir, &[]).await?;
    saved.same(&data_dir).await.context("exported")?;

    // Again, and without its SHA-256: what is there is known.
    let before = objects(&place.join("vault"))?;
    let bare = place.join("bare.db");
    let bytes = fs::read(&saved.file)?;
    fs::write(&bare, bytes.get(..bytes.len() - 32).context("too short")?)?;
    for file in [&saved.file, &bare, &exported] {
        let report = import(&vault, file, "c", &[]).await?.json()?;
        ensure!(
            said(&report, "outcome") == Some("already there"),
            "{}: {report}",
            file.display()
        );
        let noted = report.to_string().contains("no SHA-256");
        ensure!(noted == (*file == bare), "{report}");
    }
    ensure!(
        objects(&place.join("vault"))? == before,
        "a second import wrote something"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_every_release_becomes_a_base() -> Result<()> {
    for version in etcd_versions() {
        check_release(&version)
            .await
            .with_context(|| format!("etcd {version}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_snapshot_is_refused() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let saved = Saved::of(&version, 12).await?;
    let place = saved.folder.path();
    let vault = VaultPlace::folder(&place.join("vault"));
    let good = fs::read(&saved.file)?;
    let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    let middle = good.len() / 2;
    let cases: [(&str, Vec<u8>, i32); 8] = [
        ("empty", Vec::new(), 13),
        ("text", b"hello, world\n".repeat(1000), 13),
        ("zip", [b"PK\x03\x04", &good[..]].concat(), 3),
        ("gzip", [b"\x1f\x8b\x08\x00", &good[..]].concat(), 3),
        ("flipped", damaged(&|bytes| bytes[middle] ^= 1), 13),
        ("cut", damaged(&|bytes| bytes.truncate(middle)), 13),
        ("cut at a page", damaged(&|bytes| bytes.truncate(8192)), 13),
        (
            "flipped in the page of a tree, without SHA-256",
            damaged(&|bytes| {
                bytes.truncate(bytes.len() - 32);
                // Every page after the metas says its own number first.
                for page in 2..bytes.len() / 4096 {
                    bytes[page * 4096] ^= 0x40;
                }
            }),
            13,
        ),
    ];
    for (what, bytes, code) in cases {
        let file = place.join("damaged.db");
        fs::write(&file, bytes)?;
        let answer = import(&vault, &file, "c", &[]).await?;
        ensure!(
            answer.code == code && answer.stderr.contains("damaged.db"),
            "{what}: {answer:?}"
        );
        ensure!(
            !place.join("vault").exists(),
            "{what}: something was written"
        );
    }
    let absent = import(&vault, &place.join("absent.db"), "c", &[]).await?;
    ensure!(absent.code == 1, "{absent:?}");
    let looked = import(&vault, &saved.file, "c", &["--dry-run"])
        .await?
        .json()?;
    ensure!(
        said(&looked, "outcome") == Some("verified") && !place.join("vault").exists(),
        "{looked}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeline_with_an_agent_takes_its_own_content_alone() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let mut saved = Saved::of(&version, 13).await?;
    let place = saved.folder.path().to_path_buf();
    let vault = VaultPlace::folder(&place.join("vault"));
    let early = saved.file.clone();
    saved.goes_on(10).await?;
    let (middle, middle_revision) = (saved.file.clone(), saved.truth.revision);
    saved.goes_on(10).await?;
    let state = place.join("state");
    let endpoint = saved.source.endpoint();
    let snapshot = ["snapshot", "--endpoints", &endpoint, "--cluster", "c"];
    let snapshot = [&snapshot[..], &["--state-dir", text(&state)]].concat();
    ensure!(run("revkeep-agent", &vault, &snapshot).await?.code == 0);

    // The base that the agent took holds the history before it, unless it was compacted.
    let mut proved = 0;
    for file in [&early, &middle] {
        let answer = import(&vault, file, "c", &[]).await?;
        match answer.code {
            0 => {
                let report = answer.json()?;
                ensure!(
                    said(&report, "timeline") == Some("0001")
                        && said(&report, "outcome") == Some("imported"),
                    "{report}"
                );
                proved += 1;
            }
            16 => {}
            _ => anyhow::bail!("{answer:?}"),
        }
    }
    ensure!(proved > 0, "nothing was proved: another seed, please");
    let restored = place.join("restored");
    let revision = middle_revision.to_string();
    let flags = ["restore", "c", "--to-revision", &revision, "--data-dir"];
    let answer = run(
        "revkeep",
        &vault,
        &[&flags[..], &[text(&restored)]].concat(),
    )
    .await?;
    ensure!(answer.code == 0, "{answer:?}");

    // What comes after it cannot be proved, nor can another source's.
    saved.goes_on(10).await?;
    let later = saved.file.clone();
    let other = Saved::of(&version, 14).await?;
    let before = objects(&place.join("vault"))?;
    for file in [&later, &other.file] {
        let refused = import(&vault, file, "c", &[]).await?;
        ensure!(
            refused.code == 16 && refused.stderr.contains("--new-timeline"),
            "{refused:?}"
        );
        let refused = import(&vault, file, "c", &["--timeline", "0001"]).await?;
        ensure!(refused.code == 13, "{refused:?}");
    }
    ensure!(
        objects(&place.join("vault"))? == before,
        "what was refused left something"
    );
    for outcome in ["imported", "already there"] {
        let report = import(&vault, &other.file, "c", &["--new-timeline"]).await?;
        let report = report.json()?;
        ensure!(
            said(&report, "timeline") == Some("0002") && said(&report, "outcome") == Some(outcome),
            "{report}"
        );
    }
    Ok(())
}
