//! The live cluster, what its keys were once, and the command.

use std::convert::Infallible;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result};
use etcd_client::{Client, GetOptions, Txn, TxnOp};
use revkeep_harness::{Etcd, EtcdVersion, base_etcd, store};
use revkeep_restore::past::Version;
use revkeep_schemas::kv::KeyValue;
use revkeep_schemas::{Revision, Row, RowKey, RowSource};
use revkeep_vault::{BaseFacts, ClusterName, SourceIdentity, Vault};
use serde_json::Value as Json;
use tokio::sync::watch;

pub(super) const PREFIX: &str = "/registry/pods/shop/";
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn servers() -> Result<Vec<EtcdVersion>> {
    Ok(store()?.into_iter().chain(base_etcd()).collect())
}

pub(super) fn key(n: usize) -> String {
    format!("{PREFIX}pod-{n:05}")
}

/// What the keys were once.
pub(super) fn was(keys: usize) -> Vec<Version> {
    let version = |n: usize| Version {
        key: key(n).into_bytes(),
        at: RowKey {
            main: Revision(5),
            sub: 0,
            tombstone: false,
        },
        create_revision: 5,
        version: 1,
        lease: 0,
        value: format!("was {n}").into_bytes().into(),
    };
    (0..keys).map(version).collect()
}

pub(super) async fn put_all(client: &Client, keys: usize, value: &str) -> Result<()> {
    for batch in (0..keys).collect::<Vec<_>>().chunks(100) {
        let puts: Vec<_> = batch
            .iter()
            .map(|n| TxnOp::put(key(*n), value, None))
            .collect();
        client.kv_client().txn(Txn::new().and_then(puts)).await?;
    }
    Ok(())
}

pub(super) fn not_cancelled() -> watch::Receiver<bool> {
    watch::channel(false).1
}

pub(super) struct Rows(i64, Vec<u8>);

impl RowSource for Rows {
    type Error = Infallible;

    /// Three keys at revisions 2 to 4, the last one with a lease.
    fn next_row(&mut self) -> Result<Option<Row<'_>>, Infallible> {
        if self.0 > 4 {
            return Ok(None);
        }
        let main = self.0;
        self.0 += 1;
        let (key, value) = (
            key(usize::try_from(main - 2).unwrap()),
            format!("was {}", main - 2),
        );
        self.1 = KeyValue {
            key: key.as_bytes(),
            create_revision: main,
            mod_revision: main,
            version: 1,
            value: value.as_bytes(),
            lease: if main == 4 { 77 } else { 0 },
        }
        .encode();
        let key = RowKey {
            main: Revision(main),
            sub: 0,
            tombstone: false,
        };
        Ok(Some(Row {
            key,
            value: &self.1,
        }))
    }
}

pub(super) async fn vault(place: &Path) {
    let vault = Vault::create(&format!("file://{}/vault", place.display()))
        .await
        .unwrap();
    let cluster = vault.cluster(&ClusterName::new("prod").unwrap());
    let timeline = cluster
        .create_timeline(SourceIdentity::default(), None)
        .await
        .unwrap();
    let facts = BaseFacts {
        revision: Revision(4),
        etcd_version: "3.5.35".to_owned(),
        ..BaseFacts::default()
    };
    timeline
        .write_base(facts, Rows(2, Vec::new()), None)
        .await
        .unwrap();
}

pub(super) fn restore(place: &Path, endpoint: &str, flags: &[&str]) -> Output {
    restore_at(place, endpoint, &["--latest"], flags)
}

pub(super) fn restore_at(place: &Path, endpoint: &str, point: &[&str], flags: &[&str]) -> Output {
    let all = [
        "restore", "prod", "-w", "json", "--prefix", PREFIX, "--into", endpoint,
    ];
    Command::new(env!("CARGO_BIN_EXE_revkeep"))
        .args(all)
        .args(point)
        .args(flags)
        .env("REVKEEP_VAULT", format!("file://{}/vault", place.display()))
        .current_dir(place)
        .output()
        .unwrap()
}

pub(super) fn json(output: &Output) -> Json {
    assert!(matches!(output.status.code(), Some(0 | 16)), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(super) async fn values(client: &Client) -> Vec<(String, String, i64)> {
    let options = GetOptions::new().with_prefix();
    let answer = client.kv_client().get(PREFIX, Some(options)).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    answer
        .kvs()
        .iter()
        .map(|kv| (text(kv.key()), text(kv.value()), kv.lease()))
        .collect()
}

/// A live cluster that differs from the vault in `place` by two keys.
pub(super) async fn differing(place: &Path) -> Result<(Etcd, Client)> {
    vault(place).await;
    let version = store()?
        .or_else(base_etcd)
        .context("no server is installed")?;
    let server = Etcd::start(&version).await?;
    let client = server.client().await?;
    put_all(&client, 2, "now").await?;
    Ok((server, client))
}

pub(super) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
