//! What it does on schedules, and that it knows what it did.

use std::path::Path;
use std::time::Duration;

use super::service::*;
use super::world::{Rows, SMALL, rows};
use chrono::Utc;
use revkeep_schemas::Revision;
use revkeep_schemas::catalog_api::PointRequest;
use revkeep_schemas::catalog_api::catalog_client::CatalogClient;
use revkeep_vault::{BaseFacts, Head, ProofKind, Timeline};
use tonic::transport::Channel;

#[tokio::test]
async fn proves_on_a_schedule_what_the_vault_holds() {
    // What drills start stands beside this program.
    for program in ["revkeep", "revkeep-store"] {
        revkeep_harness::binary(program).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let (url, timeline) = vault(folder.path()).await;
    let catalog = sqlite(folder.path(), "catalog");
    let ledger = folder.path().join("ledger").display().to_string();
    let often = "* * * * * *";
    let proofs = [
        "--catalog-schedule",
        NEVER,
        "--verify-schedule",
        often,
        "--drill-schedule",
        often,
        "--ledger",
        &ledger,
    ];
    let cluster = timeline.cluster();
    put_head(&timeline).await;
    let mut service = Service::start(folder.path(), "one", &url, &catalog, &proofs).await;
    let mut client = service.client().await;
    let log = &mut service.process;
    log.wait_for_log("verified", LONG).await.unwrap();
    log.wait_for_log("a drill went well", LONG).await.unwrap();
    // Its catalog knows at once, though no head says so.
    for kind in ["verification", "drill"] {
        let mut tries = 0;
        loop {
            let known = client.verifications(prod()).await.unwrap().into_inner();
            if known.verifications.iter().any(|one| one.kind == kind) {
                break;
            }
            tries += 1;
            assert!(tries < 600, "{kind}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    for kind in [ProofKind::Verification, ProofKind::Drill] {
        let receipts = cluster.receipts(kind, 1).await.unwrap();
        assert!(receipts[0].1.sound, "{receipts:?}");
    }
    let segments = timeline.segments().await.unwrap();
    let file = folder.path().join("vault").join(&segments[0].name);
    std::fs::remove_file(file).unwrap();
    log.wait_for_log("found by a verification", LONG)
        .await
        .unwrap();
    let metrics = async |line: &str| service.get("/metrics").await.1.contains(line);
    let failed = "revkeep_vault_job_runs_total{job=\"verification\",outcome=\"failed\"}";
    for _ in 0..600 {
        if metrics(failed).await && !metrics(&format!("{failed} 0")).await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!metrics(&format!("{failed} 0")).await);
    service.ends_in_order().await;
}

/// A schedule that no test lives to see.
const NEVER: &str = "0 0 29 2 *";

/// The head as an agent writes it, which is believed until names are listed again.
async fn put_head(timeline: &Timeline) {
    let head = Head {
        timeline: timeline.id(),
        base_revision: Revision(100),
        durable_revision: Revision(150),
        source_revision: Revision(150),
        heartbeat_unix_ms: Utc::now().timestamp_millis(),
        ..Head::default()
    };
    timeline.cluster().put_head(&head).await.unwrap();
}

/// Has all that was stored just now have been stored so many days ago.
fn age(folder: &Path, days: u64) {
    let now = std::time::SystemTime::now();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            age(&path, days);
            continue;
        }
        let file = std::fs::File::open(&path).unwrap();
        let stored = file.metadata().unwrap().modified().unwrap();
        if now.duration_since(stored).unwrap_or_default() < Duration::from_secs(86_400) {
            file.set_modified(now - Duration::from_secs(days * 86_400))
                .unwrap();
        }
    }
}

/// What the service itself deletes is known at once, not by the next sync or when all names are listed again.
#[tokio::test]
async fn what_it_deleted_is_not_called_recoverable() {
    let folder = tempfile::tempdir().unwrap();
    let (url, timeline) = vault(folder.path()).await;
    // Bases that were stored together would count as one, of which the first stays.
    age(&folder.path().join("vault"), 50);
    let all = rows(150..151, 50);
    let facts = BaseFacts {
        revision: Revision(150),
        compact_revision: Revision(150),
        ..BaseFacts::default()
    };
    timeline
        .write_base_with(facts, Rows::of(&all), None, SMALL)
        .await
        .unwrap();
    put_head(&timeline).await;
    age(&folder.path().join("vault"), 40);
    let policy = folder.path().join("keep.toml");
    std::fs::write(&policy, "[default]\nwindow = '999d'\n").unwrap();
    let catalog = sqlite(folder.path(), "catalog");
    let often = "* * * * * *";
    let arguments = [
        "--policy",
        policy.to_str().unwrap(),
        "--catalog-schedule",
        NEVER,
        "--retention-schedule",
        often,
    ];
    let mut service = Service::start(folder.path(), "one", &url, &catalog, &arguments).await;
    service.filled().await;
    let mut client = service.client().await;
    let point = async |client: &mut CatalogClient<Channel>| {
        let point = PointRequest {
            scope: Some(prod()),
            revision: 120,
        };
        client.point(point).await.unwrap().into_inner().recoverable
    };
    assert!(point(&mut client).await);
    let rules = "[default]\nwindow = '1d'\ngrace = '0s'\ndaily = 0\nmonthly = 0\nminimum = 1\n";
    std::fs::write(&policy, rules).unwrap();
    service.process.signal("HUP").unwrap();
    service.process.wait_for_log("deleted", LONG).await.unwrap();
    let mut tries = 0;
    while point(&mut client).await {
        tries += 1;
        assert!(tries < 600, "{}", service.process.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let runs = client.retention_runs(prod()).await.unwrap().into_inner();
    assert_eq!(runs.runs[0].state, "swept");
    service.ends_in_order().await;
}
