//! A source that is restored, or made again, behind the same endpoint.

use anyhow::{Context, Result, ensure};
use etcd_client::CompactionOptions;
use revkeep_harness::truth::Truth;
use revkeep_harness::{EtcdVersion, etcd_versions, store};

use crate::world::{Ports, QUICK, World, put};

/// What is done to the source while the agent runs or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// Restored to an older snapshot: it stands below what was captured.
    Older,
    /// The same, and written past what was captured before the agent sees it again: with an agent that runs all the time.
    Past,
    /// The same with an agent that was away.
    PastWhileAway,
    /// The same, and nothing of what was written since is left that could be compared: it was written anew, and compacted.
    CompactedWhileAway,
    /// Wiped, and made again with the same name, token and URLs, so with the same cluster id, and written past.
    Wiped,
    /// Restored to an older revision by Revkeep itself.
    Ours,
    /// Restored with a revision bump that compacts all that was before.
    Bumped,
}

/// The fork that is to be found.
fn expected(case: Case, saved: i64) -> Option<(i64, bool)> {
    match case {
        Case::Older | Case::Past | Case::PastWhileAway | Case::Ours => Some((saved, false)),
        Case::Wiped => Some((0, false)),
        // All that both share is compacted.
        Case::Bumped | Case::CompactedWhileAway => None,
    }
}

async fn replaced(version: &EtcdVersion, case: Case) -> Result<()> {
    let world = World::new()?;
    let ports = Ports::free()?;
    let data = world.path("data");
    let mut etcd = world.member(version, ports, &data, &[]).await?;
    let mut client = etcd.client().await?;
    let mut agent = world.agent("agent", &[ports.client()], &QUICK)?;
    let saved = put(&mut client, "shared", 20).await?;
    let early = Truth::now(&mut client).await?;
    world.durable(1, saved).await?;
    // The store has no tool of its own: its restore is Revkeep's.
    let ours = case == Case::Ours || version.is_store();
    let file = world.save(&etcd, "saved.db").await?;
    put(&mut client, "first", 20).await?;
    let first = Truth::now(&mut client).await?;
    world.durable(1, first.revision).await?;
    let away = matches!(case, Case::PastWhileAway | Case::CompactedWhileAway);
    if away {
        agent.kill()?;
    }
    etcd.stop().await?;
    drop(client);

    let again = match case {
        Case::Wiped => world.path("made-again"),
        Case::Bumped => {
            let bump = ["--bump-revision", "1000", "--mark-compacted"];
            world.etcd_restores(version, ports, &file, &bump).await?
        }
        _ if ours => world.we_restore(version, ports, saved).await?,
        _ => world.etcd_restores(version, ports, &file, &[]).await?,
    };
    // Written past what was captured where the agent does not see it, and then served where it does.
    let past = matches!(case, Case::Past | Case::Wiped);
    if past || away {
        let hidden = ports.elsewhere()?;
        let mut hidden = world.member(version, hidden, &again, &[]).await?;
        let mut client = hidden.client().await?;
        put(&mut client, "second", 60).await?;
        if case == Case::CompactedWhileAway {
            let newest = put(&mut client, "second", 60).await?;
            let physical = CompactionOptions::new().with_physical();
            client.compact(newest, Some(physical)).await?;
        }
        hidden.stop().await?;
    }
    let etcd = world.member(version, ports, &again, &[]).await?;
    let mut client = etcd.client().await?;
    let later = put(&mut client, "third", 5).await?;
    let second = Truth::now(&mut client).await?;
    let agent = if away {
        world.agent("agent", &[ports.client()], &QUICK)?
    } else {
        agent
    };
    let lines = world.durable(2, later).await?;
    agent.stop().await?;

    let [old, new] = &lines[..] else {
        anyhow::bail!("{lines:?}");
    };
    // Nothing of the new history is in the old timeline.
    ensure!(
        old.maximum_recoverable == Some(first.revision),
        "{case:?}: {lines:?}"
    );
    ensure!(new.parent.as_deref() == Some(old.id.as_str()), "{lines:?}");
    match expected(case, saved) {
        Some((fork, at_most)) => ensure!(
            (new.fork_revision, new.fork_at_most) == (Some(fork), at_most),
            "{case:?}: saved at {saved}: {lines:?}"
        ),
        None => ensure!(new.fork_at_most, "{case:?}: {lines:?}"),
    }
    world
        .comes_back(version, Some(old.id.as_str()), &early)
        .await?;
    world
        .comes_back(version, Some(old.id.as_str()), &first)
        .await?;
    world.comes_back(version, None, &second).await?;
    Ok(())
}

/// The releases that a case is tried with: where they differ, and the store in the place of one.
fn versions(case: Case) -> Result<Vec<EtcdVersion>> {
    let mut all = etcd_versions();
    let newest = all.last().cloned();
    match case {
        // The store's log does not tell the second: an entry makes many revisions.
        Case::Older | Case::CompactedWhileAway => {
            all.truncate(1);
            all.extend(newest);
        }
        Case::Past => {
            all.retain(|one| one.series() == (3, 5));
            all.truncate(1);
            all.extend(store()?);
        }
        Case::Wiped => {
            all.truncate(1);
            all.extend(store()?);
        }
        // Revision bumps came with 3.4.27 and 3.5.10.
        Case::Bumped => {
            all.retain(|one| one.numbers() >= (3, 5, 10));
            all.truncate(1);
        }
        Case::PastWhileAway => all.retain(|one| one.series() == (3, 6)),
        Case::Ours => all = newest.into_iter().chain(store()?).collect(),
    }
    Ok(all)
}

async fn all(case: Case) -> Result<()> {
    for version in versions(case)? {
        let run = Box::pin(replaced(&version, case)).await;
        run.with_context(|| format!("{case:?} with etcd {version}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_to_an_older_snapshot_with_the_same_cluster_id() -> Result<()> {
    all(Case::Older).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_and_written_past_what_was_captured_in_the_middle_of_a_watch() -> Result<()> {
    all(Case::Past).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_and_written_past_what_was_captured_while_the_agent_was_away() -> Result<()> {
    all(Case::PastWhileAway).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_and_compacted_past_what_was_captured_while_the_agent_was_away() -> Result<()> {
    all(Case::CompactedWhileAway).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wiped_and_made_again_with_the_same_ids() -> Result<()> {
    all(Case::Wiped).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_by_revkeep() -> Result<()> {
    all(Case::Ours).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_with_a_revision_bump() -> Result<()> {
    all(Case::Bumped).await
}
