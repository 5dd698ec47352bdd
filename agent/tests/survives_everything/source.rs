//! The source: members of etcd or of the store, written to all the time, and what befalls them.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, CompactionOptions, DeleteOptions, PutOptions, Txn, TxnOp};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use revkeep_harness::{EtcdCluster, EtcdTool, EtcdVersion, etcd_versions, store};
use revkeep_schemas::Revision;
use revkeep_schemas::hashkv::TombstoneRule;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::model::Model;
use crate::plan::{Blow, another};

/// Between two writes.
const PAUSE: Duration = Duration::from_millis(4);
/// A request to a member that may be dying.
const PATIENCE: Duration = Duration::from_secs(2);
/// What must be answered in the end.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
const KEYS: u32 = 50;

/// What can be a source here: every installed etcd, and the store.
pub(crate) fn kinds() -> Result<Vec<EtcdVersion>> {
    let mut kinds = etcd_versions();
    kinds.extend(store()?);
    Ok(kinds)
}

/// A running source.
pub(crate) struct Source {
    pub(crate) cluster: EtcdCluster,
    pub(crate) model: Model,
    version: EtcdVersion,
    writing: watch::Sender<bool>,
    writer: JoinHandle<()>,
    compacted: i64,
    folder: TempDir,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.version.is_store() { "" } else { "etcd " };
        write!(f, "{kind}{} x{}", self.version, self.size())
    }
}

impl Source {
    /// Starts one of the kinds, with one member or three, and a writer that waits.
    pub(crate) async fn start(kinds: &[EtcdVersion], rng: &mut StdRng) -> Result<Self> {
        let version = kinds
            .get(rng.random_range(0..kinds.len()))
            .context("no server")?
            .clone();
        let size = if rng.random_bool(0.4) { 3 } else { 1 };
        // Three members on a busy machine elect nobody in a shorter time.
        let mut flags = if size > 1 {
            vec!["--heartbeat-interval=200", "--election-timeout=2000"]
        } else {
            vec!["--heartbeat-interval=50", "--election-timeout=500"]
        };
        if !version.is_store() && version.series() > (3, 4) {
            flags.push("--unsafe-no-fsync");
        }
        let flags: Vec<_> = flags.into_iter().map(str::to_owned).collect();
        let cluster = EtcdCluster::start_with(&version, size, &flags).await?;
        let rule = if version.is_store() {
            TombstoneRule::Skipped
        } else {
            TombstoneRule::for_version(&version.to_string())
        };
        let model = Model::of(cluster.endpoints(), rule);
        let (writing, may) = watch::channel(false);
        let client = cluster.client().await?;
        let writer = tokio::spawn(write(client, another(rng), may));
        Ok(Self {
            cluster,
            model,
            version,
            writing,
            writer,
            compacted: 0,
            folder: TempDir::with_prefix("revkeep-set-back-")?,
        })
    }

    /// The number of members.
    pub(crate) fn size(&self) -> usize {
        self.cluster.members.len()
    }

    /// Where the source is compacted.
    pub(crate) fn compacted(&self) -> Revision {
        Revision(self.compacted)
    }

    pub(crate) fn write(&self, on: bool) {
        self.writing.send_replace(on);
    }

    /// Waits until so many revisions more were written.
    pub(crate) async fn goes_on_by(&self, revisions: i64) -> Result<()> {
        self.write(true);
        self.model.reaches(self.model.newest() + revisions).await
    }

    /// The newest revision once nothing is written any more, with what the model knows of it.
    pub(crate) async fn rests(&self) -> Result<Revision> {
        self.write(false);
        // A write that is under way comes to its end.
        tokio::time::sleep(PAUSE * 5).await;
        let mut before = 0;
        loop {
            let now = self.newest().await?;
            if now == before {
                self.model.reaches(now).await?;
                return Ok(Revision(now));
            }
            before = now;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn newest(&self) -> Result<i64> {
        let deadline = tokio::time::Instant::now() + ANSWERED_WITHIN;
        loop {
            for member in &self.cluster.members {
                if let Ok(Ok(revision)) = tokio::time::timeout(PATIENCE, member.revision()).await {
                    return Ok(revision);
                }
            }
            ensure!(
                tokio::time::Instant::now() < deadline,
                "no member tells its revision"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The source's own `HashKV`, with the compact revision that it assumes.
    pub(crate) async fn hash(&self, at: Revision) -> Result<(Revision, u32)> {
        let member = self.cluster.members.first().context("no member")?;
        let said = member.hash_kv(at.0).await?;
        Ok((Revision(said.compact_revision.max(0)), said.hash))
    }

    /// Something happens to it. It is whole again when this returns.
    pub(crate) async fn suffers(&mut self, blow: Blow, rng: &mut StdRng) -> Result<()> {
        let one = rng.random_range(0..self.size());
        match blow {
            Blow::Compacts => {
                let behind = rng.random_range(1..40);
                self.compact((self.model.newest() - behind).max(1)).await
            }
            Blow::CompactsUnseen => {
                self.goes_on_by(20).await?;
                self.compact(self.model.newest()).await
            }
            Blow::LosesMember => {
                let member = self.cluster.members.get_mut(one).context("no member")?;
                member.kill()?;
                tokio::time::sleep(Duration::from_millis(rng.random_range(0..300))).await;
                member.restart().await
            }
            Blow::MovesLeader => self.move_leader(rng).await,
            Blow::Defragments => {
                let member = self.cluster.members.get(one).context("no member")?;
                member.client().await?.defragment().await?;
                Ok(())
            }
            // The store has no restore of its own.
            Blow::IsSetBack if self.version.is_store() => Ok(()),
            Blow::IsSetBack => {
                let more = rng.random_range(1..60);
                self.set_back(more).await
            }
        }
    }

    /// Restores it to what it is now after so many revisions more, which are gone then.
    async fn set_back(&mut self, more: i64) -> Result<()> {
        let saved = self.rests().await?;
        let member = self.cluster.members.first().context("no member")?;
        let tool = EtcdTool::new(&self.version).with_endpoints(&member.endpoints());
        let file = self.folder.path().join(format!("{saved}.db"));
        tool.snapshot_save(&file).await?;
        self.goes_on_by(more).await?;
        self.rests().await?;
        let member = self.cluster.members.first_mut().context("no member")?;
        member.kill()?;
        let data = member.data_dir().to_path_buf();
        std::fs::remove_dir_all(&data)?;
        let peer = member.peer_url();
        let alone = format!("m0={peer}");
        let same = [
            "--name",
            "m0",
            "--initial-cluster",
            &alone,
            "--initial-advertise-peer-urls",
            &peer,
        ];
        tool.snapshot_restore(&file, &data, &same).await?;
        std::fs::remove_file(&file)?;
        self.model.set_back(saved.0);
        member.restart().await?;
        self.goes_on_by(1).await
    }

    async fn compact(&mut self, at: i64) -> Result<()> {
        // What is gone from the source must be in the model.
        self.model.reaches(at).await?;
        if at <= self.compacted {
            return Ok(());
        }
        let mut last = None;
        for member in &self.cluster.members {
            let mut client = member.client().await?;
            let physical = CompactionOptions::new().with_physical();
            let asking = client.compact(at, Some(physical));
            match tokio::time::timeout(ANSWERED_WITHIN, asking).await? {
                Ok(_) => last = None,
                // An earlier request was done though its answer was an error.
                Err(error) if error.to_string().contains("has been compacted") => last = None,
                Err(error) => {
                    last = Some(error);
                    continue;
                }
            }
            break;
        }
        if let Some(error) = last {
            return Err(error).context("compact");
        }
        self.compacted = at;
        Ok(())
    }

    async fn move_leader(&self, rng: &mut StdRng) -> Result<()> {
        let mut ids = Vec::new();
        for member in &self.cluster.members {
            let status = member.client().await?.status().await?;
            let id = status.header().context("no header")?.member_id();
            ids.push((id, status.leader() == id));
        }
        let leader = ids.iter().position(|(_, leads)| *leads);
        let others: Vec<_> = ids.iter().filter(|(_, leads)| !leads).collect();
        let (Some(leader), false) = (leader, others.is_empty()) else {
            // An election is going on, which is as good.
            return Ok(());
        };
        let (to, _) = others
            .get(rng.random_range(0..others.len()))
            .context("no follower")?;
        let member = self.cluster.members.get(leader).context("no leader")?;
        // It may lose the lead meanwhile.
        let _ = member.client().await?.move_leader(*to).await;
        Ok(())
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

/// Writes while it may; what a dying member refuses is not written again.
async fn write(mut client: Client, seed: u64, mut may: watch::Receiver<bool>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut lease = None;
    while may.wait_for(|may| *may).await.is_ok() {
        if lease.is_none() {
            let granting = client.lease_grant(100_000, None);
            lease = match tokio::time::timeout(PATIENCE, granting).await {
                Ok(Ok(granted)) => Some(granted.id()),
                _ => None,
            };
        }
        let writing = write_one(&mut client, &mut rng, lease.unwrap_or_default());
        if !matches!(tokio::time::timeout(PATIENCE, writing).await, Ok(Ok(()))) {
            tokio::time::sleep(PAUSE * 10).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn write_one(client: &mut Client, rng: &mut StdRng, lease: i64) -> Result<()> {
    let key = format!("w/{:02}", rng.random_range(0..KEYS));
    let length = if rng.random_bool(0.02) { 20_000 } else { 200 };
    let mut value = vec![0; rng.random_range(0..length)];
    rng.fill_bytes(&mut value);
    match rng.random_range(0..10) {
        0..5 => drop(client.put(key, value, None).await?),
        5 => {
            let options = PutOptions::new().with_lease(lease);
            client.put(key, value, Some(options)).await?;
        }
        6 => drop(client.delete(key, None).await?),
        7 => {
            let range = DeleteOptions::new().with_range(format!("{key}~"));
            client.delete(key, Some(range)).await?;
        }
        _ => {
            let puts = (0..rng.random_range(1..7))
                .map(|n| TxnOp::put(format!("t{n}/{key}"), value.clone(), None));
            let operations: Vec<_> = puts.chain([TxnOp::delete(key.clone(), None)]).collect();
            client.txn(Txn::new().and_then(operations)).await?;
        }
    }
    Ok(())
}
