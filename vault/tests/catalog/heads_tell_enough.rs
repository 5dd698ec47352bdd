//! Between two listings of all names, what heads tell of is found, in whatever order it was stored.

use std::time::Duration;

use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use revkeep_schemas::Revision;
use revkeep_vault::catalog::query::Scope;
use revkeep_vault::catalog::{Catalog, SyncOptions};
use revkeep_vault::{Coverage, Timeline};

use crate::databases::{Database, dump};
use crate::history::World;

/// All names are listed at first and never again.
fn by_heads() -> SyncOptions {
    SyncOptions {
        relist: Duration::from_secs(3600 * 24 * 365),
        ..SyncOptions::default()
    }
}

async fn sync(catalog: &Catalog, world: &World) {
    let report = catalog.sync(&world.vault, &by_heads(), world.now()).await;
    let report = report.unwrap();
    assert!(report.failed.is_empty(), "{report:?}");
}

async fn says_what_is_there(catalog: &Catalog, timeline: &Timeline, context: &str) {
    let scope = Scope::newest(timeline.cluster().name().clone());
    let said = catalog.coverage_exact(&scope).await.unwrap();
    let truth = Coverage::compute(&timeline.inventory().await.unwrap());
    assert_eq!(said, truth, "{context}");
}

#[tokio::test]
async fn a_segment_that_was_stored_after_a_later_one() {
    for database in Database::all().await {
        let mut world = World::new(31).await;
        let timeline = world.timeline("prod").await;
        world.base(&timeline, 0, 9).await;
        // Many before it, so that not all names are listed for being few.
        for first in (10..100).step_by(2) {
            world.segment(&timeline, 0, first, first + 1).await;
        }
        world.put_head("prod").await;
        let catalog = database.catalog("late").await;
        sync(&catalog, &world).await;
        // One of several that are on their way is tried again; meanwhile a base has a head written.
        world.segment(&timeline, 0, 111, 120).await;
        world.base(&timeline, 50, 60).await;
        world.put_head("prod").await;
        sync(&catalog, &world).await;
        world.segment(&timeline, 0, 121, 123).await;
        world.put_head("prod").await;
        sync(&catalog, &world).await;
        world.segment(&timeline, 0, 100, 110).await;
        assert_eq!(world.durable_of(&timeline), Revision(123));
        world.put_head("prod").await;
        sync(&catalog, &world).await;
        says_what_is_there(&catalog, &timeline, "a late segment").await;
        let scope = Scope::newest("prod".parse().unwrap());
        let point = catalog.point(&scope, Revision(123)).await.unwrap();
        assert!(point.recoverable, "{point:?}");
    }
}

#[tokio::test]
async fn a_base_that_was_stored_after_a_later_one() {
    for database in Database::all().await {
        let mut world = World::new(32).await;
        let timeline = world.timeline("prod").await;
        for revision in 1..30 {
            world.base(&timeline, revision, revision).await;
        }
        world.put_head("prod").await;
        let catalog = database.catalog("late").await;
        sync(&catalog, &world).await;
        world.base(&timeline, 50, 50).await;
        world.put_head("prod").await;
        sync(&catalog, &world).await;
        // Of another agent, which took longer.
        world.base(&timeline, 40, 45).await;
        world.base(&timeline, 60, 60).await;
        world.put_head("prod").await;
        sync(&catalog, &world).await;
        says_what_is_there(&catalog, &timeline, "a late base").await;
    }
}

/// Agents store up to eight segments at once, in any order, and a head may be written and read at any moment.
#[tokio::test]
async fn many_in_any_order() {
    let seed: u64 =
        std::env::var("REVKEEP_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    let database = Database::Sqlite(tempfile::tempdir().unwrap());
    for case in 0..8 {
        let seed = seed.wrapping_add(case);
        println!("REVKEEP_SEED={seed}");
        let mut world = World::new(seed).await;
        let timeline = world.timeline("prod").await;
        world.base(&timeline, 0, 1).await;
        world.put_head("prod").await;
        let catalog = database.catalog(&format!("order{case}")).await;
        sync(&catalog, &world).await;
        let scope = Scope::newest("prod".parse().unwrap());
        let mut on_their_way: Vec<(i64, i64)> = Vec::new();
        let mut next = 2;
        for round in 0..40 {
            while on_their_way.len() < 8 && round < 39 {
                let last = next + world.random_below(4);
                on_their_way.push((next, last));
                next = last + 1;
            }
            on_their_way.shuffle(&mut world.random);
            let left = if round < 39 {
                world.random.random_range(0..8)
            } else {
                0
            };
            while on_their_way.len() > left {
                let (first, last) = on_their_way.pop().unwrap();
                world.segment(&timeline, 0, first, last).await;
                if world.random_below(3) == 0 {
                    world.put_head("prod").await;
                }
                if world.random_below(4) == 0 {
                    sync(&catalog, &world).await;
                }
            }
            world.put_head("prod").await;
            sync(&catalog, &world).await;
            let told = world.durable_of(&timeline);
            let point = catalog.point(&scope, told).await.unwrap();
            assert!(point.recoverable, "seed {seed}, round {round}: {point:?}");
        }
        says_what_is_there(&catalog, &timeline, &format!("seed {seed}")).await;
        let fresh = database.catalog(&format!("fresh{case}")).await;
        sync(&fresh, &world).await;
        assert_eq!(dump(&catalog).await, dump(&fresh).await, "seed {seed}");
        catalog.close().await;
        fresh.close().await;
    }
}
