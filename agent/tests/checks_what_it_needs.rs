//! `revkeep-agent check` says what is wrong before anybody relies on it, and changes nothing on etcd.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, ConnectOptions, Permission, PermissionType};
use revkeep_harness::product::{Agent, CLUSTER, VaultPlace, run};
use revkeep_harness::{
    Certificates, Etcd, EtcdOptions, EtcdVersion, SeaweedFs, base_etcd, etcd_versions,
};
use serde_json::Value;
use tempfile::TempDir;

/// What a check found.
#[derive(Debug)]
struct Checked {
    code: i32,
    findings: Vec<Value>,
}

impl Checked {
    /// Whether a finding of this verdict about this has the text in it, or in what to do.
    fn has(&self, verdict: &str, about: &str, text: &str) -> bool {
        self.findings.iter().any(|one| {
            one["verdict"] == verdict && one["about"] == about && {
                let of = |key: &str| one[key].as_str().is_some_and(|found| found.contains(text));
                of("found") || of("do")
            }
        })
    }

    fn failed(&self) -> Vec<&Value> {
        self.findings
            .iter()
            .filter(|one| one["verdict"] == "fail")
            .collect()
    }
}

async fn check(
    vault: &VaultPlace,
    endpoint: &str,
    state: &Path,
    flags: &[&str],
) -> Result<Checked> {
    let state = state.to_str().context("a path that is not UTF-8")?;
    let arguments = [
        "check",
        "-w",
        "json",
        "--endpoints",
        endpoint,
        "--cluster",
        CLUSTER,
        "--state-dir",
        state,
    ];
    let flags = [&arguments[..], &["--dial-timeout", "20s"], flags].concat();
    let answer = run("revkeep-agent", vault, &flags).await?;
    let report: Value = serde_json::from_str(&answer.stdout)
        .with_context(|| format!("{}{}", answer.stdout, answer.stderr))?;
    let findings = report
        .get("findings")
        .and_then(Value::as_array)
        .context("no findings")?
        .clone();
    Ok(Checked {
        code: answer.code,
        findings,
    })
}

/// A folder with a private state directory.
fn folder() -> Result<TempDir> {
    let folder = TempDir::with_prefix("revkeep-check-")?;
    let state = folder.path().join("state");
    std::fs::create_dir(&state)?;
    std::fs::set_permissions(&state, Permissions::from_mode(0o700))?;
    Ok(folder)
}

/// Users `root` and `reader`, each with its name for a password, of which the second may read everything.
async fn guard(client: &mut Client) -> Result<()> {
    client.user_add("root", "root", None).await?;
    client.user_grant_role("root", "root").await?;
    client.user_add("reader", "reader", None).await?;
    client.role_add("reader").await?;
    let everything = Permission::new(PermissionType::Read, "\0").with_from_key();
    client.role_grant_permission("reader", everything).await?;
    client.user_grant_role("reader", "reader").await?;
    client.auth_enable().await?;
    Ok(())
}

/// A source with TLS and users, of one release.
async fn release(version: EtcdVersion) -> Result<()> {
    let folder = folder()?;
    let state = folder.path().join("state");
    let vault = VaultPlace::folder(&folder.path().join("vault"));
    let certificates = Certificates::make_until(&folder.path().join("certificates"), 2050)?;
    let file = |name: &str| certificates.file(name).display().to_string();
    let (ca, cert, key) = (file("ca.crt"), file("client.crt"), file("client.key"));
    let options = EtcdOptions {
        tls: Some(certificates.clone()),
        ..EtcdOptions::default()
    };
    let etcd = Etcd::start_with(&version, options).await?;
    guard(&mut etcd.client().await?).await?;
    let mut client = etcd
        .client_with(ConnectOptions::new().with_user("root", "root"))
        .await?;
    let put = client.put("key", "value", None).await?;
    let before = put.header().context("no header")?.revision();
    let endpoint = etcd.endpoint();
    let tls = ["--cacert", &ca, "--cert", &cert, "--key", &key];
    let flags = |user: &'static str| [&tls[..], &["--user", user]].concat();

    let good = check(&vault, &endpoint, &state, &flags("root:root")).await?;
    ensure!(good.code == 0 && good.failed().is_empty(), "{good:#?}");
    let all = "as root it may: watch, leases, members, alarms, snapshot, hashkv";
    for (about, text) in [
        ("endpoint", "etcd "),
        ("tls", "speaks TLS 1."),
        (
            "certificates",
            "(for test server, 127.0.0.1) is valid until 2050-01-01",
        ),
        ("certificates", "client.crt"),
        ("read", "the source stands at revision 2"),
        ("permission", all),
        ("members", "1 answer, 1 of them vote; default leads"),
        ("history", "nothing is compacted yet"),
        ("lineage", "nothing of test is in the vault yet"),
        ("vault", "create if absent"),
        ("clock", "as the object store's"),
        ("state-dir", "writable and private"),
    ] {
        ensure!(
            good.has("ok", about, text),
            "{about}: {text} is not in {good:#?}"
        );
    }
    ensure!(good.has("warn", "vault", "the same disk"), "{good:#?}");

    let reader = check(&vault, &endpoint, &state, &flags("reader:reader")).await?;
    ensure!(reader.code == 2, "{reader:#?}");
    ensure!(
        reader.has("ok", "permission", "watch, leases, members, alarms"),
        "{reader:#?}"
    );
    ensure!(
        reader.has("fail", "permission", "user grant-role reader root"),
        "{reader:#?}"
    );
    ensure!(reader.failed().len() == 2, "{reader:#?}");

    let wrong = check(&vault, &endpoint, &state, &flags("root:guessed")).await?;
    ensure!(
        wrong.code == 2
            && wrong.has(
                "fail",
                "endpoint",
                "check the name and the password of root"
            ),
        "{wrong:#?}"
    );
    ensure!(!format!("{wrong:?}").contains("guessed"), "{wrong:#?}");

    let nobody = check(&vault, &endpoint, &state, &tls).await?;
    // Where etcd takes the certificate's common name for a user, that is nobody here.
    let refused = ["give --user", "grant-permission"];
    ensure!(
        nobody.code == 2
            && refused
                .iter()
                .any(|advice| nobody.has("fail", "read", advice)),
        "{nobody:#?}"
    );
    ensure!(!nobody.has("ok", "permission", "hashkv"), "{nobody:#?}");

    let after = client.get("key", None).await?;
    ensure!(
        after.header().context("no header")?.revision() == before,
        "the source has changed"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_release_is_checked_with_certificates_and_users() -> Result<()> {
    let all = etcd_versions().into_iter().map(|version| async {
        let name = version.to_string();
        let outcome = Box::pin(release(version)).await;
        outcome.map_err(|error| error.context(name))
    });
    futures::future::try_join_all(all).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_found() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let folder = folder()?;
    let state = folder.path().join("state");
    let vault = VaultPlace::folder(&folder.path().join("vault"));
    let first = Etcd::start(&version).await?;
    let mut agent = Agent::start(
        &folder.path().join("agent"),
        &first.endpoints(),
        &vault,
        &["--listen-status", "off"],
    )?;
    agent.wait_for_log("base is durable").await?;
    agent.stop().await?;

    let known = check(&vault, &first.endpoint(), &state, &[]).await?;
    ensure!(known.code == 0, "{known:#?}");
    ensure!(
        known.has("ok", "lineage", "is this source's, durable up to 1"),
        "{known:#?}"
    );
    ensure!(
        known.has("warn", "release", "update to 3.5.13"),
        "{known:#?}"
    );

    // Another cluster, of which the quota is used up.
    let options = EtcdOptions::default().flag("--quota-backend-bytes=4194304");
    let full = Etcd::start_with(&version, options).await?;
    let mut client = full.client().await?;
    while client.put("key", vec![7; 512 << 10], None).await.is_ok() {}
    std::fs::set_permissions(&state, Permissions::from_mode(0o755))?;
    let flags = ["--quota-bytes", "4MiB", "--flush-interval", "1h"];
    let wrong = check(&vault, &full.endpoint(), &state, &flags).await?;
    ensure!(wrong.has("fail", "alarm", "NOSPACE"), "{wrong:#?}");
    ensure!(
        wrong.has("fail", "quota", "writes are about to be refused"),
        "{wrong:#?}"
    );
    ensure!(
        wrong.has("fail", "lineage", "another --cluster"),
        "{wrong:#?}"
    );
    ensure!(wrong.has("warn", "state-dir", "chmod 700"), "{wrong:#?}");
    ensure!(wrong.code == 1, "the first failure counts: {wrong:#?}");

    let gone = first.endpoint();
    drop(first);
    let away = check(&vault, &gone, &state, &["--command-timeout", "1s"]).await?;
    ensure!(
        away.code == 2 && away.has("fail", "endpoint", "cannot reach etcd"),
        "{away:#?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_bucket_honours_what_is_needed() -> Result<()> {
    let (Some(version), Some(s3)) = (base_etcd(), SeaweedFs::start().await?) else {
        return Ok(());
    };
    let folder = folder()?;
    let etcd = Etcd::start(&version).await?;
    let vault = VaultPlace::bucket(&s3, "checked");
    let state = folder.path().join("state");
    let good = check(&vault, &etcd.endpoint(), &state, &[]).await?;
    ensure!(
        good.code == 0 && good.has("ok", "clock", "as the object store's"),
        "{good:#?}"
    );
    let mut stranger = vault.clone();
    stranger.environment = vec![
        ("AWS_ACCESS_KEY_ID", "nobody"),
        ("AWS_SECRET_ACCESS_KEY", "nothing"),
    ];
    let denied = check(&stranger, &etcd.endpoint(), &state, &[]).await?;
    ensure!(
        denied.code == 3 && denied.has("fail", "vault", "s3:PutObject"),
        "{denied:#?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_endpoints_of_another_cluster_are_told_before_a_timeline_is_opened() -> Result<()> {
    let Some(version) = base_etcd() else {
        return Ok(());
    };
    let folder = folder()?;
    let state = folder.path().join("state");
    let vault = VaultPlace::folder(&folder.path().join("vault"));
    let (ours, theirs) = (Etcd::start(&version).await?, Etcd::start(&version).await?);
    let flags = ["--listen-status", "off"];
    let home = folder.path().join("agent");
    let mut agent = Agent::start(&home, &ours.endpoints(), &vault, &flags)?;
    agent.wait_for_log("base is durable").await?;
    agent.stop().await?;
    let timelines = || -> Result<Vec<String>> {
        let cluster = folder.path().join("vault").join("clusters").join(CLUSTER);
        let names = std::fs::read_dir(cluster)?;
        let names = names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let names: Vec<_> = names.collect::<Result<_>>()?;
        Ok(names
            .into_iter()
            .filter(|name| name.parse::<u32>().is_ok())
            .collect())
    };
    let told = check(&vault, &ours.endpoint(), &state, &[]).await?;
    ensure!(told.has("ok", "lineage", "is this source's"), "{told:?}");
    let told = check(&vault, &theirs.endpoint(), &state, &[]).await?;
    ensure!(
        told.code != 0 && told.has("fail", "lineage", "another --cluster"),
        "{told:?}"
    );
    ensure!(timelines()?.len() == 1, "{:?}", timelines()?);
    Ok(())
}
