//! A source whose data directory is exchanged under the same endpoint, and what the vault says of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etcd_client::Client;
use revkeep_harness::product::{Agent, Answer, CLUSTER, VaultPlace, run};
use revkeep_harness::truth::{Truth, keys_at};
use revkeep_harness::{Etcd, EtcdOptions, EtcdTool, EtcdVersion, free_port};
use serde::Deserialize;
use tempfile::TempDir;

/// How long anything may take on a busy machine.
pub(crate) const WITHIN: Duration = Duration::from_secs(120);

/// Flags that make changes durable at once.
pub(crate) const QUICK: [&str; 2] = ["--flush-interval", "100ms"];

/// A timeline as `revkeep info` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Line {
    pub(crate) id: String,
    pub(crate) parent: Option<String>,
    pub(crate) fork_revision: Option<i64>,
    #[serde(default)]
    pub(crate) fork_at_most: bool,
    pub(crate) maximum_recoverable: Option<i64>,
}

/// A place for a member that stays the same whatever data directory it runs on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports(u16, u16);

impl Ports {
    pub(crate) fn free() -> Result<Self> {
        Ok(Self(free_port()?, free_port()?))
    }

    pub(crate) fn peer(self) -> String {
        format!("http://127.0.0.1:{}", self.1)
    }

    /// The same member, served where nobody looks for it.
    pub(crate) fn elsewhere(self) -> Result<Self> {
        Ok(Self(free_port()?, self.1))
    }

    pub(crate) fn client(self) -> String {
        format!("http://127.0.0.1:{}", self.0)
    }
}

/// A folder with a vault in it.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) vault: VaultPlace,
}

impl World {
    pub(crate) fn new() -> Result<Self> {
        let folder = TempDir::with_prefix("revkeep-lineage-")?;
        let vault = VaultPlace::folder(&folder.path().join("vault"));
        Ok(Self { folder, vault })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn agent(&self, name: &str, endpoints: &[String], flags: &[&str]) -> Result<Agent> {
        Agent::start(&self.path(name), endpoints, &self.vault, flags)
    }

    /// A member on a data directory of this world, which may be there already.
    pub(crate) async fn member(
        &self,
        version: &EtcdVersion,
        ports: Ports,
        data: &Path,
        flags: &[&str],
    ) -> Result<Etcd> {
        let options = EtcdOptions {
            ports: Some((ports.0, ports.1)),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            ..EtcdOptions::booting(data)
        };
        Etcd::start_with(version, options).await
    }

    pub(crate) async fn lines(&self) -> Result<Vec<Line>> {
        let answer = run("revkeep", &self.vault, &["info", CLUSTER, "-w", "json"]).await?;
        if answer.code == 10 {
            return Ok(Vec::new());
        }
        let mut info = answer.json()?;
        let lines = info.get_mut("timelines").context("no timelines")?.take();
        Ok(serde_json::from_value(lines)?)
    }

    /// Waits until there are so many timelines, and the newest reaches the revision.
    pub(crate) async fn durable(&self, timelines: usize, revision: i64) -> Result<Vec<Line>> {
        let deadline = Instant::now() + WITHIN;
        loop {
            let lines = self.lines().await?;
            let newest = lines.last().and_then(|line| line.maximum_recoverable);
            if lines.len() == timelines && newest >= Some(revision) {
                return Ok(lines);
            }
            ensure!(
                Instant::now() < deadline,
                "revision {revision} of timeline {timelines} is not durable: {lines:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn restore(
        &self,
        version: &EtcdVersion,
        timeline: Option<&str>,
        revision: i64,
        data_dir: &Path,
    ) -> Result<Answer> {
        let to = revision.to_string();
        let data_dir = data_dir.to_str().context("a path that is not UTF-8")?;
        let arguments = ["restore", CLUSTER, "-w", "json", "--to-revision", &to];
        let mut arguments = [&arguments[..], &[version.restore_flag(), data_dir]].concat();
        if let Some(timeline) = timeline {
            arguments.extend(["--timeline", timeline]);
        }
        run("revkeep", &self.vault, &arguments).await
    }

    /// A revision of a timeline, restored and booted, has the keys that its source had then.
    pub(crate) async fn comes_back(
        &self,
        version: &EtcdVersion,
        timeline: Option<&str>,
        truth: &Truth,
    ) -> Result<()> {
        let name = format!(
            "restored-{}-{}",
            timeline.unwrap_or("newest"),
            truth.revision
        );
        let data_dir = self.path(&name);
        self.restore(version, timeline, truth.revision, &data_dir)
            .await?
            .json()?;
        let etcd = Etcd::start_with(version, EtcdOptions::booting(&data_dir)).await?;
        let mut client = etcd.client().await?;
        let keys = keys_at(&mut client, truth.revision).await?;
        ensure!(
            keys == truth.keys,
            "the keys at {} of timeline {timeline:?} differ",
            truth.revision
        );
        Ok(())
    }

    /// etcd's own snapshot of the member.
    pub(crate) async fn save(&self, etcd: &Etcd, name: &str) -> Result<PathBuf> {
        let file = self.path(name);
        EtcdTool::new(etcd.version())
            .with_endpoints(&etcd.endpoints())
            .snapshot_save(&file)
            .await?;
        Ok(file)
    }

    /// etcd's own restore of it, for the same endpoint: name, token and URLs are those of before, and so is the cluster's id.
    pub(crate) async fn etcd_restores(
        &self,
        version: &EtcdVersion,
        ports: Ports,
        file: &Path,
        flags: &[&str],
    ) -> Result<PathBuf> {
        let data = self.path(&format!("by-etcd-{}", rand_name()));
        let peer = ports.peer();
        let alone = format!("default={peer}");
        let same = [
            "--name",
            "default",
            "--initial-cluster",
            &alone,
            "--initial-advertise-peer-urls",
            &peer,
        ];
        EtcdTool::new(version)
            .snapshot_restore(file, &data, &[&same[..], flags].concat())
            .await?;
        Ok(data)
    }
}

impl World {
    /// Removes the segment that begins here, or before and reaches here; gives its last revision.
    pub(crate) fn lose_segment_from(&self, revision: i64) -> Result<i64> {
        let mut folders = vec![self.path("vault")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = path.file_name().and_then(|name| name.to_str());
                let mut parts = name.unwrap_or_default().split('-').map(str::parse::<i64>);
                let in_segments = path.components().any(|part| part.as_os_str() == "segments");
                if let (true, Some(Ok(first)), Some(Ok(last))) =
                    (in_segments, parts.next(), parts.next())
                    && (first..=last).contains(&revision)
                {
                    std::fs::remove_file(path)?;
                    return Ok(last);
                }
            }
        }
        anyhow::bail!("no segment holds {revision}")
    }

    /// Revkeep's own restore, for the same endpoint.
    pub(crate) async fn we_restore(
        &self,
        version: &EtcdVersion,
        ports: Ports,
        revision: i64,
    ) -> Result<PathBuf> {
        let data = self.path(&format!("by-us-{}", rand_name()));
        let (peer, to) = (ports.peer(), revision.to_string());
        let alone = format!("default={peer}");
        let text = data.to_str().context("a path that is not UTF-8")?;
        let arguments = [
            "restore",
            CLUSTER,
            "--to-revision",
            &to,
            version.restore_flag(),
            text,
            "--initial-cluster",
            &alone,
            "--initial-advertise-peer-urls",
            &peer,
        ];
        let answer = run("revkeep", &self.vault, &arguments).await?;
        ensure!(answer.code == 0, "{answer:?}");
        Ok(data)
    }
}

fn rand_name() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    format!("{:x}", RandomState::new().build_hasher().finish())
}

/// Puts so many keys, one a revision, and gives the last revision.
pub(crate) async fn put(client: &mut Client, prefix: &str, keys: usize) -> Result<i64> {
    let mut revision = 0;
    for n in 0..keys {
        let key = format!("{prefix}/{n}");
        let value = format!("{prefix} {n}");
        let answer = client.put(key, value, None).await?;
        revision = answer.header().context("no header")?.revision();
    }
    Ok(revision)
}
