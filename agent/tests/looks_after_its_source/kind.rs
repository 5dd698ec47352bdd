//! What the source is asked for, and how much is taken of it at once.

use std::time::Duration;

use anyhow::{Result, ensure};
use revkeep_agent::source::{Access, Connection, Member};
use revkeep_harness::product::{Agent, CLUSTER, VaultPlace, run};
use revkeep_harness::{Etcd, EtcdOptions, base_etcd};
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hash_is_asked_of_a_follower_or_of_nobody() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let folder = TempDir::with_prefix("revkeep-kind-")?;
    let vault = VaultPlace::folder(&folder.path().join("vault"));
    let mut cluster = Etcd::start_cluster(&version, 3).await?;
    cluster.client().await?.put("key", "value", None).await?;
    // The leader first: the snapshot is then its own.
    for place in 0..cluster.members.len() {
        let endpoint = cluster.members[place].endpoint();
        let connection = Connection::new(vec![endpoint.clone()], Access::default());
        let condition = Member::connect(&connection, &endpoint)
            .await?
            .0
            .condition()
            .await?;
        if condition.leader == condition.member_id {
            cluster.members.swap(0, place);
            break;
        }
    }
    let all = cluster.endpoints().join(",");
    for (policy, told) in [("auto", true), ("always", true), ("never", false)] {
        let flags = [
            "snapshot",
            "-w",
            "json",
            "--endpoints",
            &all,
            "--cluster",
            CLUSTER,
        ];
        let flags = [
            &flags[..],
            &[
                "--hashkv",
                policy,
                "--log-level",
                "debug",
                "--dial-timeout",
                "20s",
            ],
        ]
        .concat();
        let answer = run("revkeep-agent", &vault, &flags).await?;
        let base = answer.json()?;
        ensure!(base["hash_kv"].is_number() == told, "{policy}: {base}");
        let by_follower = answer.stderr.contains("a follower was asked for the hash");
        ensure!(
            by_follower == (policy == "auto"),
            "{policy}: {}",
            answer.stderr
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_large_becomes_a_base() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let folder = TempDir::with_prefix("revkeep-kind-")?;
    let vault = VaultPlace::folder(&folder.path().join("vault"));
    let options = EtcdOptions::default().flag("--max-request-bytes=33554432");
    let etcd = Etcd::start_with(&version, options).await?;
    let flags = [
        "--max-decoding",
        "8MiB",
        "--flush-interval",
        "100ms",
        "--listen-status",
        "off",
    ];
    let mut agent = Agent::start(
        &folder.path().join("agent"),
        &etcd.endpoints(),
        &vault,
        &flags,
    )?;
    agent.wait_for_log("base is durable").await?;
    etcd.client()
        .await?
        .put("large", vec![7; 12 << 20], None)
        .await?;
    agent
        .wait_for_log("larger than --max-decoding, 8388608 bytes: a base takes its place")
        .await?;
    let deadline = std::time::Instant::now() + Duration::from_secs(90);
    while agent.log().matches("base is durable").count() < 2 {
        ensure!(std::time::Instant::now() < deadline, "{}", agent.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    agent.stop().await
}
