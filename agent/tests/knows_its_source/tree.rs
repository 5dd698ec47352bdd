//! Several swaps and several agents: one tree.

use anyhow::{Context, Result, ensure};
use revkeep_harness::base_etcd;
use revkeep_harness::product::{CLUSTER, run};
use revkeep_harness::truth::Truth;

use crate::rows::{Held, compare, rows_of_source, timeline};
use crate::world::{Ports, QUICK, World, put};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_that_see_a_swap_together_open_one_timeline_and_info_draws_the_tree() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let world = World::new()?;
    let ports = Ports::free()?;
    let mut etcd = world
        .member(&version, ports, &world.path("data"), &[])
        .await?;
    let mut client = etcd.client().await?;
    let flags = [&QUICK[..], &["--upload", "always"]].concat();
    let endpoint = [ports.client()];
    let agents = [
        world.agent("one", &endpoint, &flags)?,
        world.agent("two", &endpoint, &flags)?,
        world.agent("three", &endpoint, &flags)?,
    ];
    let first = put(&mut client, "first", 20).await?;
    world.durable(1, first).await?;
    let early = world.save(&etcd, "early.db").await?;
    put(&mut client, "more", 20).await?;
    let late = world.save(&etcd, "late.db").await?;
    put(&mut client, "most", 20).await?;
    let truth = Truth::now(&mut client).await?;
    world.durable(1, truth.revision).await?;

    let mut newest = truth.clone();
    for (number, file) in [(2, &early), (3, &late)] {
        etcd.stop().await?;
        let again = world.etcd_restores(&version, ports, file, &[]).await?;
        etcd = world.member(&version, ports, &again, &[]).await?;
        let mut client = etcd.client().await?;
        put(&mut client, "again", 10 * number).await?;
        newest = Truth::now(&mut client).await?;
        world.durable(number, newest.revision).await?;
    }
    for agent in agents {
        agent.stop().await?;
    }
    let lines = world.lines().await?;
    let forks: Vec<_> = lines
        .iter()
        .map(|line| (line.parent.as_deref(), line.fork_revision))
        .collect();
    ensure!(
        forks
            == [
                (None, None),
                (Some("0001"), Some(first)),
                (Some("0001"), Some(first + 20)),
            ],
        "{lines:?}"
    );
    let drawn = run("revkeep", &world.vault, &["info", CLUSTER]).await?;
    let tree = format!(
        "timelines\n0001 to {}\n├─ 0002 from {first} to {}\n└─ 0003 from {} to {}, the newest\n",
        truth.revision,
        lines[1].maximum_recoverable.context("nothing")?,
        first + 20,
        newest.revision
    );
    ensure!(drawn.stdout.contains(&tree), "{}", drawn.stdout);
    // Three agents stored the same, in each of them.
    let last = timeline(&world.vault).await?.context("no timeline")?;
    let (mut held, mut again) = (Held::default(), 0);
    for timeline in last.cluster().timelines().await? {
        held = Held::all(&timeline, &timeline.inventory().await?).await?;
        again += held.again;
    }
    ensure!(again > 0, "the agents never overlapped");
    world.comes_back(&version, Some("0001"), &truth).await?;
    world.comes_back(&version, None, &newest).await?;
    etcd.stop().await?;
    let mut source = rows_of_source(&etcd.db_file())?;
    source.retain(|key, _| key.main.0 <= newest.revision);
    compare(&source, &held.rows)
}
