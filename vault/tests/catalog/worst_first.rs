//! The clusters that are worst off come first, with the reason.

use std::time::Duration;

use revkeep_schemas::Revision;
use revkeep_vault::catalog::SyncOptions;
use revkeep_vault::catalog::query::{
    ClusterFacts, Condition, Expectations, Scope, Severity, StatusPage,
};
use revkeep_vault::{Head, ProofKind, Receipt};

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
                "behind" => now + 400_000,
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
        for _ in 0..250 {
            world.step(30).await;
        }
        let catalog = database.catalog("order").await;
        let options = SyncOptions::default();
        catalog
            .sync(&world.vault, &options, world.now())
            .await
            .unwrap();
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
        let page = catalog
            .status(&Expectations::default(), now, Some("good"), (0, 10))
            .await
            .unwrap();
        assert_eq!((page.worst, page.total), (Severity::Ok, 0));
    }
}
