//! Each piece of work is done by one.

use std::time::Duration;

use super::service::*;
use chrono::{DateTime, TimeDelta, Utc};
use revkeep_harness::Postgres;
use revkeep_vault::catalog::Catalog;
use revkeep_vault::service::{Claims, Job};

fn slot(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

/// What both kinds of claims promise.
async fn claims_are_had_once(claims: Claims, expires: bool) {
    let job = Job::Retention;
    let now = Utc::now();
    for at in [60, 120, 180] {
        let mut running = tokio::task::JoinSet::new();
        for holder in 0..8 {
            let claims = claims.clone();
            running.spawn(async move {
                let holder = format!("service-{holder}");
                claims
                    .claim(job, slot(at), &holder, now)
                    .await
                    .unwrap()
                    .then_some(holder)
            });
        }
        let mut won = Vec::new();
        while let Some(claimed) = running.join_next().await {
            won.extend(claimed.unwrap());
        }
        assert_eq!(won.len(), 1, "{won:?}");
        assert!(claims.renew(job, slot(at), &won[0], now).await.unwrap());
        claims.release(job, slot(at), &won[0], true).await.unwrap();
        // It is done: nobody does it again, nor what was due before.
        for earlier in [at, at - 60] {
            assert!(
                !claims.claim(job, slot(earlier), "late", now).await.unwrap(),
                "{earlier}"
            );
        }
    }
    // What is given up is taken on by another one.
    assert!(claims.claim(job, slot(240), "one", now).await.unwrap());
    claims.release(job, slot(240), "one", false).await.unwrap();
    assert!(
        claims
            .claim(job, slot(240), "two", now + TimeDelta::seconds(1))
            .await
            .unwrap()
    );
    if expires {
        // One that is silent for long is taken over, and hears of it.
        let later = now + TimeDelta::minutes(10);
        assert!(!claims.claim(job, slot(300), "three", now).await.unwrap());
        assert!(claims.claim(job, slot(300), "three", later).await.unwrap());
        assert!(!claims.renew(job, slot(240), "two", later).await.unwrap());
    }
    // Another job is another matter.
    assert!(
        claims
            .claim(Job::CatalogSync, slot(60), "one", now)
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn each_piece_of_work_is_done_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let (url, timeline) = vault(folder.path()).await;
    let vault = timeline.cluster().vault().clone();
    claims_are_had_once(Claims::Vault(vault.clone()), false).await;
    let file = sqlite(folder.path(), "claims").parse().unwrap();
    let catalog = Catalog::open(&file).await.unwrap();
    claims_are_had_once(Claims::Database(catalog), true).await;
    let Some(server) = Postgres::start().await.unwrap() else {
        return;
    };
    let database = server.create_database("claims").await.unwrap();
    let catalog = Catalog::open(&database.parse().unwrap()).await.unwrap();
    claims_are_had_once(Claims::Database(catalog), true).await;

    // Three real ones with one catalog: each second's work is done by one of them.
    let database = server.create_database("fleet").await.unwrap();
    let mut services = Vec::new();
    for name in ["a", "b", "c"] {
        let every_second = ["--catalog-schedule", "* * * * * *"];
        services.push(Service::start(folder.path(), name, &url, &database, &every_second).await);
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    let sql = "SELECT COUNT(*) FROM leases WHERE job = 'catalog-sync'";
    assert_eq!(server.sql("fleet", sql).await.unwrap(), "1");
    let (mut done, mut left) = (0, 0);
    for service in &services {
        let (_, metrics) = service.get("/metrics").await;
        let count = |outcome: &str| -> u64 {
            let line = format!("job=\"catalog-sync\",outcome=\"{outcome}\"}} ");
            let found = metrics.lines().find_map(|one| one.split(&line).nth(1));
            found.map_or(0, |count| count.parse().unwrap())
        };
        done += count("succeeded");
        left += count("elsewhere");
        assert_eq!(count("failed"), 0, "{metrics}");
    }
    assert!(done >= 2, "{done} done, {left} left");
    // Had each done all, none would have been left to another.
    assert!(left >= done, "{done} done, {left} left");
    for service in services {
        service.ends_in_order().await;
    }
}
