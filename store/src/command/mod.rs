//! The command line: etcd's flags under etcd's names, and `ETCD_*` variables.

mod flags;
mod log;
mod serve;

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::error::StoreError;

pub use flags::ServeFlags;
pub use log::{LogFlags, LogFormat};

/// One member of the replicated store.
#[derive(Debug, Parser)]
#[command(
    name = "revkeep-store",
    version,
    after_help = "Examples:\n  \
        revkeep-store serve --data-dir /var/lib/revkeep\n  \
        revkeep-store serve --name a --data-dir a --listen-client-urls http://127.0.0.1:2379 \\\n      \
            --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 \\\n      \
            --initial-advertise-peer-urls http://127.0.0.1:2380 \\\n      \
            --initial-cluster a=http://127.0.0.1:2380,b=http://127.0.0.1:3380,c=http://127.0.0.1:4380\n  \
        etcdctl --endpoints 127.0.0.1:2379 put greeting hello"
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves etcd's v3 API until it is stopped; SIGTERM ends it in good order.
    Serve(Box<ServeFlags>),
}

impl Arguments {
    /// Logs to standard error.
    pub fn start_log(&self) {
        let Command::Serve(flags) = &self.command;
        flags.log.start();
    }

    /// Does what was asked, until `stop`.
    pub async fn execute(self, stop: CancellationToken) -> Result<(), StoreError> {
        let Command::Serve(flags) = self.command;
        Box::pin(serve::serve(*flags, stop)).await
    }
}

/// The process's exit code for an error: 3 for wrong settings, 1 for the rest.
pub fn exit_code(error: &StoreError) -> u8 {
    if matches!(error, StoreError::Config(_)) {
        3
    } else {
        1
    }
}
