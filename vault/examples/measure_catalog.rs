//! Measures the catalog: each named query over a large fleet, and a rebuild from objects.
//!
//!     cargo run --release --example measure_catalog -- fill CATALOG CLUSTERS SEGMENTS
//!     cargo run --release --example measure_catalog -- ask CATALOG ROUNDS
//!     cargo run --release --example measure_catalog -- rebuild CATALOG FOLDER OBJECTS
//!
//! `fill` writes rows by SQL, for a vault of that size would take hours to make; `rebuild` makes real objects in a folder
//! and reads them. `deploy/dev/bench-catalog` runs all of it with both databases.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "a measurement ends by a panic, and prints its figures"
)]

use std::time::{Duration, Instant};

use chrono::Utc;
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::{Revision, RowBuf, RowKey};
use revkeep_vault::catalog::query::{Expectations, KeyRange, Scope};
use revkeep_vault::catalog::{Catalog, CatalogUrl, SyncOptions};
use revkeep_vault::{ClusterName, SourceIdentity, Vault};

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["fill", url, clusters, segments] => {
            fill(url, clusters.parse().unwrap(), segments.parse().unwrap()).await;
        }
        ["ask", url, rounds] => ask(&url.parse().unwrap(), rounds.parse().unwrap()).await,
        ["rebuild", url, folder, objects] => {
            rebuild(&url.parse().unwrap(), folder, objects.parse().unwrap()).await;
        }
        _ => panic!("say fill, ask or rebuild"),
    }
}

/// Statements that make a fleet; `n(x)` is a table of numbers from 1 on.
fn statements(postgres: bool, clusters: i64, per_cluster: i64) -> Vec<String> {
    let now = Utc::now().timestamp_millis();
    let day = now / 86_400_000;
    let numbers = |count: i64| {
        if postgres {
            format!("generate_series(1::BIGINT, {count}::BIGINT) AS n(x)")
        } else {
            format!(
                "(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < {count}) SELECT x FROM c) AS n"
            )
        }
    };
    let uid = |number: &str| {
        if postgres {
            format!("lpad(to_hex({number}), 16, '0')")
        } else {
            format!("printf('%016x', {number})")
        }
    };
    let key = |of: &str| {
        if postgres {
            format!("convert_to('/registry/pods/ns-' || ({of} % 997), 'UTF8')")
        } else {
            format!("CAST('/registry/pods/ns-' || ({of} % 997) AS BLOB)")
        }
    };
    let last = per_cluster * 100;
    let segments = numbers(per_cluster);
    vec![
        format!(
            "INSERT INTO clusters (name, version, synced_ms, listed_ms, timeline, minimum, maximum, maximum_seen_ms, base_revision, \
             base_stored_ms, lost, thinned, missing, damaged, objects, bytes) \
             SELECT 'cluster-' || x, 1, {now}, {now}, 1, 1, {last}, {now}, 1, {now}, CASE WHEN x % 50 = 0 THEN 7 ELSE 0 END, 0, 0, \
             CASE WHEN x % 211 = 0 THEN 1 ELSE 0 END, {per_cluster}, x * 1000 FROM {}",
            numbers(clusters)
        ),
        format!(
            "INSERT INTO heads (cluster_id, timeline, base_revision, durable_revision, heartbeat_ms, source_revision, \
             compact_revision, uploader, turn, followed_ms) SELECT id, 1, 1, {last}, {now} - (id % 97) * 10000, {last}, 1, \
             '0000000000000001', 1, 0 FROM clusters"
        ),
        format!(
            "INSERT INTO timelines (cluster_id, timeline, parent, fork_revision, fork_at_most, source_cluster_id, etcd_version, \
             first_seen_ms, bytes, stored_ms) SELECT id, 1, NULL, NULL, 0, '00000000000000ff', '3.5.1', {now}, 100, {now} FROM clusters"
        ),
        format!(
            "INSERT INTO segments (cluster_id, timeline, first, last, level, uid, bytes, stored_ms, rows, plain_bytes, first_ms, \
             last_ms, min_key, max_key, marks) SELECT c.id, 1, (n.x - 1) * 100 + 1, n.x * 100, 0, {}, 5000, \
             {now} - ({per_cluster} - n.x) * 600000, 100, 20000, {now} - ({per_cluster} - n.x) * 600000 - 10000, \
             {now} - ({per_cluster} - n.x) * 600000, {}, {}, NULL FROM clusters c CROSS JOIN {segments}",
            uid("n.x"),
            key("n.x"),
            key("(n.x + 5)")
        ),
        format!(
            "INSERT INTO time_marks (cluster_id, timeline, revision, unix_ms) SELECT c.id, 1, n.x * 100, \
             {now} - ({per_cluster} - n.x) * 600000 FROM clusters c CROSS JOIN {segments}"
        ),
        format!(
            "INSERT INTO bases (cluster_id, timeline, revision, uid, compact_revision, bytes, stored_ms, started_ms, finished_ms, \
             rows, plain_bytes, chunk_bytes, chunks, etcd_version) SELECT c.id, 1, n.x * 1000, {}, 1, 900, {now}, {now}, {now}, 10, \
             10, 10, 10, '3.5.1' FROM clusters c CROSS JOIN {}",
            uid("n.x"),
            numbers((per_cluster / 10).max(1))
        ),
        "INSERT INTO checkpoints (cluster_id, timeline, revision, compact_revision, hash, uid) \
         SELECT cluster_id, 1, revision, 1, 4711, uid FROM bases"
            .to_owned(),
        "INSERT INTO spans (cluster_id, timeline, longest) SELECT id, 1, 100 FROM clusters".to_owned(),
        format!("INSERT INTO runs (cluster_id, timeline, first, last) SELECT id, 1, 1, {last} FROM clusters"),
        format!(
            "INSERT INTO ranges (cluster_id, timeline, first, last) SELECT c.id, 1, (n.x - 1) * {0} + 1, n.x * {0} - 9 \
             FROM clusters c CROSS JOIN {1}",
            last / 4,
            numbers(4)
        ),
        format!(
            "INSERT INTO holes (cluster_id, timeline, first, last, kind, reason) SELECT c.id, 1, n.x * {0} - 8, n.x * {0}, \
             'thinned', NULL FROM clusters c CROSS JOIN {1}",
            last / 4,
            numbers(3)
        ),
        format!(
            "INSERT INTO stored (cluster_id, kind, level, day, objects, bytes) SELECT c.id, 'segment', 0, {day} - n.x, 144, 720000 \
             FROM clusters c CROSS JOIN {}",
            numbers(7)
        ),
        format!(
            "INSERT INTO stored (cluster_id, kind, level, day, objects, bytes) SELECT c.id, 'base', 0, {day} - n.x, 48, 72000 \
             FROM clusters c CROSS JOIN {}",
            numbers(7)
        ),
        "INSERT INTO labels (cluster_id, label) SELECT id, 'gold' FROM clusters WHERE id % 10 = 0".to_owned(),
        "INSERT INTO gaps (cluster_id, timeline, first, last, uid, reason, distrusted, bytes, stored_ms) \
         SELECT id, 1, 10, 12, '00000000000000aa', 'compacted', 0, 100, 5 FROM clusters"
            .to_owned(),
        "ANALYZE".to_owned(),
    ]
}

async fn fill(url: &str, clusters: i64, segments: i64) {
    let parsed: CatalogUrl = url.parse().unwrap();
    Catalog::open(&parsed).await.unwrap().close().await;
    let begun = Instant::now();
    let all = statements(parsed.is_shared(), clusters, segments / clusters);
    if let Some(file) = parsed.file() {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        for sql in all {
            sqlx::query(sqlx::AssertSqlSafe(sql))
                .execute(&pool)
                .await
                .unwrap();
        }
        pool.close().await;
    } else {
        let pool = sqlx::PgPool::connect(url).await.unwrap();
        for sql in all {
            sqlx::query(sqlx::AssertSqlSafe(sql))
                .execute(&pool)
                .await
                .unwrap();
        }
        pool.close().await;
    }
    println!(
        "filled {clusters} clusters and {segments} segments in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
}

/// Times one question, each round about another cluster.
async fn timed<T>(name: &str, rounds: u64, mut one: impl AsyncFnMut(u64) -> T) {
    let mut took: Vec<Duration> = Vec::new();
    for round in 0..rounds {
        let begun = Instant::now();
        one(round).await;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    let at = |share: usize| {
        took.get((took.len() * share / 100).min(took.len() - 1))
            .unwrap()
            .as_secs_f64()
            * 1000.0
    };
    println!("{name:<16} p50 {:>8.2} ms   p99 {:>8.2} ms", at(50), at(99));
}

async fn ask(url: &CatalogUrl, rounds: u64) {
    let catalog = Catalog::read_only(url).await.unwrap();
    let now = Utc::now().timestamp_millis();
    let total = catalog
        .status(&Expectations::default(), now, None, (0, 1))
        .await
        .unwrap()
        .total;
    // A walk over all clusters that meets neighbours seldom.
    let scope = |round: u64| {
        let number = round.wrapping_mul(7_919) % total + 1;
        Scope::newest(ClusterName::new(format!("cluster-{number}")).unwrap())
    };
    let expected = Expectations::default();
    let few = rounds.min(200);
    timed("status", few, async |_| {
        catalog
            .status(&expected, now, None, (0, 100))
            .await
            .unwrap()
    })
    .await;
    timed("status, label", few, async |_| {
        catalog
            .status(&expected, now, Some("gold"), (0, 100))
            .await
            .unwrap()
    })
    .await;
    timed("status of one", rounds, async |at| {
        catalog.status_of(&scope(at), &expected, now).await.unwrap()
    })
    .await;
    timed("coverage", rounds, async |at| {
        catalog.coverage(&scope(at)).await.unwrap()
    })
    .await;
    timed("coverage as of", rounds, async |at| {
        catalog
            .coverage_as_of(&scope(at), now - 1_000_000)
            .await
            .unwrap()
    })
    .await;
    timed("point", rounds, async |at| {
        catalog.point(&scope(at), Revision(4711)).await.unwrap()
    })
    .await;
    timed("revision at", rounds, async |at| {
        catalog
            .revision_at(&scope(at), now - 5_000_000, None)
            .await
            .unwrap()
    })
    .await;
    timed("time of", rounds, async |at| {
        catalog
            .time_of(&scope(at), Revision(4711), None)
            .await
            .unwrap()
    })
    .await;
    timed("usage of one", rounds, async |at| {
        catalog.usage(Some(&scope(at)), now).await.unwrap()
    })
    .await;
    timed("usage of all", few, async |_| {
        catalog.usage(None, now).await.unwrap()
    })
    .await;
    timed("largest", few, async |_| catalog.largest(20).await.unwrap()).await;
    let wanted = KeyRange {
        key: b"/registry/pods/ns-50".to_vec(),
        prefix: true,
        from: Revision(1),
        to: Revision(i64::MAX),
        limit: 1_000,
        after: None,
    };
    timed("touching", rounds, async |at| {
        catalog.touching(&scope(at), &wanted, None).await.unwrap()
    })
    .await;
    // From the newest, before which all others lie; and page by page.
    let one = scope(0);
    let newest = catalog.coverage(&one).await.unwrap().maximum.unwrap();
    let newest = KeyRange {
        from: Revision(newest.0 - 300),
        ..wanted.clone()
    };
    timed("touching, newest", rounds, async |at| {
        catalog.touching(&scope(at), &newest, None).await.unwrap()
    })
    .await;
    timed("touching, pages", few, async |at| {
        let mut page = KeyRange {
            limit: 10,
            ..wanted.clone()
        };
        loop {
            let answer = catalog.touching(&scope(at), &page, None).await.unwrap();
            match answer.next {
                Some(next) => page.after = Some(next),
                None => break answer,
            }
        }
    })
    .await;
    macro_rules! each {
        ($($name:literal: $question:ident),* $(,)?) => {
            $(timed($name, rounds, async |at| catalog.$question(&scope(at)).await.unwrap()).await;)*
        };
    }
    each!(
        "timelines": timelines,
        "bases": bases,
        "gaps": gaps,
        "checkpoints": checkpoints,
        "pins": pins,
        "retention": retention_runs,
        "verifications": verifications,
    );
    timed("damaged", few, async |_| {
        catalog.damaged(None).await.unwrap()
    })
    .await;
}

async fn rebuild(url: &CatalogUrl, folder: &str, objects: i64) {
    let vault = Vault::create(&format!("file://{folder}")).await.unwrap();
    let clusters = 20;
    if vault.clusters().await.unwrap().is_empty() {
        for number in 0..clusters {
            let cluster = vault.cluster(&ClusterName::new(format!("cluster-{number}")).unwrap());
            let source = SourceIdentity::default();
            let timeline = cluster.create_timeline(source, None).await.unwrap();
            for at in 0..objects / clusters {
                let mut writer = timeline.segment_writer(0, 1);
                for main in at * 5 + 1..=at * 5 + 5 {
                    let value = KeyValue {
                        key: format!("/registry/pods/ns-{}", main % 997).as_bytes(),
                        mod_revision: main,
                        ..KeyValue::default()
                    }
                    .encode();
                    let row = RowBuf {
                        key: RowKey {
                            main: Revision(main),
                            sub: 0,
                            tombstone: false,
                        },
                        value: value.into(),
                    };
                    writer
                        .push_revision(&[row.as_row()], 1_700_000_000_000 + main * 2_000)
                        .unwrap();
                }
                timeline
                    .put_segment(&writer.finish().unwrap())
                    .await
                    .unwrap();
            }
        }
    }
    let catalog = Catalog::open(url).await.unwrap();
    let options = SyncOptions::default();
    for what in ["fill", "rebuild", "sync"] {
        let begun = Instant::now();
        let report = if what == "rebuild" {
            catalog.rebuild(&vault, &options, Utc::now()).await.unwrap()
        } else {
            catalog.sync(&vault, &options, Utc::now()).await.unwrap()
        };
        println!(
            "{what}: {} clusters, {} objects read in {:.1} s",
            report.clusters,
            report.objects_read,
            begun.elapsed().as_secs_f64()
        );
    }
}
