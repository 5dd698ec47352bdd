//! Measures reading the past: `measure_past REVKEEP EVENTS READS [file]`, where `REVKEEP` is the command's binary.
//!
//! Starts an S3 server on loopback (or takes a folder), fills a vault with a base of 100,000 keys and `EVENTS` events after it, each of which
//! writes a random key, in segments of 20,000; then runs `revkeep get KEY --at REV` for random keys and revisions, each in a process of its own:
//! `READS` times with an empty cache of indexes, and as often with the one that these filled. Prints p50 and p99 on the clock, requests
//! and bytes, and compares every answer with what was written.

use std::convert::Infallible;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use revkeep_harness::SeaweedFs;
use revkeep_harness::product::VaultPlace;
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::{Revision, Row, RowKey, RowSource};
use revkeep_vault::{BaseFacts, ClusterName, SourceIdentity, Timeline, Vault};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const KEYS: i64 = 100_000;
const VALUE_BYTES: usize = 100;
const EVENTS_PER_SEGMENT: i64 = 20_000;

fn random(number: i64, seed: u64) -> u64 {
    xxh3_64_with_seed(&number.to_le_bytes(), seed)
}

fn key(number: i64) -> String {
    format!(
        "/registry/pods/namespace-{:03}/pod-{number:08}",
        number % 500
    )
}

/// Which key a revision writes: the first ones all, one after the other.
fn written_at(revision: i64) -> i64 {
    if revision < KEYS + 2 {
        revision - 2
    } else {
        i64::try_from(random(revision, 1) % KEYS.unsigned_abs()).unwrap_or(0)
    }
}

fn row(revision: i64) -> (RowKey, Vec<u8>) {
    let half = (0..).flat_map(|n| random(revision, n + 2).to_le_bytes());
    let mut value: Vec<u8> = half.take(VALUE_BYTES / 2).collect();
    value.resize(VALUE_BYTES, b'x');
    let name = key(written_at(revision));
    let value = KeyValue {
        key: name.as_bytes(),
        create_revision: written_at(revision) + 2,
        mod_revision: revision,
        version: 1,
        value: &value,
        lease: 0,
    };
    let key = RowKey {
        main: Revision(revision),
        sub: 0,
        tombstone: false,
    };
    (key, value.encode())
}

struct Base(i64, Vec<u8>);

impl RowSource for Base {
    type Error = Infallible;

    fn next_row(&mut self) -> Result<Option<Row<'_>>, Infallible> {
        if self.0 >= KEYS + 2 {
            return Ok(None);
        }
        let (key, value) = row(self.0);
        self.0 += 1;
        self.1 = value;
        Ok(Some(Row {
            key,
            value: &self.1,
        }))
    }
}

async fn fill(timeline: &Timeline, events: i64) -> Result<u64> {
    let facts = BaseFacts {
        revision: Revision(KEYS + 1),
        etcd_version: "3.5.35".to_owned(),
        finished_unix_ms: 1_700_000_000_000,
        ..BaseFacts::default()
    };
    let base = timeline
        .write_base(facts, Base(2, Vec::new()), None)
        .await?;
    let mut stored = base.stored_bytes;
    let (mut next, last) = (KEYS + 2, KEYS + 1 + events);
    while next <= last {
        let end = (next + EVENTS_PER_SEGMENT - 1).min(last);
        let mut segment = timeline.segment_writer(0, 1);
        for revision in next..=end {
            let (key, value) = row(revision);
            segment.push_revision(&[Row { key, value: &value }], 1_700_000_000_000 + revision)?;
        }
        stored += timeline.put_segment(&segment.finish()?).await?.bytes;
        next = end + 1;
    }
    Ok(stored)
}

/// What one read took: time, requests, bytes.
type Took = (Duration, u64, u64);

fn read(
    revkeep: &str,
    place: &VaultPlace,
    cache: &str,
    key: &str,
    at: i64,
    expected: i64,
) -> Result<Took> {
    let mut command = Command::new(revkeep);
    command
        .args(["get", key, "--at", &at.to_string(), "-w", "json"])
        .env("REVKEEP_VAULT", &place.url)
        .env("REVKEEP_CACHE_DIR", cache)
        .env("REVKEEP_LOG", "revkeep_restore=debug")
        .env("NO_COLOR", "1")
        .envs(place.environment.iter().copied());
    let started = Instant::now();
    let output = command.output()?;
    let took = started.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "get {key} --at {at}: {said}");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let found = answer
        .pointer("/kvs/0/mod_revision")
        .and_then(serde_json::Value::as_i64);
    ensure!(
        found == Some(expected),
        "get {key} --at {at}: {found:?}, not {expected}"
    );
    let number = |name: &str| -> Result<u64> {
        let (_, rest) = said
            .split_once(&format!("{name}="))
            .with_context(|| said.to_string())?;
        Ok(rest
            .split_whitespace()
            .next()
            .context("a number")?
            .parse()?)
    };
    Ok((took, number("requests")?, number("bytes")?))
}

fn report(name: &str, mut all: Vec<Took>) {
    all.sort();
    let mut at = |percent: usize, part: fn(&Took) -> u64| {
        all.sort_by_key(part);
        all.get((all.len() * percent / 100).min(all.len() - 1))
            .map_or(0, part)
    };
    let micros = |took: &Took| u64::try_from(took.0.as_micros()).unwrap_or(u64::MAX);
    let [p50, p99] = [50, 99].map(|percent| at(percent, micros) / 100);
    let [r50, r99] = [50, 99].map(|percent| at(percent, |took| took.1));
    let [b50, b99] = [50, 99].map(|percent| at(percent, |took| took.2) >> 10);
    eprintln!(
        "{name}: p50 {}.{} ms, {r50} requests, {b50} KiB; p99 {}.{} ms, {r99} requests, {b99} KiB",
        p50 / 10,
        p50 % 10,
        p99 / 10,
        p99 % 10
    );
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [revkeep, events, reads, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("measure_past REVKEEP EVENTS READS [file]");
    };
    let (events, reads): (i64, i64) = (events.parse()?, reads.parse()?);
    let folder = tempfile::tempdir()?;
    let s3 = if rest.is_empty() {
        SeaweedFs::start().await?
    } else {
        None
    };
    let place = match &s3 {
        Some(s3) => VaultPlace::bucket(s3, "past"),
        None => VaultPlace::folder(&folder.path().join("vault")),
    };
    let vault = match &s3 {
        Some(s3) => Vault::create_with_store(Arc::new(s3.object_store()?), "past".into()).await,
        None => Vault::create(&place.url).await,
    }?;
    let cluster = vault.cluster(&ClusterName::new("large")?);
    let timeline = cluster
        .create_timeline(SourceIdentity::default(), None)
        .await?;
    let started = Instant::now();
    let stored = fill(&timeline, events).await?;
    eprintln!(
        "{events} events after a base of {KEYS} keys: {} MiB in {}, written in {} s",
        stored >> 20,
        place.url,
        started.elapsed().as_secs()
    );

    let cache = folder.path().join("cache");
    let cache = cache.to_str().context("a path that is not UTF-8")?;
    let last = KEYS + 1 + events;
    let mut newest = std::collections::HashMap::new();
    let mut asked = Vec::new();
    for read in 0..reads {
        let at = KEYS + 1 + i64::try_from(random(read, 77) % (events.unsigned_abs() + 1))?;
        let key = i64::try_from(random(read, 78) % KEYS.unsigned_abs())?;
        asked.push((at, key));
    }
    // What each is, found by going through all that was written once.
    let mut order = asked.clone();
    order.sort_unstable();
    let mut truth = std::collections::HashMap::new();
    let mut next = order.into_iter().peekable();
    for revision in 2..=last {
        newest.insert(written_at(revision), revision);
        while let Some(asked) = next.next_if(|asked| asked.0 == revision) {
            truth.insert(asked, newest.get(&asked.1).copied().context("a key")?);
        }
    }
    for (name, cache) in [
        ("no cache     ", ""),
        ("filling cache", cache),
        ("filled cache ", cache),
    ] {
        let took: Result<Vec<_>> = asked
            .iter()
            .map(|asked| {
                let expected = truth.get(asked).copied().context("a truth")?;
                read(revkeep, &place, cache, &key(asked.1), asked.0, expected)
            })
            .collect();
        report(name, took?);
    }
    Ok(())
}
