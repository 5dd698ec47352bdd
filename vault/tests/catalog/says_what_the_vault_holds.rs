//! Its answers are those that the vault itself gives.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::TimeDelta;
use revkeep_schemas::Revision;
use revkeep_vault::catalog::query::{ClusterFacts, Expectations, KeyRange, Scope};
use revkeep_vault::catalog::{Catalog, SyncOptions};
use revkeep_vault::retention::Rules;
use revkeep_vault::{
    BaseFacts, Cluster, Coverage, ErrorKind, SourceIdentity, Spans, Timeline, Vault,
};

use crate::databases::{Database, dump};
use crate::history::World;
use crate::rows::{Rows, SMALL, rows, segment};

fn scope(timeline: &Timeline) -> Scope {
    Scope {
        cluster: timeline.cluster().name().clone(),
        timeline: Some(timeline.id()),
    }
}

/// Coverage, single points and times of every timeline are those that are computed from the vault.
#[tokio::test]
async fn what_can_be_restored_and_when_it_was_seen() {
    for database in Database::all().await {
        for seed in 100..112_u64 {
            let mut world = World::new(seed).await;
            let catalog = database.catalog(&format!("coverage{seed}")).await;
            for round in 0..6 {
                for _ in 0..12 {
                    world.step(3).await;
                }
                world.fill(&catalog).await;
                for name in world.vault.clusters().await.unwrap() {
                    let cluster = world.vault.cluster(&name);
                    let context = format!("seed {seed}, round {round}");
                    for id in cluster.timeline_ids().await.unwrap() {
                        // One with a damaged record cannot be opened, and is not answered for.
                        match cluster.timeline(id).await {
                            Ok(timeline) => compare(&catalog, &timeline, &world, &context).await,
                            Err(error) => {
                                let scope = Scope {
                                    cluster: name.clone(),
                                    timeline: Some(id),
                                };
                                let said = catalog.coverage(&scope).await.unwrap_err();
                                assert_eq!(said.kind(), error.kind(), "{context}: {said}, {error}");
                                let object = format!("clusters/{name}/{id}/timeline");
                                let names = said.to_string().contains(&object);
                                assert!(names || said.kind() == ErrorKind::NotFound, "{said}");
                            }
                        }
                    }
                    newest_alone(&catalog, &cluster, &context).await;
                }
            }
            catalog.close().await;
        }
    }
}

/// Who names no timeline is told of the newest, or that it cannot be used, and never of the one before.
async fn newest_alone(catalog: &Catalog, cluster: &Cluster, context: &str) {
    let said = catalog
        .coverage(&Scope::newest(cluster.name().clone()))
        .await;
    match cluster.newest_timeline().await {
        Ok(newest) => {
            let label = newest.map_or_else(String::new, |newest| newest.id().to_string());
            assert_eq!(said.unwrap().timeline, label, "{context}");
        }
        Err(error) => {
            let id = *cluster.timeline_ids().await.unwrap().last().unwrap();
            let said = said.unwrap_err();
            assert_eq!(
                said.kind(),
                ErrorKind::Corrupt,
                "{context}: {said}, {error}"
            );
            let object = format!("clusters/{}/{id}/timeline", cluster.name());
            assert!(said.to_string().contains(&object), "{context}: {said}");
        }
    }
}

async fn compare(catalog: &Catalog, timeline: &Timeline, world: &World, context: &str) {
    let scope = scope(timeline);
    let inventory = timeline.inventory().await.unwrap();
    let coverage = Coverage::compute(&inventory);
    let said = catalog.coverage_exact(&scope).await.unwrap();
    assert_eq!(said, coverage, "{context} {scope:?}");
    let answer = catalog.coverage(&scope).await.unwrap();
    assert_eq!(
        (answer.minimum, answer.maximum),
        (coverage.oldest(), coverage.newest())
    );
    let end = coverage.newest().unwrap_or(Revision::ZERO).0 + 8;
    for revision in (0..end).map(Revision) {
        let point = catalog.point(&scope, revision).await.unwrap();
        assert_eq!(
            point.recoverable,
            coverage.contains(revision),
            "{context} {revision}"
        );
        assert_eq!(
            (point.below, point.above),
            coverage.nearest(revision),
            "{context} {revision}"
        );
        let in_gap = coverage
            .gaps
            .iter()
            .any(|gap| gap.first <= revision && revision <= gap.last);
        let in_hole = answer
            .holes
            .iter()
            .any(|hole| hole.first <= revision && revision <= hole.last);
        assert_eq!(point.hole.is_some(), in_hole, "{context} {revision}");
        assert!(in_hole || !in_gap, "{context} {revision}");
        assert!(!(in_hole && point.recoverable), "{context} {revision}");
    }
    // Whatever is there now was there in an hour.
    let later = world.now().timestamp_millis() + i64::from(u32::MAX);
    let later = later.max(chrono::Utc::now().timestamp_millis() + 1_000);
    let as_of = catalog.coverage_as_of(&scope, later).await.unwrap();
    assert_eq!(as_of, answer, "{context}");
    let never = catalog.coverage_as_of(&scope, 0).await.unwrap();
    assert_eq!((never.ranges.len(), never.maximum), (0, None));

    let mut spans = Spans::default();
    let mut times = vec![0, later];
    for base in &inventory.bases {
        spans.there_by(base.revision, base.manifest.facts.finished_unix_ms);
        times.push(base.manifest.facts.finished_unix_ms);
    }
    for entry in &inventory.segments {
        if let Ok(index) = timeline.segment_index(entry).await {
            spans.add(&index, entry.last);
            times.extend(
                index
                    .times
                    .iter()
                    .flat_map(|mark| [mark.unix_ms - 1, mark.unix_ms]),
            );
        }
    }
    for at in times {
        let by = spans.newest_by(at);
        let exact = catalog
            .revision_at(&scope, at, Some(&world.vault))
            .await
            .unwrap();
        assert_eq!(exact.revision, by, "{context} at {at}");
        let alone = catalog.revision_at(&scope, at, None).await.unwrap();
        assert!(
            alone.revision <= by && by <= alone.at_most,
            "{context} at {at}: {alone:?}, {by:?}"
        );
    }
    for revision in (1..end).map(Revision) {
        let exact = catalog
            .time_of(&scope, revision, Some(&world.vault))
            .await
            .unwrap();
        assert_eq!(exact.seen_ms, spans.seen(revision), "{context} {revision}");
        assert_eq!(
            exact.until_ms,
            spans.seen(revision.next()),
            "{context} {revision}"
        );
    }
}

#[tokio::test]
async fn which_segments_touch_a_key() {
    for database in Database::all().await {
        let mut world = World::new(1).await;
        let timeline = world.timeline("prod").await;
        world.base(&timeline, 0, 1).await;
        for first in (2..200).step_by(5) {
            world.segment(&timeline, 0, first, first + 4).await;
        }
        let catalog = database.filled("touching", &world).await;
        let scope = scope(&timeline);
        for (key, prefix) in [
            ("key-3", false),
            ("key-", true),
            ("key-1", true),
            ("nothing", false),
            ("", true),
        ] {
            let wanted = KeyRange {
                key: key.as_bytes().to_vec(),
                prefix,
                from: Revision(20),
                to: Revision(150),
                limit: 1_000,
                after: None,
            };
            // The rows of revision r have the key `key-(r mod 17)`.
            let holds = |first: i64, last: i64| {
                (first..=last).any(|main| {
                    let name = format!("key-{}", main % 17);
                    name == key || prefix && name.starts_with(key)
                })
            };
            let all: Vec<_> = timeline.segments().await.unwrap();
            let near = all
                .iter()
                .filter(|entry| entry.last.0 >= 20 && entry.first.0 <= 150);
            let true_ones: Vec<_> = near
                .clone()
                .filter(|entry| holds(entry.first.0, entry.last.0))
                .collect();
            let wide = catalog.touching(&scope, &wanted, None).await.unwrap();
            let narrow = catalog
                .touching(&scope, &wanted, Some(&world.vault))
                .await
                .unwrap();
            for entry in &true_ones {
                assert!(
                    wide.segments.iter().any(|one| one.name == entry.name),
                    "{key}: {}",
                    entry.name
                );
                assert!(
                    narrow.segments.iter().any(|one| one.name == entry.name),
                    "{key}: {}",
                    entry.name
                );
            }
            assert!(narrow.segments.len() <= wide.segments.len());
            assert!(wide.segments.len() <= near.count());
            assert!(!wide.more && narrow.filtered);
            if key == "nothing" {
                assert_eq!(wide.segments.len(), 0);
            }
        }
        let wanted = KeyRange {
            key: Vec::new(),
            prefix: true,
            from: Revision(1),
            to: Revision(i64::MAX),
            limit: 3,
            after: None,
        };
        let some = catalog.touching(&scope, &wanted, None).await.unwrap();
        assert_eq!((some.segments.len(), some.more), (3, true));
    }
}

/// Page by page all of them come once, also those that begin or end together, and pages of which nothing is left lead on.
#[tokio::test]
async fn touching_segments_come_page_by_page() {
    for database in Database::all().await {
        let mut world = World::new(3).await;
        let timeline = world.timeline("prod").await;
        world.base(&timeline, 0, 1).await;
        // Agents beside each other, a merge, and one that reaches far.
        for first in (2..100).step_by(3) {
            for last in [first + 2, first + 2, first + 5] {
                world.segment(&timeline, 0, first, last).await;
            }
        }
        world.segment(&timeline, 1, 2, 40).await;
        world.segment(&timeline, 0, 60, 102).await;
        let catalog = database.filled("pages", &world).await;
        let scope = scope(&timeline);
        let there = timeline.segments().await.unwrap();
        // Gone since: nothing is left of pages that name these alone.
        for entry in there
            .iter()
            .filter(|entry| (20..40).contains(&entry.first.0))
        {
            use object_store::ObjectStoreExt as _;
            let path = object_store::path::Path::from(format!("p/{}", entry.name));
            world.store.delete(&path).await.unwrap();
        }
        for (key, from, limit) in [("key-", 1, 1), ("key-", 50, 7), ("key-3", 95, 2)] {
            let mut wanted = KeyRange {
                key: key.as_bytes().to_vec(),
                prefix: key.ends_with('-'),
                from: Revision(from),
                to: Revision(i64::MAX),
                limit: 10_000,
                after: None,
            };
            for vault in [None, Some(&world.vault)] {
                wanted.limit = 10_000;
                wanted.after = None;
                let all = catalog.touching(&scope, &wanted, vault).await.unwrap();
                assert!(!all.more && all.next.is_none());
                if vault.is_none() && key == "key-" {
                    let near = there.iter().filter(|entry| entry.last.0 >= from);
                    assert_eq!(all.segments.len(), near.count(), "{from}");
                }
                wanted.limit = limit;
                let mut found = Vec::new();
                let mut empty = 0;
                loop {
                    let page = catalog.touching(&scope, &wanted, vault).await.unwrap();
                    assert_eq!(page.more, page.next.is_some());
                    empty += usize::from(page.segments.is_empty());
                    found.extend(page.segments);
                    assert!(
                        found.len() <= all.segments.len(),
                        "it goes round in a circle"
                    );
                    let Some(next) = page.next else { break };
                    // As text, as callers hand it back.
                    let next = next.to_string().parse().unwrap();
                    assert!(wanted.after.as_ref() < Some(&next), "it stands still");
                    wanted.after = Some(next);
                }
                assert_eq!(found, all.segments, "{key} from {from}");
                assert_eq!(empty > 1, limit == 1 && vault.is_some(), "{empty}");
            }
        }
    }
}

/// An index that cannot be read leaves the answer as wide as the catalog has it.
#[tokio::test]
async fn what_could_not_be_read_is_not_called_exact() {
    use object_store::ObjectStoreExt as _;
    for database in Database::all().await {
        let mut world = World::new(4).await;
        let timeline = world.timeline("prod").await;
        world.base(&timeline, 0, 1).await;
        world.segment(&timeline, 0, 2, 400).await;
        let catalog = database.filled("exact", &world).await;
        let scope = scope(&timeline);
        let entry = timeline.segments().await.unwrap().remove(0);
        let index = timeline.segment_index(&entry).await.unwrap();
        // A revision of which the catalog alone cannot tell when it was seen.
        let mut between = None;
        for mark in &index.times {
            let alone = catalog.revision_at(&scope, mark.unix_ms, None).await;
            let alone = alone.unwrap();
            if alone.revision != alone.at_most {
                between = Some((mark.unix_ms, mark.revision, alone));
            }
        }
        let (at, revision, alone) = between.unwrap();
        let asked = Some(&world.vault);
        let exact = catalog.revision_at(&scope, at, asked).await.unwrap();
        assert_eq!(exact.revision, exact.at_most);
        assert!(
            catalog
                .time_of(&scope, revision, asked)
                .await
                .unwrap()
                .exact
        );
        assert!(!catalog.time_of(&scope, revision, None).await.unwrap().exact);
        let path = object_store::path::Path::from(format!("p/{}", entry.name));
        for damaged in [true, false] {
            if damaged {
                world.store.put(&path, "garbage".into()).await.unwrap();
            } else {
                world.store.delete(&path).await.unwrap();
            }
            let unread = catalog.revision_at(&scope, at, asked).await.unwrap();
            assert_eq!(unread, alone);
            assert!(
                !catalog
                    .time_of(&scope, revision, asked)
                    .await
                    .unwrap()
                    .exact
            );
        }
    }
}

#[tokio::test]
async fn how_much_is_held() {
    for database in Database::all().await {
        let mut world = World::new(2).await;
        for name in ["small", "large"] {
            let timeline = world.timeline(name).await;
            let last = if name == "large" { 90 } else { 9 };
            world.base(&timeline, 0, 3).await;
            for first in (4..last).step_by(3) {
                world.segment(&timeline, 0, first, first + 2).await;
            }
            world.segment(&timeline, 1, 4, 6).await;
        }
        let catalog = database.filled("usage", &world).await;
        let today = chrono::Utc::now().timestamp_millis();
        let mut all = (0, 0);
        for name in ["small", "large"] {
            let scope = Scope::newest(name.parse().unwrap());
            let usage = catalog.usage(Some(&scope), today).await.unwrap();
            let mut sizes = (0, 0);
            for path in world.objects(name).await {
                // The intent of a base, and the head, are not counted.
                if !path.as_ref().contains("/writing/") {
                    use object_store::ObjectStoreExt as _;
                    sizes.0 += 1;
                    sizes.1 += world.store.head(&path).await.unwrap().size;
                }
            }
            assert_eq!((usage.objects, usage.bytes), sizes, "{name}");
            let level = |level| {
                let lines = usage.lines.iter();
                let lines = lines.filter(|line| line.kind == "segment" && line.level == level);
                lines.map(|line| line.objects).sum::<u64>()
            };
            assert_eq!(level(1), 1, "{name}");
            assert!(
                usage
                    .lines
                    .iter()
                    .all(|line| line.age == "day" || line.age == "week")
            );
            let later = catalog
                .usage(Some(&scope), today + 86_400_000 * 40)
                .await
                .unwrap();
            assert!(
                later.lines.iter().all(|line| line.age == "year"),
                "{later:?}"
            );
            all = (all.0 + usage.objects, all.1 + usage.bytes);
        }
        let fleet = catalog.usage(None, today).await.unwrap();
        assert_eq!((fleet.objects, fleet.bytes), all);
        let largest = catalog.largest(1).await.unwrap();
        assert_eq!(largest[0].cluster, "large");
    }
}

/// What retention deleted is thinned, what an agent lost is lost, and of what nobody speaks is missing.
#[tokio::test]
async fn thinned_is_not_lost() {
    for database in Database::all().await {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}", folder.path().display());
        let vault = Vault::create(&url).await.unwrap();
        let cluster = vault.cluster(&"prod".parse().unwrap());
        let source = SourceIdentity::default();
        let timeline = cluster.create_timeline(source, None).await.unwrap();
        let all = rows(1..451, 20);
        for (from, to) in [(1, 100), (101, 200), (206, 300), (306, 400)] {
            let there = all
                .iter()
                .filter(|row| (from..=to).contains(&row.key.main.0));
            let there: Vec<_> = there.cloned().collect();
            let facts = BaseFacts {
                revision: Revision(from),
                compact_revision: Revision(from),
                ..BaseFacts::default()
            };
            let first: Vec<_> = there
                .iter()
                .filter(|row| row.key.main.0 == from)
                .cloned()
                .collect();
            timeline
                .write_base_with(facts, Rows::of(&first), None, SMALL)
                .await
                .unwrap();
            timeline
                .put_segment(&segment(&timeline, &there, from + 1, to))
                .await
                .unwrap();
        }
        timeline
            .put_gap(Revision(201), Revision(205), "compacted before it was seen")
            .await
            .unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(40 * 86_400);
        for file in files(folder.path()) {
            File::open(&file).unwrap().set_modified(long_ago).unwrap();
        }
        let catalog = database.catalog("thinned").await;
        let options = SyncOptions::default();
        let scope = scope(&timeline);
        let now = chrono::Utc::now();
        let kinds = async |catalog: &Catalog| -> Vec<(i64, i64, String)> {
            let holes = catalog.coverage(&scope).await.unwrap().holes;
            holes
                .into_iter()
                .map(|hole| (hole.first.0, hole.last.0, hole.kind))
                .collect()
        };
        let told = |holes: &[(i64, i64, &str)]| -> Vec<(i64, i64, String)> {
            holes
                .iter()
                .map(|hole| (hole.0, hole.1, hole.2.to_owned()))
                .collect()
        };
        catalog.sync(&vault, &options, now).await.unwrap();
        assert_eq!(
            kinds(&catalog).await,
            told(&[(201, 205, "lost"), (301, 305, "missing")])
        );
        let rules = Rules {
            window: TimeDelta::days(1),
            grace: TimeDelta::zero(),
            daily: 0,
            monthly: 0,
            minimum: 1,
            ..Rules::default()
        };
        cluster.apply_retention(&rules, &chrono::Utc).await.unwrap();
        catalog.sync(&vault, &options, now).await.unwrap();
        let marked = catalog.retention_runs(&scope).await.unwrap();
        assert_eq!((marked.len(), marked[0].state.as_str()), (1, "marked"));
        cluster.apply_retention(&rules, &chrono::Utc).await.unwrap();
        let report = catalog.sync(&vault, &options, now).await.unwrap();
        assert!(report.objects_gone >= 5, "{report:?}");
        let swept = catalog.retention_runs(&scope).await.unwrap();
        assert_eq!(swept[0].state, "swept");
        assert!(swept[0].segments >= 3 && swept[0].bytes > 0);
        // The first base stays, as one of those that were stored in one slot; the others but the newest went.
        let expected = [
            (2, 200, "thinned"),
            (201, 205, "lost"),
            (206, 300, "thinned"),
            (301, 305, "missing"),
        ];
        assert_eq!(kinds(&catalog).await, told(&expected));
        let facts = ClusterFacts::of(&cluster).await;
        let expectations = Expectations::default();
        let known = catalog
            .status_of(&scope, &expectations, 0)
            .await
            .unwrap()
            .facts;
        assert_eq!((known.thinned, known.lost, known.missing), (294, 5, 5));
        assert_eq!((facts.thinned, facts.lost, facts.missing), (294, 5, 5));
        let left = catalog.coverage_exact(&scope).await.unwrap();
        assert_eq!(
            left,
            Coverage::compute(&timeline.inventory().await.unwrap())
        );
        let fresh = database.catalog("fresh").await;
        fresh.sync(&vault, &options, now).await.unwrap();
        assert_eq!(dump(&fresh).await, dump(&catalog).await);
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}
