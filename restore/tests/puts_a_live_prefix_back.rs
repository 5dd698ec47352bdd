//! Undo under fire: a prefix of a live cluster becomes what it was, no write of anybody else is lost, and every conflict is told.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and its helpers stand outside of test functions"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, Compare, CompareOp, EventType, GetOptions, Txn, TxnOp, WatchOptions};
use revkeep_harness::{Etcd, EtcdOptions, EtcdVersion, base_etcd, store};
use revkeep_restore::Kind;
use revkeep_restore::live::{Live, LivePlan, Options, apply, read, read_at_most};
use revkeep_restore::past::Version;
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::{Revision, Row, RowKey, RowSource};
use revkeep_vault::{BaseFacts, ClusterName, SourceIdentity, Vault};
use serde_json::Value as Json;
use tokio::sync::watch;

const PREFIX: &str = "/registry/pods/shop/";
const TIMEOUT: Duration = Duration::from_secs(30);

fn servers() -> Result<Vec<EtcdVersion>> {
    Ok(store()?.into_iter().chain(base_etcd()).collect())
}

fn key(n: usize) -> String {
    format!("{PREFIX}pod-{n:05}")
}

/// What the keys were once.
fn was(keys: usize) -> Vec<Version> {
    let version = |n: usize| Version {
        key: key(n).into_bytes(),
        at: RowKey {
            main: Revision(5),
            sub: 0,
            tombstone: false,
        },
        create_revision: 5,
        version: 1,
        lease: 0,
        value: format!("was {n}").into_bytes().into(),
    };
    (0..keys).map(version).collect()
}

async fn put_all(client: &Client, keys: usize, value: &str) -> Result<()> {
    for batch in (0..keys).collect::<Vec<_>>().chunks(100) {
        let puts: Vec<_> = batch
            .iter()
            .map(|n| TxnOp::put(key(*n), value, None))
            .collect();
        client.kv_client().txn(Txn::new().and_then(puts)).await?;
    }
    Ok(())
}

fn not_cancelled() -> watch::Receiver<bool> {
    watch::channel(false).1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_keys_are_put_back_in_seconds() -> Result<()> {
    const KEYS: usize = 10_000;
    for version in servers()? {
        let server = Etcd::start(&version).await?;
        let client = server.client().await?;
        put_all(&client, KEYS + 7, "now").await?;
        let live = Live::of(&client, TIMEOUT);
        let options = Options {
            delete_extra: true,
            ..Options::default()
        };
        let started = Instant::now();
        let plan = LivePlan::decide(was(KEYS), read(&live, PREFIX.as_bytes()).await?, options);
        ensure!(plan.counts() == (KEYS, 7), "{:?}", plan.counts());
        let applied = apply(&live, &plan.steps, &not_cancelled(), |_| Ok(())).await?;
        let took = started.elapsed();
        ensure!(
            (applied.put, applied.deleted) == (KEYS, 7) && applied.conflicts.is_empty(),
            "{applied:?}"
        );
        eprintln!(
            "{version}: {KEYS} keys read, put back and 7 deleted in {} ms",
            took.as_millis()
        );
        // Nothing is left to do.
        let again = LivePlan::decide(was(KEYS), read(&live, PREFIX.as_bytes()).await?, options);
        ensure!(
            again.steps.is_empty() && again.unchanged == KEYS,
            "{:?}",
            again.counts()
        );
    }
    Ok(())
}

/// Writes random keys over and over, each write guarded by what it saw. Gives the revisions of its writes, which were acknowledged.
async fn writer(
    client: Client,
    name: usize,
    keys: usize,
    ended: Arc<AtomicBool>,
) -> Result<BTreeSet<(i64, String)>> {
    let mut written = BTreeSet::new();
    let mut kv = client.kv_client();
    let mut n = name;
    while !ended.load(Ordering::Relaxed) {
        n = (n * 31 + 7) % keys;
        let key = key(n);
        let seen = kv.get(key.clone(), None).await?;
        let seen = seen
            .kvs()
            .first()
            .map_or(0, etcd_client::KeyValue::mod_revision);
        let put = Txn::new()
            .when([Compare::mod_revision(key.clone(), CompareOp::Equal, seen)])
            .and_then([TxnOp::put(key.clone(), format!("writer {name}"), None)]);
        let answer = kv.txn(put).await?;
        if answer.succeeded() {
            written.insert((answer.header().context("a header")?.revision(), key));
        }
    }
    Ok(written)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_of_a_thousand_writers_is_lost() -> Result<()> {
    const KEYS: usize = 3_000;
    const WRITERS: usize = 1_000;
    let version = store()?
        .or_else(base_etcd)
        .context("no server is installed")?;
    let server = Etcd::start(&version).await?;
    let client = server.client().await?;
    put_all(&client, KEYS, "now").await?;
    let begin = server.revision().await?;
    let ended = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|name| tokio::spawn(writer(client.clone(), name, KEYS, ended.clone())))
        .collect();
    let live = Live::of(&client, TIMEOUT);
    let plan = LivePlan::decide(
        was(KEYS),
        read(&live, PREFIX.as_bytes()).await?,
        Options::default(),
    );
    // The writers have the time to come between the plan and what is done of it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let applied = apply(&live, &plan.steps, &not_cancelled(), |_| Ok(())).await?;
    ended.store(true, Ordering::Relaxed);
    let mut acknowledged = BTreeSet::new();
    for writer in writers {
        acknowledged.extend(writer.await??);
    }
    let end = server.revision().await?;

    // What really happened, in order, as the server tells it.
    let options = WatchOptions::new()
        .with_prefix()
        .with_start_revision(begin + 1)
        .with_prev_key();
    let mut events = client.watch_client().watch(PREFIX, Some(options)).await?;
    let seen: BTreeMap<_, _> = plan
        .steps
        .iter()
        .map(|step| (step.key.clone(), step.seen))
        .collect();
    let (mut put_back, mut told) = (BTreeSet::new(), BTreeSet::new());
    'all: while let Some(answer) = events.message().await? {
        for event in answer.events() {
            ensure!(event.event_type() == EventType::Put);
            let kv = event.kv().context("a key")?;
            if kv.value().starts_with(b"was ") {
                let before = event
                    .prev_kv()
                    .context("what was there before")?
                    .mod_revision();
                let planned = seen[kv.key()];
                ensure!(
                    before == planned,
                    "a write at {before} was lost, where the plan saw {planned}"
                );
                put_back.insert(kv.key().to_vec());
            } else {
                told.insert((kv.mod_revision(), String::from_utf8(kv.key().to_vec())?));
            }
            if kv.mod_revision() >= end {
                break 'all;
            }
        }
    }
    ensure!(
        acknowledged.is_subset(&told),
        "an acknowledged write is not in the history"
    );
    let conflicts: BTreeSet<_> = applied
        .conflicts
        .iter()
        .map(|conflict| conflict.key.clone())
        .collect();
    ensure!(
        put_back.len() == applied.put,
        "{} were put back, not {}",
        put_back.len(),
        applied.put
    );
    ensure!(put_back.is_disjoint(&conflicts) && put_back.len() + conflicts.len() == KEYS);
    ensure!(
        !put_back.is_empty() && !conflicts.is_empty(),
        "{} and {}",
        put_back.len(),
        conflicts.len()
    );
    for conflict in &applied.conflicts {
        let key = String::from_utf8(conflict.key.clone())?;
        ensure!(
            told.contains(&(conflict.found, key)),
            "{conflict:?} never happened"
        );
    }
    eprintln!(
        "{version}: {} writes of {WRITERS} writers, {} keys put back, {} conflicts",
        told.len(),
        put_back.len(),
        conflicts.len()
    );
    Ok(())
}

struct Rows(i64, Vec<u8>);

impl RowSource for Rows {
    type Error = Infallible;

    /// Three keys at revisions 2 to 4, the last one with a lease.
    fn next_row(&mut self) -> Result<Option<Row<'_>>, Infallible> {
        if self.0 > 4 {
            return Ok(None);
        }
        let main = self.0;
        self.0 += 1;
        let (key, value) = (
            key(usize::try_from(main - 2).unwrap()),
            format!("was {}", main - 2),
        );
        self.1 = KeyValue {
            key: key.as_bytes(),
            create_revision: main,
            mod_revision: main,
            version: 1,
            value: value.as_bytes(),
            lease: if main == 4 { 77 } else { 0 },
        }
        .encode();
        let key = RowKey {
            main: Revision(main),
            sub: 0,
            tombstone: false,
        };
        Ok(Some(Row {
            key,
            value: &self.1,
        }))
    }
}

async fn vault(place: &Path) {
    let vault = Vault::create(&format!("file://{}/vault", place.display()))
        .await
        .unwrap();
    let cluster = vault.cluster(&ClusterName::new("prod").unwrap());
    let timeline = cluster
        .create_timeline(SourceIdentity::default(), None)
        .await
        .unwrap();
    let facts = BaseFacts {
        revision: Revision(4),
        etcd_version: "3.5.35".to_owned(),
        ..BaseFacts::default()
    };
    timeline
        .write_base(facts, Rows(2, Vec::new()), None)
        .await
        .unwrap();
}

fn restore(place: &Path, endpoint: &str, flags: &[&str]) -> Output {
    restore_at(place, endpoint, &["--latest"], flags)
}

fn restore_at(place: &Path, endpoint: &str, point: &[&str], flags: &[&str]) -> Output {
    let all = [
        "restore", "prod", "-w", "json", "--prefix", PREFIX, "--into", endpoint,
    ];
    Command::new(env!("CARGO_BIN_EXE_revkeep"))
        .args(all)
        .args(point)
        .args(flags)
        .env("REVKEEP_VAULT", format!("file://{}/vault", place.display()))
        .current_dir(place)
        .output()
        .unwrap()
}

fn json(output: &Output) -> Json {
    assert!(matches!(output.status.code(), Some(0 | 16)), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn values(client: &Client) -> Vec<(String, String, i64)> {
    let options = GetOptions::new().with_prefix();
    let answer = client.kv_client().get(PREFIX, Some(options)).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    answer
        .kvs()
        .iter()
        .map(|kv| (text(kv.key()), text(kv.value()), kv.lease()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_plans_first_and_carries_a_plan_out() -> Result<()> {
    let place = tempfile::tempdir()?;
    let place = place.path();
    vault(place).await;
    let version = store()?
        .or_else(base_etcd)
        .context("no server is installed")?;
    let server = Etcd::start(&version).await?;
    let client = server.client().await?;
    let endpoint = server.endpoint();
    put_all(&client, 2, "now").await?;
    let mut kv = client.kv_client();
    kv.put(format!("{PREFIX}extra"), "x", None).await?;
    kv.put("/elsewhere", "x", None).await?;
    kv.put(key(0), "was 0", None).await?;
    let before = server.revision().await?;

    let plan = json(&restore(place, &endpoint, &[]));
    for (name, expected) in [
        ("/put", 2),
        ("/delete", 0),
        ("/unchanged", 1),
        ("/extra", 1),
        ("/revision", 4),
    ] {
        ensure!(
            plan.pointer(name) == Some(&expected.into()),
            "{name}: {plan}"
        );
    }
    ensure!(server.revision().await? == before, "a plan changes nothing");

    // Between the plan and the deed somebody else writes a key.
    let flags = ["--plan-file", "plan", "--delete-extra"];
    json(&restore(place, &endpoint, &flags));
    kv.put(key(1), "mine", None).await?;
    let output = restore(place, &endpoint, &[&flags[..], &["--apply"]].concat());
    ensure!(output.status.code() == Some(16), "{output:?}");
    let applied = json(&output);
    for (name, expected) in [
        ("/applied/put", 1),
        ("/applied/deleted", 1),
        ("/applied/leases_granted", 1),
    ] {
        ensure!(
            applied.pointer(name) == Some(&expected.into()),
            "{name}: {applied}"
        );
    }
    ensure!(
        applied
            .pointer("/applied/conflicts/0/planned_mod_revision")
            .is_some(),
        "{applied}"
    );
    let expected = |one: &str| {
        let line = |n: usize, value: &str, lease| (key(n), value.to_owned(), lease);
        vec![line(0, "was 0", 0), line(1, one, 0), line(2, "was 2", 77)]
    };
    ensure!(values(&client).await == expected("mine"));
    // The same plan again does only what is left of it, and that is still not its to do.
    let again = json(&restore(
        place,
        &endpoint,
        &[&flags[..], &["--apply"]].concat(),
    ));
    ensure!(again.pointer("/done_before") == Some(&2.into()), "{again}");
    ensure!(again.pointer("/applied/put") == Some(&0.into()), "{again}");
    // A new plan sees what is there now.
    let output = restore(place, &endpoint, &["--apply"]);
    ensure!(output.status.code() == Some(0), "{output:?}");
    ensure!(values(&client).await == expected("was 1"));
    ensure!(kv.get("/elsewhere", None).await?.kvs().len() == 1);
    // Leases may go.
    let dropped = json(&restore(place, &endpoint, &["--apply", "--leases", "drop"]));
    ensure!(
        dropped.pointer("/applied/put") == Some(&1.into()),
        "{dropped}"
    );
    ensure!(values(&client).await.last().is_some_and(|last| last.2 == 0));
    let nobody = restore(place, "http://127.0.0.1:1", &[]);
    ensure!(nobody.status.code() == Some(2), "{nobody:?}");
    Ok(())
}

/// A live cluster that differs from the vault in `place` by two keys.
async fn differing(place: &Path) -> Result<(Etcd, Client)> {
    vault(place).await;
    let version = store()?
        .or_else(base_etcd)
        .context("no server is installed")?;
    let server = Etcd::start(&version).await?;
    let client = server.client().await?;
    put_all(&client, 2, "now").await?;
    Ok((server, client))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_never_writes() -> Result<()> {
    let place = tempfile::tempdir()?;
    let place = place.path();
    let (server, _client) = differing(place).await?;
    let (endpoint, before) = (server.endpoint(), server.revision().await?);
    let both = restore(place, &endpoint, &["--apply", "--dry-run"]);
    ensure!(both.status.code() == Some(3), "{both:?}");
    let plan = restore(place, &endpoint, &["--dry-run", "--plan-file", "plan"]);
    ensure!(json(&plan).pointer("/put") == Some(&3.into()), "{plan:?}");
    ensure!(!place.join("plan").exists());
    ensure!(
        server.revision().await? == before,
        "a dry run changed something"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_looked_at_is_what_is_applied() -> Result<()> {
    let place = tempfile::tempdir()?;
    let place = place.path();
    let (server, mut client) = differing(place).await?;
    let (endpoint, before) = (server.endpoint(), server.revision().await?);
    let plan = json(&restore(
        place,
        &endpoint,
        &["--delete-extra", "--leases", "detach"],
    ));
    let command = plan
        .pointer("/next")
        .and_then(Json::as_str)
        .context("no command")?;
    for part in [
        "--timeline 0001 --to-revision 4 ",
        "--delete-extra",
        "--leases detach",
    ] {
        ensure!(command.contains(part), "{part}: {command}");
    }
    ensure!(command.ends_with(" --apply"), "{command}");

    // A plan in a file is of one revision, timeline and live cluster.
    let file = ["--plan-file", "plan"];
    json(&restore(place, &endpoint, &file));
    let apply = [&file[..], &["--apply"]].concat();
    for (point, what) in [
        (&["--to-revision", "3"][..], "revision"),
        (&["--latest", "--timeline", "2"], "timeline"),
    ] {
        let refused = restore_at(place, &endpoint, point, &apply);
        ensure!(refused.status.code() == Some(3), "{refused:?}");
        ensure!(
            stderr(&refused).contains(&format!("of another {what}:")),
            "{refused:?}"
        );
    }
    let other = Etcd::start_with(server.version(), EtcdOptions::default()).await?;
    put_all(&other.client().await?, 2, "now").await?;
    let begin = other.revision().await?;
    let members = client.member_list().await?;
    let ours = members.header().context("a header")?.cluster_id();
    let members = other.client().await?.member_list().await?;
    ensure!(members.header().context("a header")?.cluster_id() != ours);
    let refused = restore(place, &other.endpoint(), &apply);
    ensure!(refused.status.code() == Some(16), "{refused:?}");
    ensure!(stderr(&refused).contains("live cluster"), "{refused:?}");
    ensure!(
        other.revision().await? == begin,
        "another cluster was changed"
    );
    // A name that was mistyped is no wish for a plan that nobody has seen.
    let absent = restore(place, &endpoint, &["--plan-file", "plam", "--apply"]);
    ensure!(
        absent.status.code() == Some(3) && !place.join("plam").exists(),
        "{absent:?}"
    );
    ensure!(
        server.revision().await? == before,
        "a refusal changed something"
    );

    // The command that was told does it.
    let folder = Path::new(env!("CARGO_BIN_EXE_revkeep"))
        .parent()
        .context("a folder")?;
    let path = format!("{}:{}", folder.display(), std::env::var("PATH")?);
    let ran = Command::new("sh")
        .args(["-c", command])
        .env("PATH", path)
        .current_dir(place)
        .output()?;
    ensure!(ran.status.success(), "{ran:?}");
    let value = |n| (key(n), format!("was {n}"), 0);
    ensure!(values(&client).await == [value(0), value(1), value(2)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_somebody_holds_keeps_its_lease() -> Result<()> {
    let place = tempfile::tempdir()?;
    let place = place.path();
    let (server, mut client) = differing(place).await?;
    let endpoint = server.endpoint();
    let plan = json(&restore(place, &endpoint, &[]));
    let nobody = plan.pointer("/leases_nobody_holds").context("no leases")?;
    let expected = serde_json::json!([{"id": 77, "ttl_seconds": 3600, "made_up": true, "keys": 1}]);
    ensure!(*nobody == expected, "{plan}");
    let table = Command::new(env!("CARGO_BIN_EXE_revkeep"))
        .args([
            "restore", "prod", "--latest", "--prefix", PREFIX, "--into", &endpoint,
        ])
        .env("REVKEEP_VAULT", format!("file://{}/vault", place.display()))
        .output()?;
    let table = String::from_utf8(table.stdout)?;
    ensure!(
        table.contains("1 keys get one of 1 leases that have ended"),
        "{table}"
    );
    ensure!(table.contains("and they get 3600 s"), "{table}");

    // Its owner is back, under another lease, which it keeps alive.
    let lease = client.lease_grant(600, None).await?.id();
    let options = etcd_client::PutOptions::new().with_lease(lease);
    client.put(key(2), "was 2", Some(options)).await?;
    let applied = json(&restore(place, &endpoint, &["--apply"]));
    for (name, expected) in [
        ("/unchanged", 1),
        ("/applied/put", 2),
        ("/applied/leases_granted", 0),
    ] {
        ensure!(
            applied.pointer(name) == Some(&expected.into()),
            "{name}: {applied}"
        );
    }
    ensure!(values(&client).await.last() == Some(&(key(2), "was 2".to_owned(), lease)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_is_told_whatever_ends_it() -> Result<()> {
    let version = store()?
        .or_else(base_etcd)
        .context("no server is installed")?;
    let server = Etcd::start(&version).await?;
    let client = server.client().await?;
    put_all(&client, 300, "now").await?;
    let live = Live::of(&client, TIMEOUT);
    let mut wished = was(300);
    // More than a request may have: etcd refuses it.
    wished[7].value = vec![0; 4 << 20].into();
    let is = read(&live, PREFIX.as_bytes()).await?;
    let plan = LivePlan::decide(wished, is, Options::default());

    let before = server.revision().await?;
    let (_sender, cancelled) = watch::channel(true);
    let interrupted = apply(&live, &plan.steps, &cancelled, |_| Ok(())).await;
    let interrupted = interrupted.unwrap_err();
    ensure!(
        interrupted.error.kind() == Kind::Interrupted,
        "{interrupted:?}"
    );
    ensure!(interrupted.applied.put == 0 && interrupted.failed.is_empty());
    ensure!(server.revision().await? == before);

    let mut told = BTreeSet::new();
    let going_on = not_cancelled();
    let unfinished = apply(&live, &plan.steps, &going_on, |done| {
        told.extend(done.iter().map(|step| step.key.clone()));
        Ok(())
    });
    let unfinished = unfinished.await.unwrap_err();
    ensure!(unfinished.failed == [key(7).into_bytes()], "{unfinished:?}");
    let put: BTreeSet<_> = values(&client)
        .await
        .into_iter()
        .filter(|kv| kv.1 != "now")
        .collect();
    ensure!(put.len() == unfinished.applied.put && !put.is_empty());
    ensure!(put.iter().all(|kv| told.contains(kv.0.as_bytes())) && told.len() == put.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_can_be_held_is_refused() -> Result<()> {
    let version = store()?
        .or_else(base_etcd)
        .context("no server is installed")?;
    let server = Etcd::start(&version).await?;
    let client = server.client().await?;
    put_all(&client, 700, "now").await?;
    let live = Live::of(&client, TIMEOUT);
    let bytes = 700 * (key(0).len() + 3) as u64;
    ensure!(
        read_at_most(&live, PREFIX.as_bytes(), bytes)
            .await?
            .keys
            .len()
            == 700
    );
    let refused = read_at_most(&live, PREFIX.as_bytes(), bytes - 1).await;
    let refused = refused.unwrap_err().to_string();
    ensure!(refused.contains("Try: a longer --prefix"), "{refused}");
    Ok(())
}
