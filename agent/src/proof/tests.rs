use object_store::memory::InMemory;
use object_store::path::Path;
use revkeep_harness::{Fault, FaultyStore};
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::{FormatError, Row, RowKey, RowSource};
use revkeep_vault::{BaseFacts, SourceIdentity, Vault};

use super::*;

struct NoRows;

impl RowSource for NoRows {
    type Error = FormatError;

    fn next_row(&mut self) -> Result<Option<Row<'_>>, Self::Error> {
        Ok(None)
    }
}

/// A vault with a base at 10.
async fn target(store: Arc<dyn object_store::ObjectStore>) -> Target {
    let vault = Vault::create_with_store(store, Path::from("v"))
        .await
        .unwrap();
    let cluster = vault.cluster(&"prod".parse().unwrap());
    let timeline = cluster
        .create_timeline(SourceIdentity::default(), None)
        .await
        .unwrap();
    let facts = BaseFacts {
        revision: Revision(10),
        compact_revision: Revision(1),
        ..BaseFacts::default()
    };
    timeline.write_base(facts, NoRows, None).await.unwrap();
    Target { cluster, timeline }
}

async fn store_segment(target: &Target, first: i64, last: i64) {
    let mut writer = target.timeline.segment_writer(0, 1);
    let value = KeyValue::default().encode();
    for main in first..=last {
        let key = RowKey {
            main: Revision(main),
            sub: 0,
            tombstone: false,
        };
        let row = Row { key, value: &value };
        writer.push_revision(&[row], 1).unwrap();
    }
    let segment = writer.finish().unwrap();
    target.timeline.put_segment(&segment).await.unwrap();
}

async fn found(target: &Target, durable: i64) -> bool {
    let proof = Proof::wanted();
    assert!(!proof.is_known());
    let basis = Basis {
        base: Revision(10),
        durable: Revision(durable),
    };
    let found = proof.seek(target, basis, &Monitor::default()).await;
    assert_eq!(proof.holds().await, found);
    found
}

#[tokio::test]
async fn what_the_vault_holds_beyond_what_was_remembered_is_found() {
    let target = target(Arc::new(InMemory::new())).await;
    assert!(found(&target, 10).await);
    store_segment(&target, 11, 20).await;
    assert!(found(&target, 20).await);
    assert!(!found(&target, 10).await);
    // Beyond a hole.
    store_segment(&target, 31, 40).await;
    assert!(!found(&target, 20).await);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_decided_before_the_store_answers() {
    let away = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let fails = Arc::clone(&away);
    let judge = move |_, _: &Path| {
        let away = fails.load(std::sync::atomic::Ordering::Relaxed);
        away.then_some(Fault::Refused)
    };
    let store = FaultyStore::new(Arc::new(InMemory::new()), judge);
    let target = target(Arc::new(store)).await;
    away.store(true, std::sync::atomic::Ordering::Relaxed);
    let finding = tokio::spawn(async move { found(&target, 10).await });
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!finding.is_finished());
    away.store(false, std::sync::atomic::Ordering::Relaxed);
    assert!(finding.await.unwrap());
}
