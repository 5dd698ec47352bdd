//! What `revkeep demo` takes.

use std::path::PathBuf;

use clap::Args;

use crate::members::Kind;

/// The flags of `revkeep demo`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  revkeep demo
  revkeep demo --keep
  revkeep demo --etcd --etcd-bin /opt/etcd")]
pub struct Options {
    /// Use real etcd members instead of revkeep-store
    #[arg(long)]
    etcd: bool,
    /// Where the programs etcd and etcdctl are; by default they are looked for in PATH
    #[arg(long, value_name = "DIR")]
    etcd_bin: Option<PathBuf>,
    /// Leave everything running after the last step, until Ctrl-C, so that you can try commands by hand
    #[arg(long)]
    keep: bool,
    /// How many objects the workload writes
    #[arg(long, default_value_t = 3000, value_name = "N", value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    objects: u32,
}

impl Options {
    /// What the members are.
    pub(super) fn kind(&self) -> Kind {
        if self.etcd { Kind::Etcd } else { Kind::Store }
    }

    /// Whether everything stays until Ctrl-C.
    pub(super) const fn keep(&self) -> bool {
        self.keep
    }

    /// How many objects the workload writes.
    pub(super) const fn objects(&self) -> u32 {
        self.objects
    }

    /// A folder to look into before `PATH`.
    pub(super) fn programs(&self) -> Option<&PathBuf> {
        self.etcd_bin.as_ref()
    }
}
