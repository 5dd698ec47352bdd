//! The promise: every captured revision comes back exactly, judged by etcd itself.
//!
//! A real etcd is driven with random operations while a real agent captures it. At many moments the source is asked for
//! its `HashKV` and all its keys; afterwards each of those revisions is restored, a real etcd boots the result, and
//! must give the same answers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, CompactionOptions};
use futures::{StreamExt, TryStreamExt, stream};
use revkeep_harness::product::{Agent, CLUSTER, VaultPlace, run};
use revkeep_harness::truth::{self, Truth};
use revkeep_harness::workload::Workload;
use revkeep_harness::{
    Etcd, EtcdCluster, EtcdOptions, EtcdTool, EtcdVersion, SeaweedFs, etcd_versions, free_port,
};
use revkeep_schemas::hashkv::TombstoneRule;
use tempfile::TempDir;

/// Revisions compared for each source, unless `REVKEEP_POINTS` says otherwise.
const POINTS: usize = 50;
/// Sources captured and compared side by side, and revisions of each: a server that boots mostly waits.
const SOURCES_AT_ONCE: usize = 2;
const POINTS_AT_ONCE: usize = 4;
/// Operations between two compared revisions.
const STEPS_BETWEEN: usize = 8;
/// How long a revision may take to become durable on a busy machine.
const DURABLE_WITHIN: Duration = Duration::from_secs(60);
/// Leases longer than this cannot end while a test runs.
const LONG_LEASE_S: i64 = 600;

struct Captured {
    folder: TempDir,
    vault: VaultPlace,
    source: EtcdVersion,
    points: Vec<Truth>,
}

fn points() -> usize {
    std::env::var("REVKEEP_POINTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(POINTS)
}

fn seed() -> u64 {
    let seed = std::env::var("REVKEEP_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(rand_seed);
    eprintln!("REVKEEP_SEED={seed}");
    seed
}

fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

/// Drives a source while agents capture it, each at its own pace, and notes what the source says of itself.
async fn capture(
    source: &EtcdVersion,
    bucket: Option<VaultPlace>,
    seed: u64,
    points: usize,
    agents: usize,
) -> Result<Captured> {
    let folder = TempDir::with_prefix("revkeep-exact-")?;
    let vault = bucket.unwrap_or_else(|| VaultPlace::folder(&folder.path().join("vault")));
    let etcd = Etcd::start(source).await?;
    let mut client = etcd.client().await?;
    let mut workload = Workload::new(seed);
    // The first base finds a history, compacted and not.
    for _ in 0..40 {
        workload.step(&mut client).await?;
    }
    let mut running = Vec::new();
    for n in 0..agents {
        let interval = format!("{}ms", 100 + 130 * n);
        let flags = [
            "--flush-interval",
            &interval,
            "--flush-bytes",
            "256KiB",
            "--debug",
        ];
        let place = folder.path().join(format!("agent-{n}"));
        running.push(Agent::start(&place, &etcd.endpoints(), &vault, &flags)?);
    }
    wait_until_durable(&vault, truth::revision(&mut client).await?).await?;
    let mut truths = vec![Truth::now(&mut client).await?];
    while truths.len() < points {
        for _ in 0..STEPS_BETWEEN {
            workload.step(&mut client).await?;
        }
        if truths.len() == points / 2 {
            second_base(&folder, &etcd, &vault).await?;
        }
        let truth = Truth::now(&mut client).await?;
        // An agent asks for a lease's TTL when it first sees its id: not before that may the lease go.
        for agent in &mut running {
            let long = truth
                .leases
                .iter()
                .filter(|(_, ttl_s)| **ttl_s >= LONG_LEASE_S);
            for (lease, _) in long {
                let known = format!("lease is known lease={lease:016x}");
                agent.wait_for_log(&known).await?;
            }
        }
        truths.push(truth);
    }
    for agent in running {
        agent.stop().await?;
    }
    Ok(Captured {
        folder,
        vault,
        source: source.clone(),
        points: truths,
    })
}

/// Waits until the vault can give back the revision.
async fn wait_until_durable(vault: &VaultPlace, revision: i64) -> Result<()> {
    let deadline = Instant::now() + DURABLE_WITHIN;
    loop {
        let info = run("revkeep", vault, &["info", CLUSTER, "-w", "json"]).await?;
        let maximum = info
            .json()
            .ok()
            .and_then(|info| info.get("maximum_recoverable")?.as_i64());
        if maximum.is_some_and(|maximum| maximum >= revision) {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "revision {revision} is not durable: {info:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Takes another base by the one-shot command, while the agent runs.
async fn second_base(folder: &TempDir, etcd: &Etcd, vault: &VaultPlace) -> Result<()> {
    let state = folder.path().join("snapshot-state");
    let arguments = [
        "snapshot",
        "--endpoints",
        &etcd.endpoint(),
        "--cluster",
        CLUSTER,
    ];
    let arguments = [&arguments[..], &["--state-dir", text(&state)]].concat();
    let answer = run("revkeep-agent", vault, &arguments).await?;
    ensure!(
        answer.code == 0,
        "snapshot ended with {}:\n{}",
        answer.code,
        answer.stderr
    );
    Ok(())
}

/// Restores one revision with further flags into a new directory.
async fn restore(captured: &Captured, revision: i64, flags: &[&str]) -> Result<serde_json::Value> {
    let revision = revision.to_string();
    let arguments = ["restore", CLUSTER, "-w", "json", "--to-revision", &revision];
    run(
        "revkeep",
        &captured.vault,
        &[&arguments[..], flags].concat(),
    )
    .await?
    .json()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

async fn restore_and_boot(
    captured: &Captured,
    at: i64,
    target: &EtcdVersion,
) -> Result<(PathBuf, Etcd)> {
    let data_dir = captured
        .folder
        .path()
        .join(format!("restored-{at}-{target}"));
    restore(captured, at, &["--data-dir", text(&data_dir)]).await?;
    let etcd = Etcd::start_with(target, EtcdOptions::booting(&data_dir)).await?;
    Ok((data_dir, etcd))
}

fn rule(version: &EtcdVersion) -> TombstoneRule {
    TombstoneRule::for_version(&version.to_string())
}

/// Asks a restored server for everything that the source was asked for.
async fn compare(truth: &Truth, client: &mut Client, hashes_too: bool) -> Result<()> {
    let at = truth.revision;
    if hashes_too {
        let mut answer = client.hash_kv(at).await?;
        if answer.compact_version() < truth.compact_revision {
            // The agent learnt of the compaction only later; the same rows compact to the same result.
            let physical = CompactionOptions::new().with_physical();
            client
                .compact(truth.compact_revision, Some(physical))
                .await?;
            answer = client.hash_kv(at).await?;
        }
        ensure!(
            (answer.compact_version(), answer.hash()) == (truth.compact_revision, truth.hash),
            "HashKV({at}): source {:08x} under {}, restored {:08x} under {}",
            truth.hash,
            truth.compact_revision,
            answer.hash(),
            answer.compact_version()
        );
    }
    let keys = truth::keys_at(client, at).await?;
    ensure!(
        keys.len() == truth.keys.len(),
        "{} keys, not {}",
        keys.len(),
        truth.keys.len()
    );
    for (restored, source) in keys.iter().zip(&truth.keys) {
        ensure!(
            restored == source,
            "at {at}: {:?}: a key's state differs",
            source.key
        );
    }
    let long = |leases: BTreeMap<i64, i64>| -> BTreeMap<i64, i64> {
        leases
            .into_iter()
            .filter(|(_, ttl_s)| *ttl_s >= LONG_LEASE_S)
            .collect()
    };
    let leases = long(truth::leases_of(client, &keys).await?);
    ensure!(
        leases == long(truth.leases.clone()),
        "leases {leases:?}, not {:?}",
        truth.leases
    );
    Ok(())
}

async fn check_every_point(captured: &Captured, target: &EtcdVersion, every: usize) -> Result<()> {
    let points = captured.points.iter().step_by(every);
    stream::iter(points)
        .map(|truth| check_point(captured, truth, target))
        .buffer_unordered(POINTS_AT_ONCE)
        .try_collect()
        .await
}

async fn check_point(captured: &Captured, truth: &Truth, target: &EtcdVersion) -> Result<()> {
    let same_rule = rule(&captured.source) == rule(target);
    let (data_dir, mut etcd) = restore_and_boot(captured, truth.revision, target).await?;
    let mut client = etcd.client().await?;
    compare(truth, &mut client, same_rule)
        .await
        .with_context(|| {
            format!(
                "{} restored for {target}, revision {}",
                captured.source, truth.revision
            )
        })?;
    etcd.kill()?;
    std::fs::remove_dir_all(data_dir)?;
    Ok(())
}

/// A log in a directory of its own is found where etcd is told that it is.
async fn check_wal_dir(captured: &Captured, truth: &Truth) -> Result<()> {
    let place = captured.folder.path().join("apart");
    let (data_dir, wal_dir) = (place.join("data"), place.join("wal"));
    let flags = ["--data-dir", text(&data_dir), "--wal-dir", text(&wal_dir)];
    restore(captured, truth.revision, &flags).await?;
    ensure!(
        !data_dir.join("member/wal").exists() && std::fs::read_dir(&wal_dir)?.count() == 1,
        "the log is not where it was asked for"
    );
    let options = EtcdOptions::booting(&data_dir).flag(format!("--wal-dir={}", wal_dir.display()));
    let mut etcd = Etcd::start_with(&captured.source, options).await?;
    compare(truth, &mut etcd.client().await?, true).await?;
    etcd.client().await?.put("after", "x", None).await?;
    etcd.restart().await?;
    ensure!(
        etcd.revision().await? == truth.revision + 1,
        "the write is gone"
    );
    Ok(())
}

/// The restored server is a server like any other: it takes writes, compacts, defragments and restarts.
async fn check_it_lives(captured: &Captured, truth: &Truth) -> Result<()> {
    let (_, mut etcd) = restore_and_boot(captured, truth.revision, &captured.source).await?;
    let mut client = etcd.client().await?;
    for n in 0..50 {
        client.put(format!("after/{n}"), "x", None).await?;
    }
    let now = etcd.revision().await?;
    ensure!(
        now >= truth.revision + 50,
        "the writes took revisions up to {now}"
    );
    client
        .compact(now - 5, Some(CompactionOptions::new().with_physical()))
        .await?;
    client.defragment().await?;
    let before = Truth::now(&mut client).await?;
    etcd.restart().await?;
    let after = Truth::at(&mut etcd.client().await?, before.revision).await?;
    ensure!(
        after.keys == before.keys && after.hash == before.hash,
        "a restart changed the data"
    );
    Ok(())
}

/// Three members restored one by one form a cluster that agrees with itself and with the source.
async fn check_three_members(captured: &Captured, truth: &Truth) -> Result<()> {
    let ports = (0..3)
        .map(|_| Ok((free_port()?, free_port()?)))
        .collect::<Result<Vec<_>>>()?;
    let peer = |port: u16| format!("http://127.0.0.1:{port}");
    let cluster: Vec<_> = ports
        .iter()
        .enumerate()
        .map(|(n, (_, port))| format!("m{n}={}", peer(*port)))
        .collect();
    let cluster = cluster.join(",");
    let mut members = Vec::new();
    for (n, (client, port)) in ports.iter().enumerate() {
        let (name, data_dir) = (
            format!("m{n}"),
            captured.folder.path().join(format!("three-{n}")),
        );
        let flags = [
            "--data-dir",
            text(&data_dir),
            "--name",
            &name,
            "--initial-cluster",
            &cluster,
        ];
        let peer = peer(*port);
        let flags = [&flags[..], &["--initial-advertise-peer-urls", &peer]].concat();
        restore(captured, truth.revision, &flags).await?;
        let options = EtcdOptions {
            name,
            ports: Some((*client, *port)),
            ..EtcdOptions::booting(data_dir)
        };
        members.push(EtcdOptions {
            initial_cluster: Some(cluster.clone()),
            ..options
        });
    }
    let cluster = EtcdCluster::boot(&captured.source, members).await?;
    for member in &cluster.members {
        compare(truth, &mut member.client().await?, true).await?;
    }
    let mut client = cluster.client().await?;
    client.put("after", "x", None).await?;
    Ok(())
}

/// etcd's own tool takes the snapshot file and makes the same of it.
async fn check_snapshot_file(captured: &Captured, truth: &Truth) -> Result<()> {
    let file = captured
        .folder
        .path()
        .join(format!("snapshot-{}.db", truth.revision));
    restore(captured, truth.revision, &["--snapshot-file", text(&file)]).await?;
    let tool = EtcdTool::new(&captured.source);
    let status = tool.snapshot_status(&file).await?;
    ensure!(
        status.get("revision") == Some(&truth.revision.into()),
        "etcd's tool reads {status}"
    );
    let data_dir = captured
        .folder
        .path()
        .join(format!("by-etcd-{}", truth.revision));
    tool.snapshot_restore(&file, &data_dir, &[]).await?;
    let etcd = Etcd::start_with(&captured.source, EtcdOptions::booting(&data_dir)).await?;
    compare(truth, &mut etcd.client().await?, true).await
}

async fn check_source(source: &EtcdVersion, targets: &[EtcdVersion], seed: u64) -> Result<()> {
    let started = Instant::now();
    let captured = capture(source, None, seed, points(), 1).await?;
    let captured_s = started.elapsed().as_secs();
    let last = captured.points.last().context("no points")?;
    let middle = captured
        .points
        .get(captured.points.len() / 3)
        .context("no points")?;
    check_every_point(&captured, source, 1).await?;
    check_snapshot_file(&captured, middle).await?;
    check_snapshot_file(&captured, last).await?;
    Box::pin(check_wal_dir(&captured, middle)).await?;
    check_three_members(&captured, middle).await?;
    check_it_lives(&captured, last).await?;
    for target in targets.iter().filter(|target| *target != source) {
        check_every_point(&captured, target, captured.points.len().div_ceil(3)).await?;
    }
    eprintln!(
        "source etcd {source}: {} revisions captured in {captured_s} s, compared after {} s",
        captured.points.len(),
        started.elapsed().as_secs()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_revision_comes_back_exactly() -> Result<()> {
    let versions = etcd_versions();
    let seed = seed();
    let sources = (0..).zip(&versions);
    stream::iter(sources)
        .map(|(n, source)| check_source(source, &versions, seed.wrapping_add(n)))
        .buffer_unordered(SOURCES_AT_ONCE)
        .try_collect()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_in_a_bucket_is_as_exact() -> Result<()> {
    let versions = etcd_versions();
    let (Some(s3), Some(newest)) = (SeaweedFs::start().await?, versions.last()) else {
        return Ok(());
    };
    let bucket = VaultPlace::bucket(&s3, "exact");
    let captured = capture(newest, Some(bucket), seed(), points().min(6), 2).await?;
    check_every_point(&captured, newest, 1).await?;
    // Two agents stored the same history in pieces of their own, and all of it agrees.
    let last = captured.points.last().context("no points")?;
    let plan = restore(
        &captured,
        last.revision,
        &["--verify-overlaps", "--dry-run"],
    )
    .await?;
    let count = |name: &str| plan.pointer(&format!("/overlaps/{name}"))?.as_u64();
    ensure!(
        count("segments").is_some_and(|segments| segments > 0) && count("not_compared") == Some(0),
        "overlaps: {plan}"
    );
    Ok(())
}
