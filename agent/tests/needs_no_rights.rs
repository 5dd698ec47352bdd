//! A user without rights, on a file system that only its state directory can be written to.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use revkeep_harness::product::CLUSTER;
use revkeep_harness::{Etcd, Process, SeaweedFs, base_etcd, binary, free_port};
use tempfile::TempDir;

/// Nobody in particular.
const USER: u32 = 65_534;

/// A command that makes the whole file system read-only but for one directory, in a mount namespace of its own, and then
/// runs the rest of its words as [`USER`]; `None` where this test may not do that.
fn confine(writable: &Path) -> Option<Vec<String>> {
    let script = format!(
        "mount --make-rprivate / && mount --bind {0} {0} && mount -o remount,bind,ro / && exec setpriv --reuid {USER} \
         --regid {USER} --clear-groups --no-new-privs \"$@\"",
        writable.display()
    );
    let words = ["unshare", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned);
    let tried = std::process::Command::new("unshare")
        .args(words.get(1..)?)
        .args(["sh", "-c", "! touch /tmp/revkeep-read-only 2>/dev/null"])
        .output();
    tried.ok().filter(|output| output.status.success())?;
    Some(words.into())
}

/// Where namespaces cannot be had: as [`USER`] if this is root, and as whoever it is otherwise. The temporary directory is
/// none, so that what is written beside the state directory fails.
fn unprivileged() -> Vec<String> {
    let id = std::process::Command::new("id").arg("-u").output();
    let root = id.is_ok_and(|output| output.stdout == b"0\n");
    let user = USER.to_string();
    let words: &[&str] = if root {
        &[
            "setpriv",
            "--reuid",
            &user,
            "--regid",
            &user,
            "--clear-groups",
            "--no-new-privs",
        ]
    } else {
        &["env"]
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_runs_without_rights_and_writes_to_its_state_directory_alone() -> Result<()> {
    let (Some(version), Some(s3)) = (base_etcd(), SeaweedFs::start().await?) else {
        return Ok(());
    };
    let etcd = Etcd::start(&version).await?;
    etcd.client().await?.put("key", "value", None).await?;
    let folder = TempDir::with_prefix("revkeep-confined-")?;
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    let state = folder.path().join("state");
    std::fs::create_dir(&state)?;
    // Only root can give it away.
    let _kept = chown(&state, Some(USER), Some(USER));
    std::fs::set_permissions(&state, Permissions::from_mode(0o700))?;
    // The binary's own folder may be closed to others.
    let agent = folder.path().join("revkeep-agent");
    std::fs::copy(binary("revkeep-agent")?, &agent)?;

    let confined = confine(&state);
    let mut words = confined.unwrap_or_else(|| {
        eprintln!("no mount namespace can be had here: the file system is not made read-only");
        unprivileged()
    });
    let program = words.remove(0);
    let vault = s3.url("confined");
    let (endpoint, listen) = (etcd.endpoint(), format!("127.0.0.1:{}", free_port()?));
    let flags = [
        agent.to_str().context("a path that is not UTF-8")?,
        "run",
        "--endpoints",
        &endpoint,
        "--vault",
        &vault,
        "--cluster",
        CLUSTER,
        "--state-dir",
        state.to_str().context("a path that is not UTF-8")?,
        "--listen-status",
        &listen,
        "--flush-interval",
        "100ms",
    ];
    words.extend(flags.map(str::to_owned));
    let mut environment = s3.credentials().to_vec();
    environment.extend([("TMPDIR", "/nowhere"), ("HOME", "/nowhere")]);
    let log = folder.path().join("agent.log");
    let mut process = Process::spawn(Path::new(&program), words, environment, &log)?;
    process
        .wait_for_log("base is durable", Duration::from_secs(90))
        .await?;
    let owner = std::fs::metadata(format!("/proc/{}", process.pid()))?.uid();
    ensure!(owner != 0 || !is_root(), "it runs as root");
    process.terminate()?;
    let ended = process.wait(Duration::from_secs(30)).await?;
    ensure!(ended.success(), "{ended}: {}", process.log_tail(20));
    ensure!(
        process.log().contains("everything captured is durable"),
        "{}",
        process.log_tail(20)
    );
    let mode = std::fs::metadata(&state)?.permissions().mode() & 0o777;
    ensure!(mode == 0o700, "the state directory has mode {mode:o}");
    Ok(())
}

fn is_root() -> bool {
    unprivileged().first().is_some_and(|word| word == "setpriv")
}
