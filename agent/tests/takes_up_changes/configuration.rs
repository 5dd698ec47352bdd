//! Flags, variables and a file; and the file again, on SIGHUP.

use std::time::Duration;

use anyhow::{Result, ensure};
use revkeep_harness::{Etcd, base_etcd, binary};
use tokio::process::Command;

use crate::world::{World, is};

/// Runs the agent's binary with variables.
async fn agent(arguments: &[&str], variables: &[(&str, &str)]) -> Result<(i32, String, String)> {
    let output = Command::new(binary("revkeep-agent")?)
        .args(arguments)
        .envs(variables.iter().copied())
        .kill_on_drop(true)
        .output()
        .await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().unwrap_or(-1);
    Ok((code, text(&output.stdout), text(&output.stderr)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_checked_and_what_counts_is_printed() -> Result<()> {
    let world = World::new()?;
    let file = world.text("agent.toml")?;
    std::fs::write(&file, "vault = 'file:///v'\nflush-intervall = '1s'\n")?;
    let (code, out, error) = agent(&["config", "check", &file], &[]).await?;
    ensure!(code == 3 && out.is_empty(), "{code} {out}");
    let wanted =
        format!("{file}:2:1: unknown key \"flush-intervall\"; did you mean flush-interval?");
    ensure!(error.contains(&wanted), "{error}");

    std::fs::write(
        &file,
        "vault = 'file:///v'\nflush-interval = '1s'\ngrace = '2s'\ndial-timeout = '3s'\n",
    )?;
    let (code, out, _) = agent(&["config", "check", &file], &[]).await?;
    ensure!(code == 0 && out.contains("ok, 4 settings"), "{code} {out}");

    let variables = [
        ("REVKEEP_CONFIG", file.as_str()),
        ("REVKEEP_GRACE", "20s"),
        ("REVKEEP_GRACEE", "20s"),
        ("ETCDCTL_DIAL_TIMEOUT", "30s"),
        ("ETCDCTL_USER", "root:hush"),
    ];
    let flags = ["config", "print", "--debug", "--flush-interval", "10s"];
    let (code, out, log) = agent(&flags, &variables).await?;
    ensure!(code == 0, "{log}");
    for line in [
        "vault = \"file:///v\"",
        "flush-interval = \"10s\"",
        "grace = \"20s\"",
        "dial-timeout = \"30s\"",
        "user = \"root:(hidden)\"",
        "flush-bytes = \"8MiB\"",
    ] {
        ensure!(
            out.lines().any(|one| one == line),
            "{line} is not in\n{out}"
        );
    }
    for (setting, from) in [
        ("vault", format!("{file}:1")),
        ("flush-interval", "flag".to_owned()),
        ("grace", "REVKEEP_GRACE".to_owned()),
        ("dial-timeout", "ETCDCTL_DIAL_TIMEOUT".to_owned()),
        ("flush-bytes", "default".to_owned()),
    ] {
        let told = |line: &str| {
            line.contains(&format!("setting=\"{setting}\""))
                && line.contains(&format!("from=\"{from}\""))
        };
        ensure!(
            log.lines().any(told),
            "{setting} is not from {from} in\n{log}"
        );
    }
    ensure!(
        log.contains("REVKEEP_GRACEE is no setting; did you mean REVKEEP_GRACE?"),
        "{log}"
    );
    ensure!(
        !out.contains("hush") && !log.contains("hush"),
        "{out}\n{log}"
    );
    // What is printed is a file that says the same.
    let printed = world.text("printed.toml")?;
    std::fs::write(&printed, &out)?;
    let (code, _, error) = agent(&["config", "check", &printed], &[]).await?;
    // But for the password, which is hidden, it is whole.
    ensure!(code == 0, "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_takes_up_the_file_and_a_wrong_one_changes_nothing() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let world = World::new()?;
    let etcd = Etcd::start(&version).await?;
    let mut client = etcd.client().await?;
    let file = world.text("agent.toml")?;
    std::fs::write(&file, "flush-interval = '1h'\nqueue-bytes = '8MiB'\n")?;
    let mut agent = world.agent(&etcd.endpoints(), &["--config", &file])?;
    agent.until_is("revkeep_watching", 1).await?;
    client.put("key", "value", None).await?;
    agent.until_is("revkeep_lag_revisions", 1).await?;

    std::fs::write(&file, "flush-interval = '100ms'\nflush-bites = '1MiB'\n")?;
    agent.agent.signal("HUP")?;
    agent.agent.wait_for_log("nothing has changed").await?;
    ensure!(
        agent.logged("did you mean flush-bytes?") == 1,
        "{}",
        agent.agent.log()
    );
    tokio::time::sleep(Duration::from_millis(500)).await;
    ensure!(
        agent
            .metric("revkeep_lag_revisions")
            .await
            .is_some_and(|value| is(value, 1)),
        "it was flushed"
    );

    let text = "flush-interval = '100ms'\nqueue-bytes = '9MiB'\nsnapshot-schedule = '* * * * * *'\nlog-level = 'debug'\n";
    std::fs::write(&file, text)?;
    agent.agent.signal("HUP")?;
    agent
        .agent
        .wait_for_log("the configuration was reloaded")
        .await?;
    for line in [
        "a setting has changed setting=\"flush-interval\" from=\"1h\" to=\"100ms\"",
        "a setting has changed setting=\"snapshot-schedule\" from=\"*/30 * * * *\" to=\"* * * * * *\"",
        "a changed setting needs a restart setting=\"queue-bytes\" from=\"8MiB\" to=\"9MiB\"",
    ] {
        ensure!(
            agent.logged(line) == 1,
            "{line} is not in\n{}",
            agent.agent.log()
        );
    }
    agent.until_is("revkeep_lag_revisions", 0).await?;
    agent.keeps(&mut client).await?;
    agent
        .until("revkeep_snapshots_total", |count| count >= 2.0)
        .await?;
    agent.agent.wait_for_log(" DEBUG ").await?;
    agent.agent.stop().await
}
