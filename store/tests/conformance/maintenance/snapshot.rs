//! The whole database in one stream.

use crate::suite::*;
use revkeep_schemas::etcd_api::etcdserverpb::maintenance_client::MaintenanceClient;
use sha2::Digest as _;

pub(crate) fn group() -> Group {
    group!(
        "maintenance::snapshot",
        [
            the_stream_ends_with_its_hash,
            etcdutl_reads_it,
            etcdutl_restores_it,
            it_holds_one_revision_under_writes,
            leases_are_in_it,
        ]
    )
}

/// The bytes of a snapshot, and how many were said to be left after each piece.
async fn stream(case: &Case) -> Result<(Vec<u8>, Vec<u64>)> {
    let mut client = MaintenanceClient::with_interceptor(case.channel.clone(), case.with.clone());
    let mut pieces = client.snapshot(SnapshotRequest {}).await?.into_inner();
    let (mut file, mut left) = (Vec::new(), Vec::new());
    while let Some(piece) = pieces.message().await? {
        file.extend_from_slice(&piece.blob);
        left.push(piece.remaining_bytes);
    }
    Ok((file, left))
}

async fn the_stream_ends_with_its_hash(case: &mut Case) -> Result<()> {
    for n in 0..50 {
        case.put(put(format!("k{n}"), vec![b'v'; 5000])).await?;
    }
    let (file, left) = stream(case).await?;
    assert_eq!(file.len() % 512, 32);
    let (database, trailer) = file.split_at(file.len() - 32);
    assert_eq!(sha2::Sha256::digest(database)[..], *trailer);
    assert_eq!(left.last(), Some(&0));
    let first = *left.first().context("no piece")?;
    assert!(first > 0 && first < database.len() as u64);
    assert!(left.is_sorted_by(|a, b| a >= b));
    Ok(())
}

async fn etcdutl_reads_it(case: &mut Case) -> Result<()> {
    for n in 0..20 {
        case.put(put(format!("k{n}"), "v")).await?;
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("snapshot.db");
    case.tool()?.snapshot_save(&file).await?;
    let status = case.tool()?.snapshot_status(&file).await?;
    assert_eq!(status["revision"], case.start + 20);
    Ok(())
}

/// A snapshot, restored by etcd's own tool and booted by a real etcd.
async fn restored(case: &Case) -> Result<revkeep_harness::Etcd> {
    let folder = tempfile::tempdir()?;
    let (file, data_dir) = (
        folder.path().join("snapshot.db"),
        folder.path().join("data"),
    );
    case.tool()?.snapshot_save(&file).await?;
    case.tool()?.snapshot_restore(&file, &data_dir, &[]).await?;
    let etcd = revkeep_harness::etcd_series(3, 5).context("no etcd 3.5")?;
    let options = revkeep_harness::EtcdOptions::booting(&data_dir);
    let mut etcd = revkeep_harness::Etcd::start_with(&etcd, options).await?;
    etcd.keep(folder);
    Ok(etcd)
}

async fn etcdutl_restores_it(case: &mut Case) -> Result<()> {
    for n in 0..20 {
        case.put(put(format!("k{}", n % 7), n.to_string())).await?;
    }
    case.delete_range(delete("k3")).await?;
    let at = case.start + 21;
    let etcd = restored(case).await?;
    assert_eq!(etcd.revision().await?, at);
    let expected = case.hash_kv(HashKvRequest { revision: at }).await?;
    assert_eq!(etcd.hash_kv(at).await?.hash, expected.hash);
    Ok(())
}

async fn it_holds_one_revision_under_writes(case: &mut Case) -> Result<()> {
    for n in 0..20 {
        case.put(put(format!("k{n}"), vec![b'v'; 50_000])).await?;
    }
    let writer = case.clone();
    let writing = async {
        for n in 0..200 {
            // Both or neither are in the snapshot.
            let both = txn([put("x", n.to_string()).op(), put("y", n.to_string()).op()]);
            writer.txn(both).await?;
        }
        anyhow::Ok(())
    };
    let (etcd, ()) = tokio::try_join!(restored(case), writing)?;
    let at = etcd.revision().await?;
    assert!(at <= case.start + 220);
    let expected = case.hash_kv(HashKvRequest { revision: at }).await?;
    assert_eq!(etcd.hash_kv(at).await?.hash, expected.hash);
    Ok(())
}

async fn leases_are_in_it(case: &mut Case) -> Result<()> {
    let grant = LeaseGrantRequest { ttl: 777, id: 4242 };
    let lease = case.lease_grant(grant).await?.id;
    case.put(PutRequest {
        lease,
        ..put("k", "")
    })
    .await?;
    let etcd = restored(case).await?;
    let options = etcd_client::LeaseTimeToLiveOptions::new().with_keys();
    let answer = etcd
        .client()
        .await?
        .lease_time_to_live(lease, Some(options))
        .await?;
    assert_eq!(
        (answer.granted_ttl(), answer.keys()),
        (777, &[b"k".to_vec()][..])
    );
    Ok(())
}
