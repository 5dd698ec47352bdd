//! What `revkeep get --at` says of a revision is what etcd itself says of it, for every revision that it still has.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use etcd_client::{GetOptions, KvClient};
use revkeep_harness::etcd_versions;
use revkeep_harness::exact::{Captured, points, seed};
use revkeep_harness::product::{CLUSTER, run};
use revkeep_restore::past::{Selection, View};
use revkeep_restore::plan::Target;
use revkeep_restore::source::{Source, open_cluster};
use revkeep_schemas::Revision;

/// Revisions at which the source is asked between two compactions; see `REVKEEP_POINTS`.
const POINTS: usize = 12;
/// Every so many revisions the command itself is asked too.
const COMMAND_EVERY: i64 = 23;

/// Key to (create revision, mod revision, version, lease, value).
type Keys = BTreeMap<Vec<u8>, (i64, i64, i64, i64, Vec<u8>)>;

/// All keys by etcd; `None` where it has compacted the revision.
async fn by_etcd(client: &mut KvClient, revision: i64) -> Result<Option<Keys>> {
    let options = GetOptions::new().with_all_keys().with_revision(revision);
    let answer = match client.get("", Some(options)).await {
        Ok(answer) => answer,
        Err(error) if error.to_string().contains("compacted") => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let keys = answer.kvs().iter().map(|kv| {
        let facts = (
            kv.create_revision(),
            kv.mod_revision(),
            kv.version(),
            kv.lease(),
        );
        let (created, modified, version, lease) = facts;
        (
            kv.key().to_vec(),
            (created, modified, version, lease, kv.value().to_vec()),
        )
    });
    Ok(Some(keys.collect()))
}

async fn by_revkeep(source: &Source, revision: i64) -> Result<Keys> {
    let view = View::at(source, Target::Revision(Revision(revision)))?;
    let found = view.get(&Selection::Prefix(Vec::new()), true).await?;
    let keys = found.into_iter().map(|found| {
        let facts = (
            found.create_revision,
            found.at.main.0,
            found.version,
            found.lease,
        );
        let (created, modified, version, lease) = facts;
        (
            found.key,
            (created, modified, version, lease, found.value.to_vec()),
        )
    });
    Ok(keys.collect())
}

/// The mod revisions that the command tells, in the order of the keys.
async fn by_command(captured: &Captured, revision: i64) -> Result<Vec<i64>> {
    let revision = revision.to_string();
    let arguments = [
        "get",
        "--cluster",
        CLUSTER,
        "--prefix",
        "",
        "--at",
        &revision,
        "-w",
        "json",
    ];
    let answer = run("revkeep", &captured.vault, &arguments).await?;
    ensure!(
        answer.code == 0,
        "get ended with {}:\n{}",
        answer.code,
        answer.stderr
    );
    let answer = answer.json()?;
    let keys = answer
        .pointer("/kvs")
        .and_then(|kvs| kvs.as_array())
        .context("kvs")?;
    let revisions = keys.iter().map(|kv| kv.pointer("/mod_revision")?.as_i64());
    revisions.collect::<Option<_>>().context("mod revisions")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_revision_that_etcd_has_reads_the_same() -> Result<()> {
    let versions = etcd_versions();
    let Some(version) = versions.last() else {
        return Ok(());
    };
    let mut captured = Captured::from(version, None, seed(), points(POINTS), 1).await?;
    captured.vault.environment.push(("REVKEEP_CACHE_DIR", ""));
    // All keys in one answer can be more than the 4 MiB that a client takes by default.
    let client = captured.server.client().await?.kv_client();
    let mut client = client.max_decoding_message_size(usize::MAX);
    let cluster = open_cluster(&captured.vault.url, CLUSTER).await?;
    let source = Source::open(&cluster, None).await?;
    let newest = captured.points.last().context("a point")?.revision;
    let (mut compared, mut told) = (0, 0);
    for revision in 2..=newest {
        let Some(expected) = by_etcd(&mut client, revision).await? else {
            continue;
        };
        let found = by_revkeep(&source, revision).await?;
        ensure!(found == expected, "revision {revision} differs");
        compared += 1;
        if revision % COMMAND_EVERY == 0 || revision == newest {
            let modified: Vec<_> = expected.values().map(|key| key.1).collect();
            ensure!(
                by_command(&captured, revision).await? == modified,
                "revision {revision}"
            );
            told += 1;
        }
    }
    ensure!(
        compared > 0 && told > 0,
        "{compared} revisions compared, {told} by the command"
    );
    eprintln!("etcd {version}: {compared} revisions read the same, {told} of them by the command");
    Ok(())
}
