//! Both ends, opened and found to belong together; with the store away, what an earlier process knew of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use revkeep_schemas::Revision;
use revkeep_schemas::manifest::BaseManifest;
use revkeep_vault::{ErrorKind, SegmentEntry, VaultError};

use crate::AgentError;
use crate::backoff::Backoff;
use crate::base::Taken;
use crate::head::HeadKeeper;
use crate::lineage::{Found, Known, connect_any, connect_first, find};
use crate::remembered::Remembered;
use crate::run::Route;
use crate::source::Member;
use crate::status::{Monitor, Phase};
use crate::target::{Target, open_cluster};

/// The longest wait before the vault is opened again.
const OPEN_RETRY_LIMIT: Duration = Duration::from_secs(30);
/// How long the store may take, where an earlier process knew it. One that fails is not waited for; this is for one that
/// never answers, and longer than the listing of a large vault.
pub(crate) const STORE_PATIENCE: Duration = Duration::from_secs(60);

/// What capture starts from.
pub(crate) struct Opened {
    pub(crate) target: Target,
    pub(crate) previous: Option<Arc<BaseManifest>>,
    /// The newest base, and its compact revision.
    pub(crate) base: (Revision, Revision),
    /// How far the vault reaches.
    pub(crate) cursor: Option<Revision>,
    /// The segments that it holds beyond that.
    pub(crate) beyond: Vec<SegmentEntry>,
    /// Whether it has a record that what was captured beyond that is wrong, and no base yet that takes its place.
    pub(crate) distrusted: bool,
    /// What the source is compared with.
    pub(crate) known: Known,
    /// A snapshot that was taken to tell what the source is.
    pub(crate) taken: Option<Taken>,
    /// Whether the store was away, and all this is remembered.
    pub(crate) away: bool,
}

impl Opened {
    /// A keeper of the head that knows what the vault holds.
    pub(crate) fn head(&self) -> HeadKeeper {
        let (base, compact) = self.base;
        let head = HeadKeeper::new(base, compact, self.cursor);
        for entry in &self.beyond {
            head.holds(entry.first, entry.last);
        }
        head
    }

    /// Says where capture goes on: after what is in the vault and in the spool.
    pub(crate) fn tell(&self, after: Option<Revision>) {
        tracing::info!(
            cluster = %self.target.cluster.name(),
            timeline = %self.target.timeline.id(),
            cursor = self.cursor.map(|cursor| cursor.0),
            after = after.map(|after| after.0),
            "capture starts"
        );
    }
}

/// Opens both ends; snapshots that are needed to tell what the source is go into the directory.
pub(crate) async fn open(route: &Route, state_dir: &Path) -> Result<(Opened, Member), AgentError> {
    let cluster = open_cluster(&route.vault, &route.cluster).await?;
    let finding = find(&cluster, &route.connection, state_dir);
    let (found, member) = Box::pin(finding).await?;
    let Found {
        target,
        standing,
        known,
        taken,
    } = found;
    let previous = standing.base.map(Arc::new);
    let base = previous.as_ref().map_or_else(Default::default, |base| {
        (base.facts.revision, base.facts.compact_revision)
    });
    let opened = Opened {
        target,
        previous,
        base,
        cursor: standing.cursor,
        beyond: standing.beyond,
        distrusted: standing.distrusted,
        known,
        taken,
        away: false,
    };
    Ok((opened, member))
}

/// As [`open`]. A vault that is away is waited for, since a restart would bring it back no sooner, and would take the pod
/// out of service that the agent shares with etcd. It is not waited for where an earlier process knew it: the source may
/// compact meanwhile what nobody watches.
pub(crate) async fn open_in_time(
    route: &Route,
    state_dir: &Path,
    monitor: &Monitor,
) -> Result<Opened, AgentError> {
    let remembered = Remembered::read(state_dir, &route.vault, &route.cluster);
    let patience = remembered
        .as_ref()
        .map_or(Duration::MAX, |_| STORE_PATIENCE);
    let mut backoff = Backoff::new(OPEN_RETRY_LIMIT);
    loop {
        let error = match tokio::time::timeout(patience, Box::pin(open(route, state_dir))).await {
            Ok(Err(AgentError::Vault(error))) if error.kind() == ErrorKind::Retry => error,
            Ok(opened) => return Ok(opened?.0),
            Err(_) => VaultError::new(
                ErrorKind::Retry,
                format!("open the vault: no answer within {patience:?}"),
            ),
        };
        monitor.vault_failed(&error);
        if let Some(remembered) = &remembered {
            return known(route, remembered, &error).await;
        }
        let wait = backoff.step();
        tracing::warn!(%error, ?wait, "the vault was not opened, trying again");
        // Meanwhile it is told whether the source answers.
        match connect_first(&route.connection).await {
            Ok(_) => monitor.enter(Phase::Opening, Some(&error)),
            Err(error) => monitor.enter(Phase::Starting, Some(&error)),
        }
        tokio::time::sleep(wait).await;
    }
}

/// What is remembered. It is compared with the source before anything is captured.
async fn known(
    route: &Route,
    remembered: &Remembered,
    error: &VaultError,
) -> Result<Opened, AgentError> {
    let durable = remembered.durable;
    let target = remembered.target().await?;
    let known = remembered.known(&target)?;
    connect_any(&route.connection, &known).await?;
    tracing::warn!(
        %error,
        %durable,
        "the object store is away: capture goes on from what was known of it, into the spool"
    );
    Ok(Opened {
        target,
        previous: None,
        base: (remembered.base, remembered.compact),
        cursor: Some(durable),
        beyond: Vec::new(),
        distrusted: false,
        known,
        taken: None,
        away: true,
    })
}
