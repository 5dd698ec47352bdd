//! What an agent captured of real etcd is verified, replayed and drilled, and every proof fails once something is damaged.
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use revkeep_harness::exact::{Captured, seed};
use revkeep_harness::product::{Answer, CLUSTER, run};
use revkeep_harness::{base_etcd, store};
use serde_json::Value;

struct Place {
    captured: Captured,
    ledger: String,
}

impl Place {
    async fn run(&self, arguments: &[&str]) -> Result<Answer> {
        let arguments: Vec<_> = arguments.iter().copied().chain(["-w", "json"]).collect();
        run("revkeep", &self.captured.vault, &arguments).await
    }

    async fn verify(&self, more: &[&str]) -> Result<(i32, Value)> {
        let arguments: Vec<_> = ["verify", CLUSTER, "--ledger", &self.ledger]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        let answer = self.run(&arguments).await?;
        let told: Value = serde_json::from_str(&answer.stdout)
            .with_context(|| format!("{}{}", answer.stdout, answer.stderr))?;
        Ok((answer.code, told["clusters"][0].clone()))
    }

    fn folder(&self) -> PathBuf {
        let url = &self.captured.vault.url;
        let root = url.strip_prefix("file://").unwrap_or(url);
        Path::new(root).join("clusters").join(CLUSTER)
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Changes a byte in the middle of a file; the content before is returned.
fn damage(file: &Path) -> Result<Vec<u8>> {
    let before = fs::read(file)?;
    let mut damaged = before.clone();
    let middle = damaged.len() / 2;
    *damaged.get_mut(middle).context("the file is not empty")? ^= 1;
    fs::write(file, damaged)?;
    Ok(before)
}

/// Switches authentication on in the source, and has a base of that stored.
async fn with_authentication(place: &Place) -> Result<()> {
    let server = &place.captured.server;
    let mut client = server.client().await?;
    client.put("after", "that", None).await?;
    client.user_add("root", "secret", None).await?;
    client.role_add("root").await.ok();
    client.user_grant_role("root", "root").await?;
    client.auth_enable().await?;
    let endpoint = server.endpoint();
    let arguments = [
        "snapshot",
        "--endpoints",
        &endpoint,
        "--cluster",
        CLUSTER,
        "--user",
        "root:secret",
    ];
    let taken = run("revkeep-agent", &place.captured.vault, &arguments).await?;
    ensure!(taken.code == 0, "{}{}", taken.stdout, taken.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_is_proved_and_what_is_damaged_is_named() -> Result<()> {
    let (Some(etcd), Some(_store)) = (base_etcd(), store()?) else {
        return Ok(());
    };
    let captured = Captured::from(&etcd, None, seed(), 4, 1).await?;
    let ledger = captured.folder.path().join("ledger").display().to_string();
    let programs = etcd.program("etcd");
    let programs = programs.parent().context("a program has a folder")?;
    let programs = programs.display().to_string();
    let place = Place { captured, ledger };

    let (code, sound) = place.verify(&["--deep", "--receipt"]).await?;
    ensure!(code == 0, "{sound:#}");
    ensure!(sound["read_objects"] == sound["objects"], "{sound:#}");
    ensure!(sound["findings"] == serde_json::json!([]), "{sound:#}");
    let deep = &sound["deep"];
    ensure!(deep["bases"].as_u64() >= Some(2), "{sound:#}");
    ensure!(deep["stretches"].as_u64() >= Some(2), "{sound:#}");
    ensure!(deep["hashes"].as_u64() >= Some(2), "{sound:#}");

    for (server, more) in [
        ("revkeep-store", &[][..]),
        ("etcd", &["--etcd", "--etcd-bin", &programs]),
    ] {
        for which in ["--latest", "--random"] {
            let mut arguments = vec!["drill", CLUSTER, which];
            arguments.extend(more);
            let answer = place.run(&arguments).await?;
            ensure!(answer.code == 0, "{}{}", answer.stdout, answer.stderr);
            let told = answer.json()?;
            ensure!(told["booted_hash"] == told["restored_hash"], "{told:#}");
            ensure!(told["booted_hash"].is_u64(), "{told:#}");
            ensure!(
                told["server"]
                    .as_str()
                    .is_some_and(|name| name.starts_with(server)),
                "{told:#}"
            );
        }
    }
    with_authentication(&place).await?;
    for more in [&[][..], &["--etcd", "--etcd-bin", &programs]] {
        let arguments: Vec<_> = ["drill", CLUSTER].iter().chain(more).copied().collect();
        let answer = place.run(&arguments).await?;
        ensure!(answer.code == 0, "{}{}", answer.stdout, answer.stderr);
    }
    let info = place.run(&["info", CLUSTER]).await?.json()?;
    ensure!(info["proofs"][0]["kind"] == "verification", "{info:#}");
    ensure!(info["proofs"][1]["kind"] == "drill", "{info:#}");
    ensure!(info["proofs"][1]["sound"] == true, "{info:#}");

    // Chunks and segments in turn: the proof that reads one names it.
    let (code, again) = place.verify(&["--period", "30d"]).await?;
    ensure!(code == 0 && again["left"] == 0, "{again:#}");
    let data: Vec<_> = ["chunks", "0001/segments"]
        .iter()
        .map(|folder| files(&place.folder().join(folder)))
        .collect::<Result<_>>()?;
    ensure!(data.iter().all(|files| !files.is_empty()));
    for file in data.iter().flat_map(|files| files.iter().rev().take(2)) {
        let name = file.display().to_string();
        let before = damage(file)?;
        let (code, told) = place.verify(&["--deep"]).await?;
        ensure!(code == 13, "{told:#}");
        let named = told["findings"][0]["object"].as_str().unwrap_or_default();
        ensure!(name.ends_with(named), "{name}: {told:#}");
        ensure!(
            told["findings"].as_array().map(Vec::len) == Some(1),
            "{told:#}"
        );
        let deep = told["deep"]["findings"].as_array().map(Vec::len);
        ensure!(deep == Some(0), "its rows are not told of twice: {told:#}");
        fs::write(file, before)?;
    }

    // The newest chunk of the newest base is in every drill of its revision.
    let chunks = files(&place.folder().join("chunks"))?;
    for chunk in &chunks {
        fs::write(chunk, b"nothing")?;
    }
    let answer = place.run(&["drill", CLUSTER]).await?;
    ensure!(answer.code == 13, "{}{}", answer.stdout, answer.stderr);
    let told: Value = serde_json::from_str(&answer.stdout)?;
    ensure!(told["failure"].is_string(), "{told:#}");
    let info = place.run(&["info", CLUSTER]).await?.json()?;
    ensure!(info["proofs"][1]["sound"] == false, "{info:#}");
    Ok(())
}
