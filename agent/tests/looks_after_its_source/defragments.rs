//! Real clusters whose files are mostly free.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::{CompactionOptions, DeleteOptions};
use revkeep_agent::AgentError;
use revkeep_agent::maintenance::{Keeper, Permit, Scope, Thresholds, Upkeep, look};
use revkeep_agent::source::{Access, Connection, Member};
use revkeep_agent::status::Monitor;
use revkeep_harness::product::{Agent, VaultPlace};
use revkeep_harness::{Etcd, EtcdCluster, base_etcd, etcd_series, free_port, http};

/// How long anything may take on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

fn connection(endpoints: Vec<String>) -> Connection {
    let access = Access {
        dial_timeout: WITHIN,
        command_timeout: Duration::from_secs(5),
        ..Access::default()
    };
    Connection::new(endpoints, access)
}

fn keeper(endpoints: Vec<String>, scope: Scope) -> Keeper {
    let upkeep = Upkeep {
        scope,
        thresholds: Thresholds {
            free_percent: 40,
            free_bytes: 1 << 20,
        },
        timeout: Duration::from_secs(1),
        ..Upkeep::default()
    };
    Keeper {
        connection: connection(endpoints),
        upkeep: upkeep.into(),
        permit: Permit::default(),
        monitor: Arc::new(Monitor::default()),
    }
}

/// Puts 8 MiB and compacts it away.
async fn fragment(client: &mut etcd_client::Client) -> Result<()> {
    for key in 0..64_u8 {
        client.put([b'k', key], vec![key; 128 << 10], None).await?;
    }
    let gone = client
        .delete("k", Some(DeleteOptions::new().with_prefix()))
        .await?;
    let revision = gone.header().context("no header")?.revision();
    let physical = CompactionOptions::new().with_physical();
    client.compact(revision, Some(physical)).await?;
    // Pages that were let go are counted as free with a commit after the next of each member, one every 100 ms.
    for _ in 0..4 {
        client.put("after", "it", None).await?;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(())
}

/// Which members of the cluster wrote in their logs that they were defragmented, by their places.
fn defragmented(cluster: &EtcdCluster) -> Vec<usize> {
    let members = cluster.members.iter().enumerate();
    let done =
        members.filter(|(_, member)| member.log().contains("finished defragmenting directory"));
    done.map(|(place, _)| place).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_after_another_and_the_leader_last() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let mut cluster = Etcd::start_cluster(&version, 3).await?;
    fragment(&mut cluster.client().await?).await?;
    // By their ids: the agent beside the first waits for no other.
    let mut ids = std::collections::BTreeMap::new();
    for member in &cluster.members {
        let endpoint = member.endpoint();
        let (_, identity) = Member::connect(&connection(vec![endpoint.clone()]), &endpoint).await?;
        ids.insert(endpoint, identity.member_id);
    }
    cluster
        .members
        .sort_by_key(|member| ids.get(&member.endpoint()).copied());
    // One endpoint is enough to find the others.
    let one = vec![cluster.members[0].endpoint()];
    let found = look(&connection(one.clone()), &one[0]).await?;
    let leader = found.members.iter().find(|look| {
        let condition = look.condition.as_ref();
        condition.is_some_and(|own| own.leader == own.member_id)
    });
    let leader = leader.context("no leader")?.listed.name.clone();

    // Not while a member is away.
    cluster.members[2].stop().await?;
    let refused = keeper(one.clone(), Scope::Cluster).defragment().await;
    ensure!(
        matches!(&refused, Err(AgentError::Unwell(why)) if why.contains("does not answer")),
        "{refused:?}"
    );
    ensure!(defragmented(&cluster).is_empty());
    cluster.members[2].restart().await?;

    let mut keeper = keeper(one, Scope::Cluster);
    keeper.connection = connection(cluster.endpoints());
    let done = keeper.defragment().await?;
    let names: Vec<_> = done.iter().map(|one| one.name.as_str()).collect();
    ensure!(
        names.len() == 3 && names.iter().all(|name| name.starts_with('m')),
        "{names:?}"
    );
    // A leader may have been elected anew while member 2 was away.
    let now = look(&keeper.connection, &keeper.connection.endpoints[0]).await?;
    let last = now
        .members
        .iter()
        .find(|one| one.listed.name == names[2])
        .context("no member")?;
    let last = last.condition.as_ref().context("no condition")?;
    ensure!(
        last.leader == last.member_id || names[2] == leader,
        "{names:?}, first led by {leader}"
    );
    ensure!(
        done.iter()
            .all(|one| one.after_bytes * 2 < one.before_bytes),
        "{done:?}"
    );
    ensure!(defragmented(&cluster) == [0, 1, 2]);
    // What is not fragmented is left alone.
    ensure!(keeper.defragment().await?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_defragments_the_member_beside_it_by_its_schedule() -> Result<()> {
    let Some(version) = etcd_series(3, 6).or_else(base_etcd) else {
        return Ok(());
    };
    let folder = tempfile::TempDir::with_prefix("revkeep-upkeep-")?;
    let etcd = Etcd::start(&version).await?;
    let (member, _) = Member::connect(&connection(etcd.endpoints()), &etcd.endpoint()).await?;
    fragment(&mut etcd.client().await?).await?;
    let before = member.condition().await?;
    let port = free_port()?;
    let listen = format!("127.0.0.1:{port}");
    let flags = [
        "--defrag-schedule",
        "* * * * * *",
        "--defrag-free-bytes",
        "1MiB",
        "--listen-status",
        &listen,
    ];
    let vault = VaultPlace::folder(&folder.path().join("vault"));
    let mut agent = Agent::start(
        &folder.path().join("agent"),
        &etcd.endpoints(),
        &vault,
        &flags,
    )?;
    agent.wait_for_log("a member is defragmented").await?;
    let after = member.condition().await?;
    ensure!(after.db_bytes * 2 < before.db_bytes, "{before:?} {after:?}");
    let deadline = std::time::Instant::now() + WITHIN;
    loop {
        let metrics = http::request("GET", port, "/metrics").await?.1;
        if metrics.contains("revkeep_defragmented_members_total 1")
            && metrics.contains("revkeep_source_alarms{alarm=\"NOSPACE\"} 0")
            && (version.series() < (3, 6)
                || metrics.contains("revkeep_source_quota_bytes 2147483648"))
        {
            break;
        }
        ensure!(std::time::Instant::now() < deadline, "{metrics}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    agent.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_agents_with_one_schedule_only_the_uploader_defragments_the_cluster()
-> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let folder = tempfile::TempDir::with_prefix("revkeep-upkeep-")?;
    let cluster = Etcd::start_cluster(&version, 3).await?;
    let vault = VaultPlace::folder(&folder.path().join("vault"));
    let flags = [
        "--defrag-schedule",
        "* * * * * *",
        "--defrag-scope",
        "cluster",
        "--defrag-free-bytes",
        "1MiB",
        "--log-level",
        "debug",
        "--listen-status",
        "off",
    ];
    let mut agents = Vec::new();
    for (number, member) in cluster.members.iter().take(2).enumerate() {
        let home = folder.path().join(format!("agent-{number}"));
        let own = member.endpoint();
        let others = cluster.endpoints().into_iter().filter(|one| *one != own);
        let endpoints: Vec<_> = [own.clone()].into_iter().chain(others).collect();
        let mut agent = Agent::start(&home, &endpoints, &vault, &flags)?;
        let whose = ["this agent uploads", "another agent uploads"];
        agent.wait_for_log(whose[number]).await?;
        agents.push(agent);
    }
    fragment(&mut cluster.client().await?).await?;
    let deadline = std::time::Instant::now() + WITHIN;
    let begun = |agent: &Agent| agent.log().matches("defragmenting a member").count();
    while begun(&agents[0]) < 3 || !agents[1].log().contains("another agent looks after") {
        ensure!(
            std::time::Instant::now() < deadline,
            "{}",
            agents[0].log_tail(40)
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    ensure!(begun(&agents[1]) == 0, "{}", agents[1].log_tail(40));
    for member in &cluster.members {
        let times = member
            .log()
            .matches("finished defragmenting directory")
            .count();
        ensure!(times == 1, "{times} times");
    }
    Ok(())
}
