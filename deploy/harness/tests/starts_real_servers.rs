//! Every installed server starts, serves, stops, comes back with its data, and is gone when dropped.

use anyhow::{Context, Result};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload, path::Path};
use revkeep_harness::{Etcd, EtcdOptions, SeaweedFs, base_etcd, etcd_versions};

#[tokio::test]
async fn every_etcd_keeps_its_data_over_a_restart() -> Result<()> {
    for version in etcd_versions() {
        let mut etcd = Etcd::start(&version)
            .await
            .with_context(|| format!("etcd {version}"))?;
        etcd.client().await?.put("key", "value", None).await?;
        let before = etcd.hash_kv(2).await?;
        etcd.restart().await?;
        assert_eq!(etcd.hash_kv(2).await?, before, "etcd {version}");
        assert_eq!(etcd.revision().await?, 2, "etcd {version}");
        let log = etcd
            .tool()
            .ctl(["get", "key", "--print-value-only"])
            .await?;
        assert_eq!(log.trim(), "value");
    }
    Ok(())
}

#[tokio::test]
async fn etcds_own_tools_restore_a_snapshot_that_boots() -> Result<()> {
    for version in etcd_versions() {
        let folder = tempfile::tempdir()?;
        let (file, data_dir) = (
            folder.path().join("snapshot.db"),
            folder.path().join("data"),
        );
        let etcd = Etcd::start(&version).await?;
        etcd.client().await?.put("key", "value", None).await?;
        let tool = etcd.tool();
        tool.snapshot_save(&file).await?;
        assert_eq!(
            tool.snapshot_status(&file).await?["revision"],
            2,
            "etcd {version}"
        );
        tool.snapshot_restore(&file, &data_dir, &[]).await?;
        let restored = Etcd::start_with(&version, EtcdOptions::booting(&data_dir)).await?;
        assert_eq!(
            restored.hash_kv(2).await?.hash,
            etcd.hash_kv(2).await?.hash,
            "etcd {version}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn three_members_replicate_and_a_killed_one_catches_up() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let mut cluster = Etcd::start_cluster(&version, 3).await?;
    cluster.members[0].kill()?;
    // If that was the leader, the others elect one first; a write in between would time out.
    cluster.members[1].healthy().await?;
    cluster.members[1]
        .client()
        .await?
        .put("key", "value", None)
        .await?;
    cluster.members[0].restart().await?;
    assert_eq!(cluster.members[0].revision().await?, 2);
    assert_eq!(
        cluster.members[0].hash_kv(2).await?,
        cluster.members[2].hash_kv(2).await?
    );
    Ok(())
}

#[tokio::test]
async fn a_dropped_etcd_is_gone_and_leaves_nothing() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let etcd = Etcd::start(&version).await?;
    let (endpoint, data_dir) = (etcd.endpoint(), etcd.data_dir().to_path_buf());
    assert!(data_dir.exists());
    drop(etcd);
    assert!(!data_dir.exists());
    assert!(std::net::TcpStream::connect(endpoint.trim_start_matches("http://")).is_err());
    Ok(())
}

#[tokio::test]
async fn a_member_that_cannot_start_says_why() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let options = EtcdOptions::default().flag("--no-such-flag");
    let error = Etcd::start_with(&version, options)
        .await
        .expect_err("etcd refuses the flag");
    assert!(error.to_string().contains("no-such-flag"), "{error}");
    Ok(())
}

#[tokio::test]
async fn seaweedfs_honours_create_if_absent() -> Result<()> {
    let Some(server) = SeaweedFs::start().await? else {
        return Ok(());
    };
    let store = server.object_store()?;
    let path = Path::from("prefix/object");
    store
        .put_opts(
            &path,
            PutPayload::from_static(b"first"),
            PutMode::Create.into(),
        )
        .await?;
    let again = store.put_opts(
        &path,
        PutPayload::from_static(b"second"),
        PutMode::Create.into(),
    );
    let error = again.await.expect_err("the object exists");
    assert!(
        matches!(error, object_store::Error::AlreadyExists { .. }),
        "{error}"
    );
    assert_eq!(store.get(&path).await?.bytes().await?, "first");
    Ok(())
}
