//! The clusters that are worst off come first, with the reason.

use std::time::Duration;

use revkeep_schemas::Revision;
use revkeep_vault::catalog::SyncOptions;
use revkeep_vault::catalog::query::{
    ClusterFacts, Condition, Expectations, Scope, Severity, StatusPage,
};
use revkeep_vault::{ErrorKind, Head, ProofKind, Receipt};

use crate::databases::Database;
use crate::history::World;

/// One cluster of each kind.
async fn fleet() -> World {
    let mut world = World::new(11).await;
    for name in ["fine", "silent", "behind", "gaps", "damaged", "headless"] {
        let timeline = world.timeline(name).await;
        world.base(&timeline, 0, 5).await;
        world.segment(&timeline, 0, 6, 9).await;
    }
    world.timeline("unprotected").await;
    let gaps = world.timeline("gaps").await;
    gaps.put_gap(Revision(10), Revision(12), "compacted")
        .await
        .unwrap();
    world.base(&gaps, 13, 15).await;
    let now = world.now().timestamp_millis();
    for name in ["fine", "silent", "behind", "gaps", "damaged", "unprotected"] {
        let reached = Revision(if name == "gaps" { 15 } else { 9 });
        let head = Head {
            timeline: revkeep_vault::TimelineId::FIRST,
            base_revision: Revision(5),
            durable_revision: reached,
            source_revision: Revision(if name == "behind" { 30 } else { reached.0 }),
            heartbeat_unix_ms: match name {
                "silent" => now - 3_600_000,
                _ => now,
            },
            ..Head::default()
        };
        world.cluster(name).put_head(&head).await.unwrap();
    }
    // A base that cannot be read.
    let timeline = world.timeline("damaged").await;
    world.base(&timeline, 0, 8).await;
    for path in world.objects("damaged").await {
        if path.as_ref().contains("bases/00000000000000000008") {
            use object_store::ObjectStoreExt as _;
            world.store.put(&path, "no manifest".into()).await.unwrap();
        }
    }
    world
}

/// The agent of a cluster says more: the revision of the source, and when.
async fn says_later(world: &World, name: &str, source: i64, later_ms: i64) {
    let cluster = world.cluster(name);
    let head = cluster.head().await.unwrap().unwrap();
    let head = Head {
        source_revision: Revision(source),
        heartbeat_unix_ms: world.now().timestamp_millis() + later_ms,
        ..head
    };
    cluster.put_head(&head).await.unwrap();
}

fn words(page: &StatusPage) -> Vec<(String, &'static str)> {
    page.clusters
        .iter()
        .map(|one| (one.facts.cluster.clone(), one.condition.word()))
        .collect()
}

fn expected() -> Vec<(String, &'static str)> {
    [
        ("unprotected", "unprotected"),
        ("damaged", "damaged"),
        ("headless", "silent"),
        ("silent", "silent"),
        ("behind", "behind"),
        ("gaps", "gaps"),
        ("fine", "ok"),
    ]
    .map(|(name, word)| (name.to_owned(), word))
    .to_vec()
}

#[tokio::test]
async fn with_a_catalog() {
    for database in Database::all().await {
        let world = fleet().await;
        let catalog = database.catalog("status").await;
        let options = SyncOptions::default();
        catalog
            .sync(&world.vault, &options, world.now())
            .await
            .unwrap();
        let expectations = Expectations::default();
        let now = world.now().timestamp_millis();
        // The first head that tells of more is none of a cluster that is behind.
        let behind = Scope::newest("behind".parse().unwrap());
        let one = catalog
            .status_of(&behind, &expectations, now)
            .await
            .unwrap();
        assert_eq!(one.condition, Condition::Ok, "{one:?}");
        says_later(&world, "behind", 40, 400_000).await;
        catalog
            .sync(&world.vault, &options, world.now())
            .await
            .unwrap();
        let page = catalog
            .status(&expectations, now, None, (0, 100))
            .await
            .unwrap();
        assert_eq!(words(&page), expected());
        assert_eq!(
            (page.worst, page.total, page.problems),
            (Severity::Problem, 7, 5)
        );
        for one in &page.clusters {
            assert_eq!(
                one.reasons.is_empty(),
                one.condition == Condition::Ok,
                "{one:?}"
            );
            let alone = Scope::newest(one.facts.cluster.parse().unwrap());
            let alone = catalog.status_of(&alone, &expectations, now).await.unwrap();
            assert_eq!(&alone, one);
        }
        // A page of it says the same of all.
        let page = catalog
            .status(&expectations, now, None, (5, 1))
            .await
            .unwrap();
        assert_eq!(words(&page), expected()[5..6]);
        assert_eq!(
            (page.worst, page.total, page.problems),
            (Severity::Problem, 7, 5)
        );
        // Nothing was ever proven, which counts once it is asked for.
        let strict = Expectations {
            proven_within: Some(Duration::from_secs(86_400)),
            ..expectations
        };
        let page = catalog.status(&strict, now, None, (6, 1)).await.unwrap();
        assert_eq!(words(&page), [("fine".to_owned(), "unproven")]);
        assert_eq!(page.clusters[0].severity, Severity::Notice);
        // Now there is a proof.
        let drill = Receipt {
            kind: ProofKind::Drill,
            sound: true,
            summary: "as it was".to_owned(),
            ended_unix_ms: now - 1_000,
            took_ms: 10,
            timeline: revkeep_vault::TimelineId::FIRST,
            revision: Revision(7),
            compact_revision: Revision::ZERO,
            hash: 1,
            server: "etcd 3.5.1".to_owned(),
            objects: 0,
            bytes: 0,
            findings: 0,
        };
        world.cluster("fine").put_receipt(&drill).await.unwrap();
        catalog
            .sync(&world.vault, &options, world.now())
            .await
            .unwrap();
        let page = catalog.status(&strict, now, None, (6, 1)).await.unwrap();
        assert_eq!(words(&page), [("fine".to_owned(), "ok")]);
        assert_eq!(page.clusters[0].facts.proven_revision, Some(Revision(7)));
        let alone = ClusterFacts::of(&world.cluster("fine")).await;
        assert_eq!(
            (alone.proven_revision, alone.proven_ms),
            (Some(Revision(7)), Some(now - 1_000))
        );
        // Much later all are silent, but for what is worse.
        let page = catalog
            .status(&expectations, now + 86_400_000, None, (0, 100))
            .await
            .unwrap();
        assert!(
            page.clusters
                .iter()
                .all(|one| one.condition >= Condition::Silent)
        );
    }
}

#[tokio::test]
async fn without_a_catalog() {
    let world = fleet().await;
    let now = world.now().timestamp_millis();
    says_later(&world, "behind", 40, 400_000).await;
    let mut clusters = Vec::new();
    for name in world.vault.clusters().await.unwrap() {
        let facts = ClusterFacts::of(&world.vault.cluster(&name)).await;
        clusters.push(facts.judged(&Expectations::default(), now));
    }
    let page = StatusPage::of(clusters);
    assert_eq!(words(&page), expected());
    assert_eq!(
        (page.worst, page.total, page.problems),
        (Severity::Problem, 7, 5)
    );
}

/// The database sorts by the same rules as those that give the reasons.
#[tokio::test]
async fn the_order_is_that_of_the_words() {
    for database in Database::all().await {
        let mut world = World::new(12).await;
        let catalog = database.catalog("order").await;
        let options = SyncOptions::default();
        for _ in 0..5 {
            for _ in 0..50 {
                world.step(30).await;
            }
            for cluster in 0..30 {
                world.put_head(&format!("c{cluster}")).await;
            }
            catalog
                .sync(&world.vault, &options, world.now())
                .await
                .unwrap();
        }
        for later in [0, 600_000, 1_200_000, 86_400_000] {
            let expectations = Expectations {
                proven_within: (later % 7 == 0).then_some(Duration::from_secs(60)),
                ..Expectations::default()
            };
            let now = world.now().timestamp_millis() + later;
            let page = catalog
                .status(&expectations, now, None, (0, 1_000))
                .await
                .unwrap();
            assert_eq!(StatusPage::of(page.clusters.clone()), page);
        }
    }
}

#[tokio::test]
async fn of_a_label_alone() {
    for database in Database::all().await {
        let world = fleet().await;
        let catalog = database.catalog("labels").await;
        let policy = "[labels]\nbad = ['da*', 'unprotected']\n";
        let options = SyncOptions {
            policy: Some(revkeep_vault::retention::Policy::parse("p", policy).unwrap()),
            ..SyncOptions::default()
        };
        catalog
            .sync(&world.vault, &options, world.now())
            .await
            .unwrap();
        let now = world.now().timestamp_millis();
        let page = catalog
            .status(&Expectations::default(), now, Some("bad"), (0, 10))
            .await
            .unwrap();
        assert_eq!(words(&page), expected()[..2]);
        // What no cluster has is more likely a mistake than an answer.
        let error = catalog
            .status(&Expectations::default(), now, Some("good"), (0, 10))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        // The vault knows nothing of labels, so what reads all of it again keeps them.
        catalog
            .rebuild(&world.vault, &SyncOptions::default(), world.now())
            .await
            .unwrap();
        let page = catalog
            .status(&Expectations::default(), now, Some("bad"), (0, 10))
            .await
            .unwrap();
        assert_eq!(words(&page), expected()[..2]);
    }
}

/// An idle source that is written to once is not behind since the last write before that; and one that is written to all the
/// time is not behind as long as what it had is there by the next look.
#[tokio::test]
async fn behind_is_what_waits_and_not_what_is_new() {
    for database in Database::all().await {
        let mut world = World::new(13).await;
        let timeline = world.timeline("prod").await;
        world.base(&timeline, 0, 5).await;
        world.put_head("prod").await;
        let catalog = database.catalog("waiting").await;
        let options = SyncOptions::default();
        let scope = Scope::newest("prod".parse().unwrap());
        let judged = async |world: &World| {
            catalog
                .sync(&world.vault, &options, world.now())
                .await
                .unwrap();
            let now = world.now().timestamp_millis();
            let expected = Expectations::default();
            let one = catalog.status_of(&scope, &expected, now + 1_000);
            let one = one.await.unwrap();
            let page = catalog.status(&expected, now + 1_000, None, (0, 9));
            assert_eq!(page.await.unwrap().clusters[0], one);
            (one.condition, one.facts.behind_since_ms)
        };
        assert_eq!(judged(&world).await, (Condition::Ok, None));
        let hour = 3_600_000;
        for round in 1..5 {
            // An hour in which nothing happens, then a revision that is on its way.
            let first = 4 + 2 * round;
            world.sleep(hour);
            says_later(&world, "prod", first, 0).await;
            let now = world.now().timestamp_millis();
            assert_eq!(judged(&world).await, (Condition::Ok, Some(now)));
            world.segment(&timeline, 0, first, first).await;
            // The one after it is on its way by then.
            world.sleep(hour);
            says_later(&world, "prod", first + 1, 0).await;
            let now = world.now().timestamp_millis();
            assert_eq!(judged(&world).await, (Condition::Ok, Some(now)));
            world.segment(&timeline, 0, first + 1, first + 1).await;
        }
        // The same one still waits, though the source goes on.
        says_later(&world, "prod", 14, 0).await;
        let since = world.now().timestamp_millis();
        assert_eq!(judged(&world).await, (Condition::Ok, Some(since)));
        world.sleep(200_000);
        says_later(&world, "prod", 30, 0).await;
        assert_eq!(judged(&world).await, (Condition::Ok, Some(since)));
        world.sleep(200_000);
        says_later(&world, "prod", 40, 0).await;
        assert_eq!(judged(&world).await, (Condition::Behind, Some(since)));
        // Reading all of it again forgets nothing of that.
        let now = world.now();
        catalog.rebuild(&world.vault, &options, now).await.unwrap();
        assert_eq!(judged(&world).await, (Condition::Behind, Some(since)));
        world.segment(&timeline, 0, 14, 40).await;
        world.put_head("prod").await;
        assert_eq!(judged(&world).await, (Condition::Ok, None));
    }
}

/// A proof that failed is a problem until one goes well.
#[tokio::test]
async fn a_proof_that_failed() {
    for database in Database::all().await {
        let mut world = World::new(14).await;
        let timeline = world.timeline("prod").await;
        world.base(&timeline, 0, 5).await;
        world.put_head("prod").await;
        let catalog = database.catalog("proofs").await;
        let scope = Scope::newest("prod".parse().unwrap());
        let now = world.now().timestamp_millis();
        let receipts = [
            (ProofKind::Drill, true, None),
            (
                ProofKind::Drill,
                false,
                Some("the newest drill found: as it went"),
            ),
            (
                ProofKind::Verification,
                true,
                Some("the newest drill found: as it went"),
            ),
            (ProofKind::Drill, true, None),
            (
                ProofKind::Verification,
                false,
                Some("the newest verification found: as it went"),
            ),
            (ProofKind::Verification, true, None),
        ];
        for (at, (kind, sound, expected)) in receipts.into_iter().enumerate() {
            let receipt = Receipt {
                kind,
                sound,
                summary: "as it went".to_owned(),
                ended_unix_ms: now + i64::try_from(at).unwrap(),
                took_ms: 10,
                timeline: revkeep_vault::TimelineId::FIRST,
                revision: Revision(5),
                compact_revision: Revision::ZERO,
                hash: 1,
                server: String::new(),
                objects: 0,
                bytes: 0,
                findings: 0,
            };
            world.cluster("prod").put_receipt(&receipt).await.unwrap();
            catalog
                .sync(&world.vault, &SyncOptions::default(), world.now())
                .await
                .unwrap();
            let known = catalog
                .status(&Expectations::default(), now, None, (0, 1))
                .await
                .unwrap();
            let alone = ClusterFacts::of(&world.cluster("prod")).await;
            let alone = alone.judged(&Expectations::default(), now);
            for one in [&known.clusters[0], &alone] {
                assert_eq!(one.facts.unsound.as_deref(), expected, "{one:?}");
                let condition = expected.map_or(Condition::Ok, |_| Condition::Damaged);
                assert_eq!(one.condition, condition, "{one:?}");
                assert_eq!(one.reasons.first().map(String::as_str), expected);
            }
            assert_eq!(known.problems, u64::from(expected.is_some()));
            assert_eq!(
                catalog
                    .status_of(&scope, &Expectations::default(), now)
                    .await
                    .unwrap(),
                known.clusters[0]
            );
        }
    }
}

/// The clock of one agent does not keep the others from being judged.
#[tokio::test]
async fn an_absurd_head_is_one_clusters_own() {
    for database in Database::all().await {
        let world = fleet().await;
        for (name, time) in [("fine", i64::MIN), ("gaps", i64::MAX)] {
            let cluster = world.cluster(name);
            let head = cluster.head().await.unwrap().unwrap();
            let head = Head {
                heartbeat_unix_ms: time,
                followed_unix_ms: time,
                source_revision: Revision(i64::MAX),
                ..head
            };
            cluster.put_head(&head).await.unwrap();
        }
        let catalog = database.catalog("absurd").await;
        for _ in 0..2 {
            catalog
                .sync(&world.vault, &SyncOptions::default(), world.now())
                .await
                .unwrap();
        }
        let now = world.now().timestamp_millis();
        let page = catalog
            .status(&Expectations::default(), now, None, (0, 100))
            .await
            .unwrap();
        assert_eq!(StatusPage::of(page.clusters.clone()), page);
        let found = |name: &str| {
            let one = page.clusters.iter().find(|one| one.facts.cluster == name);
            one.unwrap().condition
        };
        assert_eq!(found("fine"), Condition::Silent);
        assert_eq!(found("gaps"), Condition::Gaps);
    }
}
