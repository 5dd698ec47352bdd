//! However a catalog was filled, the same vault gives the same content, to the byte.

use std::time::Duration;

use revkeep_vault::catalog::SyncOptions;
use revkeep_vault::retention::Policy;

use crate::databases::{Database, dump};
use crate::history::World;

fn options() -> SyncOptions {
    SyncOptions {
        policy: Some(Policy::parse("p", "[labels]\nodd = ['c1', 'c3']\nall = ['*']\n").unwrap()),
        ..SyncOptions::default()
    }
}

/// As long as the heads tell, nothing else is listed.
fn by_heads() -> SyncOptions {
    SyncOptions {
        relist: Duration::from_secs(3600 * 24 * 365),
        ..options()
    }
}

#[tokio::test]
async fn filled_step_by_step_or_at_once() {
    let cases: u64 = std::env::var("REVKEEP_CASES").map_or(12, |cases| cases.parse().unwrap());
    let seed: u64 =
        std::env::var("REVKEEP_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    for database in Database::all().await {
        for case in 0..cases {
            let seed = seed.wrapping_add(case);
            println!("REVKEEP_SEED={seed}");
            let mut world = World::new(seed).await;
            let grown = database.catalog(&format!("grown{case}")).await;
            for _ in 0..25 {
                for _ in 0..=(seed % 7) {
                    world.step(4).await;
                }
                let options = if world.random_below(2) == 0 {
                    by_heads()
                } else {
                    options()
                };
                let report = grown
                    .sync(&world.vault, &options, world.now())
                    .await
                    .unwrap();
                assert!(report.failed.is_empty(), "{report:?}");
            }
            grown
                .sync(&world.vault, &options(), world.now())
                .await
                .unwrap();
            let at_once = database.catalog(&format!("once{case}")).await;
            at_once
                .sync(&world.vault, &options(), world.now())
                .await
                .unwrap();
            let grown_says = dump(&grown).await;
            pretty_assert(
                &grown_says,
                &dump(&at_once).await,
                "grown and filled at once",
            );
            grown
                .rebuild(&world.vault, &options(), world.now())
                .await
                .unwrap();
            pretty_assert(&dump(&grown).await, &grown_says, "rebuilt and grown");
            assert!(grown_says.lines().count() > 5, "{grown_says}");
            grown.close().await;
            at_once.close().await;
        }
    }
}

/// Both databases say the same.
#[tokio::test]
async fn in_one_database_or_the_other() {
    let mut world = World::new(7).await;
    for _ in 0..150 {
        world.step(3).await;
    }
    let mut said: Option<String> = None;
    for database in Database::all().await {
        let catalog = database.catalog("same").await;
        catalog
            .sync(&world.vault, &options(), world.now())
            .await
            .unwrap();
        let says = dump(&catalog).await;
        if let Some(before) = &said {
            pretty_assert(&says, before, "PostgreSQL and SQLite");
        }
        said = Some(says);
    }
}

fn pretty_assert(one: &str, other: &str, what: &str) {
    if one != other {
        let only = |a: &str, b: &str| {
            let b: std::collections::BTreeSet<&str> = b.lines().collect();
            a.lines()
                .filter(|line| !b.contains(line))
                .take(20)
                .collect::<Vec<_>>()
                .join("\n")
        };
        panic!(
            "{what} differ:\nonly in the first:\n{}\nonly in the second:\n{}",
            only(one, other),
            only(other, one)
        );
    }
}
