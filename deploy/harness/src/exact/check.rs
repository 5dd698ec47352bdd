//! What must hold for a captured source.

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, CompactionOptions};
use futures::{StreamExt, TryStreamExt, stream};

use super::capture::Captured;
use super::compare::compare;
use super::restored::text;
use crate::truth::Truth;
use crate::{Etcd, EtcdOptions, EtcdTool, EtcdVersion};

/// Revisions compared side by side: a server that boots mostly waits.
const POINTS_AT_ONCE: usize = 4;
/// Writes to a restored cluster.
const WRITES: i64 = 50;

impl Captured {
    /// A point a third into the history, so that there is much before it and after it.
    ///
    /// # Errors
    /// When there are no points.
    pub fn middle(&self) -> Result<&Truth> {
        self.points.get(self.points.len() / 3).context("no points")
    }

    /// The newest point.
    ///
    /// # Errors
    /// When there are no points.
    pub fn last(&self) -> Result<&Truth> {
        self.points.last().context("no points")
    }

    /// Every `step`-th point, restored for the target and booted, is what it was.
    ///
    /// # Errors
    /// Names the revision and what differs.
    pub async fn check_points(&self, target: &EtcdVersion, step: usize) -> Result<()> {
        stream::iter(self.points.iter().step_by(step))
            .map(|truth| self.check_point(truth, target))
            .buffer_unordered(POINTS_AT_ONCE)
            .try_collect()
            .await
    }

    async fn check_point(&self, truth: &Truth, target: &EtcdVersion) -> Result<()> {
        let what = format!(
            "{} restored for {target}, revision {}",
            self.source, truth.revision
        );
        let (data_dir, mut member) = self
            .boot(truth.revision, target)
            .await
            .with_context(|| what.clone())?;
        self.same(truth, &member).await.context(what)?;
        member.kill()?;
        std::fs::remove_dir_all(data_dir)?;
        Ok(())
    }

    /// Compares; HashKV too if the server counts the same rows as the source.
    async fn same(&self, truth: &Truth, member: &Etcd) -> Result<()> {
        let hashes_too = member.version().hashes_like(&self.source);
        compare(truth, &mut member.client().await?, hashes_too).await
    }

    /// A log in a directory of its own is found where etcd is told that it is.
    ///
    /// # Errors
    /// When it is not.
    pub async fn check_wal_dir(&self, truth: &Truth) -> Result<()> {
        let place = self.folder.path().join("apart");
        let (data_dir, wal_dir) = (place.join("data"), place.join("wal"));
        let flags = ["--data-dir", text(&data_dir), "--wal-dir", text(&wal_dir)];
        self.restore(truth.revision, &flags).await?;
        ensure!(
            !data_dir.join("member/wal").exists() && std::fs::read_dir(&wal_dir)?.count() == 1,
            "the log is not where it was asked for"
        );
        let options =
            EtcdOptions::booting(&data_dir).flag(format!("--wal-dir={}", wal_dir.display()));
        let mut etcd = Etcd::start_with(&self.source, options).await?;
        self.same(truth, &etcd).await?;
        etcd.client().await?.put("after", "x", None).await?;
        etcd.restart().await?;
        ensure!(
            etcd.revision().await? == truth.revision + 1,
            "the write is gone"
        );
        Ok(())
    }

    /// The restored server is a server like any other: it takes writes, compacts, defragments and restarts.
    ///
    /// # Errors
    /// When it does not.
    pub async fn check_it_lives(&self, truth: &Truth, target: &EtcdVersion) -> Result<()> {
        let (_, mut member) = self.boot(truth.revision, target).await?;
        let before = live(&mut member.client().await?, truth.revision).await?;
        member.client().await?.defragment().await?;
        member.restart().await?;
        unchanged(&before, &member).await
    }

    /// Three members restored one by one form a cluster that agrees with itself and with the source, takes writes,
    /// compacts, defragments, and is the same after a restart of each.
    ///
    /// # Errors
    /// When it does not.
    pub async fn check_three_members(&self, truth: &Truth, target: &EtcdVersion) -> Result<()> {
        let mut cluster = self.boot_three(truth, target).await?;
        for member in &cluster.members {
            self.same(truth, member).await?;
        }
        let before = live(&mut cluster.client().await?, truth.revision).await?;
        for member in &mut cluster.members {
            member.client().await?.defragment().await?;
            member.restart().await?;
        }
        for member in &cluster.members {
            unchanged(&before, member).await?;
        }
        cluster.client().await?.put("after", "x", None).await?;
        Ok(())
    }

    /// etcd's own tool takes our snapshot file, and a real etcd boots what it makes of it.
    ///
    /// # Errors
    /// When the tool refuses the file, or the result differs.
    pub async fn check_snapshot_file(&self, truth: &Truth, etcd: &EtcdVersion) -> Result<()> {
        let file = self.place("snapshot", truth.revision, etcd);
        self.restore(truth.revision, &["--snapshot-file", text(&file)])
            .await?;
        let tool = EtcdTool::new(etcd);
        let status = tool.snapshot_status(&file).await?;
        ensure!(
            status.get("revision") == Some(&truth.revision.into()),
            "etcd's tool reads {status}"
        );
        let data_dir = self.place("by-etcd", truth.revision, etcd);
        tool.snapshot_restore(&file, &data_dir, &[]).await?;
        let member = Etcd::start_with(etcd, EtcdOptions::booting(&data_dir)).await?;
        self.same(truth, &member).await
    }

    /// `etcdctl snapshot save` from the source itself gives a file that etcd's tool accepts and a real etcd boots.
    ///
    /// # Errors
    /// When the tool refuses the file, or the result differs.
    pub async fn check_saved_snapshot(&self, etcd: &EtcdVersion) -> Result<()> {
        // The newest point is what the source holds, but for leases that ended since.
        let truth = Truth::now(&mut self.server.client().await?).await?;
        let file = self.place("saved", truth.revision, etcd);
        let tool = EtcdTool::new(etcd);
        tool.clone()
            .with_endpoints(&self.server.endpoints())
            .snapshot_save(&file)
            .await?;
        let status = tool.snapshot_status(&file).await?;
        ensure!(
            status.get("revision") == Some(&truth.revision.into()),
            "etcd's tool reads {status}, not revision {}",
            truth.revision
        );
        let data_dir = self.place("saved-by-etcd", truth.revision, etcd);
        tool.snapshot_restore(&file, &data_dir, &[]).await?;
        let member = Etcd::start_with(etcd, EtcdOptions::booting(&data_dir)).await?;
        self.same(&truth, &member).await
    }
}

/// Writes and compacts; what the cluster says then.
async fn live(client: &mut Client, restored: i64) -> Result<Truth> {
    for n in 0..WRITES {
        client.put(format!("after/{n}"), "x", None).await?;
    }
    let now = crate::truth::revision(client).await?;
    ensure!(
        now >= restored + WRITES,
        "the writes took revisions up to {now}"
    );
    client
        .compact(now - 5, Some(CompactionOptions::new().with_physical()))
        .await?;
    Truth::now(client).await
}

/// The member says after a restart what was said before.
async fn unchanged(before: &Truth, member: &Etcd) -> Result<()> {
    let after = Truth::at(&mut member.client().await?, before.revision).await?;
    ensure!(
        after.keys == before.keys && after.hash == before.hash,
        "a restart changed the data"
    );
    Ok(())
}
