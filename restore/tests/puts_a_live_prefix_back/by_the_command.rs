//! `revkeep restore --into`: what it tells before and after, and what it refuses.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use revkeep_harness::{Etcd, EtcdOptions, base_etcd, store};
use serde_json::Value as Json;

use super::cluster::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_plans_first_and_carries_a_plan_out() -> Result<()> {
    let place = tempfile::tempdir()?;
    let place = place.path();
    vault(place).await;
    let version = store()?
        .or_else(base_etcd)
        .context("no server is installed")?;
    let server = Etcd::start(&version).await?;
    let client = server.client().await?;
    let endpoint = server.endpoint();
    put_all(&client, 2, "now").await?;
    let mut kv = client.kv_client();
    kv.put(format!("{PREFIX}extra"), "x", None).await?;
    kv.put("/elsewhere", "x", None).await?;
    kv.put(key(0), "was 0", None).await?;
    let before = server.revision().await?;

    let plan = json(&restore(place, &endpoint, &[]));
    for (name, expected) in [
        ("/put", 2),
        ("/delete", 0),
        ("/unchanged", 1),
        ("/extra", 1),
        ("/revision", 4),
    ] {
        ensure!(
            plan.pointer(name) == Some(&expected.into()),
            "{name}: {plan}"
        );
    }
    ensure!(server.revision().await? == before, "a plan changes nothing");

    // Between the plan and the deed somebody else writes a key.
    let flags = ["--plan-file", "plan", "--delete-extra"];
    json(&restore(place, &endpoint, &flags));
    kv.put(key(1), "mine", None).await?;
    let output = restore(place, &endpoint, &[&flags[..], &["--apply"]].concat());
    ensure!(output.status.code() == Some(16), "{output:?}");
    let applied = json(&output);
    for (name, expected) in [
        ("/applied/put", 1),
        ("/applied/deleted", 1),
        ("/applied/leases_granted", 1),
    ] {
        ensure!(
            applied.pointer(name) == Some(&expected.into()),
            "{name}: {applied}"
        );
    }
    ensure!(
        applied
            .pointer("/applied/conflicts/0/planned_mod_revision")
            .is_some(),
        "{applied}"
    );
    let expected = |one: &str| {
        let line = |n: usize, value: &str, lease| (key(n), value.to_owned(), lease);
        vec![line(0, "was 0", 0), line(1, one, 0), line(2, "was 2", 77)]
    };
    ensure!(values(&client).await == expected("mine"));
    // The same plan again does only what is left of it, and that is still not its to do.
    let again = json(&restore(
        place,
        &endpoint,
        &[&flags[..], &["--apply"]].concat(),
    ));
    ensure!(again.pointer("/done_before") == Some(&2.into()), "{again}");
    ensure!(again.pointer("/applied/put") == Some(&0.into()), "{again}");
    // A new plan sees what is there now.
    let output = restore(place, &endpoint, &["--apply"]);
    ensure!(output.status.code() == Some(0), "{output:?}");
    ensure!(values(&client).await == expected("was 1"));
    ensure!(kv.get("/elsewhere", None).await?.kvs().len() == 1);
    // Leases may go.
    let dropped = json(&restore(place, &endpoint, &["--apply", "--leases", "drop"]));
    ensure!(
        dropped.pointer("/applied/put") == Some(&1.into()),
        "{dropped}"
    );
    ensure!(values(&client).await.last().is_some_and(|last| last.2 == 0));
    let nobody = restore(place, "http://127.0.0.1:1", &[]);
    ensure!(nobody.status.code() == Some(2), "{nobody:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_never_writes() -> Result<()> {
    let place = tempfile::tempdir()?;
    let place = place.path();
    let (server, _client) = differing(place).await?;
    let (endpoint, before) = (server.endpoint(), server.revision().await?);
    let both = restore(place, &endpoint, &["--apply", "--dry-run"]);
    ensure!(both.status.code() == Some(3), "{both:?}");
    let plan = restore(place, &endpoint, &["--dry-run", "--plan-file", "plan"]);
    ensure!(json(&plan).pointer("/put") == Some(&3.into()), "{plan:?}");
    ensure!(!place.join("plan").exists());
    ensure!(
        server.revision().await? == before,
        "a dry run changed something"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_looked_at_is_what_is_applied() -> Result<()> {
    let place = tempfile::tempdir()?;
    let place = place.path();
    let (server, mut client) = differing(place).await?;
    let (endpoint, before) = (server.endpoint(), server.revision().await?);
    let plan = json(&restore(
        place,
        &endpoint,
        &["--delete-extra", "--leases", "detach"],
    ));
    let command = plan
        .pointer("/next")
        .and_then(Json::as_str)
        .context("no command")?;
    for part in [
        "--timeline 0001 --to-revision 4 ",
        "--delete-extra",
        "--leases detach",
    ] {
        ensure!(command.contains(part), "{part}: {command}");
    }
    ensure!(command.ends_with(" --apply"), "{command}");

    // A plan in a file is of one revision, timeline and live cluster.
    let file = ["--plan-file", "plan"];
    json(&restore(place, &endpoint, &file));
    let apply = [&file[..], &["--apply"]].concat();
    for (point, what) in [
        (&["--to-revision", "3"][..], "revision"),
        (&["--latest", "--timeline", "2"], "timeline"),
    ] {
        let refused = restore_at(place, &endpoint, point, &apply);
        ensure!(refused.status.code() == Some(3), "{refused:?}");
        ensure!(
            stderr(&refused).contains(&format!("of another {what}:")),
            "{refused:?}"
        );
    }
    let other = Etcd::start_with(server.version(), EtcdOptions::default()).await?;
    put_all(&other.client().await?, 2, "now").await?;
    let begin = other.revision().await?;
    let members = client.member_list().await?;
    let ours = members.header().context("a header")?.cluster_id();
    let members = other.client().await?.member_list().await?;
    ensure!(members.header().context("a header")?.cluster_id() != ours);
    let refused = restore(place, &other.endpoint(), &apply);
    ensure!(refused.status.code() == Some(16), "{refused:?}");
    ensure!(stderr(&refused).contains("live cluster"), "{refused:?}");
    ensure!(
        other.revision().await? == begin,
        "another cluster was changed"
    );
    // A name that was mistyped is no wish for a plan that nobody has seen.
    let absent = restore(place, &endpoint, &["--plan-file", "plam", "--apply"]);
    ensure!(
        absent.status.code() == Some(3) && !place.join("plam").exists(),
        "{absent:?}"
    );
    ensure!(
        server.revision().await? == before,
        "a refusal changed something"
    );

    // The command that was told does it.
    let folder = Path::new(env!("CARGO_BIN_EXE_revkeep"))
        .parent()
        .context("a folder")?;
    let path = format!("{}:{}", folder.display(), std::env::var("PATH")?);
    let ran = Command::new("sh")
        .args(["-c", command])
        .env("PATH", path)
        .current_dir(place)
        .output()?;
    ensure!(ran.status.success(), "{ran:?}");
    let value = |n| (key(n), format!("was {n}"), 0);
    ensure!(values(&client).await == [value(0), value(1), value(2)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_somebody_holds_keeps_its_lease() -> Result<()> {
    let place = tempfile::tempdir()?;
    let place = place.path();
    let (server, mut client) = differing(place).await?;
    let endpoint = server.endpoint();
    let plan = json(&restore(place, &endpoint, &[]));
    let nobody = plan.pointer("/leases_nobody_holds").context("no leases")?;
    let expected = serde_json::json!([{"id": 77, "ttl_seconds": 3600, "made_up": true, "keys": 1}]);
    ensure!(*nobody == expected, "{plan}");
    let table = Command::new(env!("CARGO_BIN_EXE_revkeep"))
        .args([
            "restore", "prod", "--latest", "--prefix", PREFIX, "--into", &endpoint,
        ])
        .env("REVKEEP_VAULT", format!("file://{}/vault", place.display()))
        .output()?;
    let table = String::from_utf8(table.stdout)?;
    ensure!(
        table.contains("1 keys get one of 1 leases that have ended"),
        "{table}"
    );
    ensure!(table.contains("and they get 3600 s"), "{table}");

    // Its owner is back, under another lease, which it keeps alive.
    let lease = client.lease_grant(600, None).await?.id();
    let options = etcd_client::PutOptions::new().with_lease(lease);
    client.put(key(2), "was 2", Some(options)).await?;
    let applied = json(&restore(place, &endpoint, &["--apply"]));
    for (name, expected) in [
        ("/unchanged", 1),
        ("/applied/put", 2),
        ("/applied/leases_granted", 0),
    ] {
        ensure!(
            applied.pointer(name) == Some(&expected.into()),
            "{name}: {applied}"
        );
    }
    ensure!(values(&client).await.last() == Some(&(key(2), "was 2".to_owned(), lease)));
    Ok(())
}
