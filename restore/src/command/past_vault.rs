//! How commands that read the past open a vault.

use std::env;
use std::path::PathBuf;

use clap::Args;
use revkeep_vault::{Cluster, IndexCache, Vault};

use crate::error::{Kind, RestoreError};
use crate::source::{checked, find_cluster};

/// Bytes of indexes that are kept on this machine at most.
const CACHE_BYTES: u64 = 512 << 20;

/// Which cluster.
#[derive(Debug, Args)]
pub(super) struct ClusterArguments {
    /// The cluster's name in the vault; not needed where it has only one
    #[arg(long, env = "REVKEEP_CLUSTER", value_name = "NAME")]
    cluster: Option<String>,
    /// The timeline; by default the newest
    #[arg(long, value_name = "ID")]
    timeline: Option<String>,
}

impl ClusterArguments {
    pub(super) fn timeline(&self) -> Option<&str> {
        self.timeline.as_deref()
    }
}

/// Opens a cluster, with the local cache of indexes.
///
/// # Errors
/// As [`find_cluster`].
pub(super) async fn open(
    vault: &str,
    arguments: &ClusterArguments,
) -> Result<Cluster, RestoreError> {
    if let Some(name) = &arguments.cluster {
        let vault = self::vault(vault).await?;
        return find_cluster(&vault, &checked(name)?).await;
    }
    let (vault, names) = Vault::open_with_clusters(vault).await?;
    let vault = cached(vault);
    match names.as_slice() {
        [only] => Ok(vault.cluster(only)),
        [] => Err(RestoreError::new(
            Kind::NotFound,
            "the vault has no cluster yet: has an agent run?",
        )),
        several => {
            let names: Vec<_> = several.iter().map(ToString::to_string).collect();
            Err(RestoreError::new(
                Kind::Invalid,
                format!(
                    "the vault has several clusters: {}. Try: --cluster NAME",
                    names.join(", ")
                ),
            ))
        }
    }
}

/// Opens a vault, with the local cache of indexes.
///
/// # Errors
/// When there is none, or it cannot be reached.
pub(super) async fn vault(url: &str) -> Result<Vault, RestoreError> {
    Ok(cached(Vault::open(url).await?))
}

fn cached(vault: Vault) -> Vault {
    match cache_folder() {
        Some(folder) => vault.with_cache(IndexCache::new(folder, CACHE_BYTES)),
        None => vault,
    }
}

/// `REVKEEP_CACHE_DIR`, or `revkeep` where the system keeps what can be had again; an empty variable means none.
fn cache_folder() -> Option<PathBuf> {
    let named = |name: &str| env::var_os(name).map(PathBuf::from);
    let folder = named("REVKEEP_CACHE_DIR").or_else(|| {
        let home = || Some(named("HOME")?.join(".cache"));
        let shared = named("XDG_CACHE_HOME").filter(|path| path.is_absolute());
        Some(shared.or_else(home)?.join("revkeep"))
    });
    folder.filter(|folder| !folder.as_os_str().is_empty())
}
