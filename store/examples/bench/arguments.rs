//! What is to be measured.

use clap::{Args, Parser, Subcommand};

/// Measures a server of etcd's v3 API.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// Client URLs; clients are spread over them.
    #[arg(long, value_delimiter = ',', default_value = "http://127.0.0.1:2379")]
    pub(crate) endpoints: Vec<String>,
    /// Connections, shared by the clients.
    #[arg(long, default_value_t = 8)]
    pub(crate) connections: usize,
    /// What is measured.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Puts, each client one after the other.
    Put(PutWish),
    /// Reads of single keys, or of ranges.
    Range(RangeWish),
    /// One writer and many watchers.
    Watch(WatchWish),
    /// Fills the store, many keys to a transaction.
    Fill(FillWish),
}

/// How to put.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct PutWish {
    /// Clients at once.
    #[arg(long, default_value_t = 100)]
    pub(crate) clients: usize,
    /// How long, after a tenth of it that is not counted.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 256)]
    pub(crate) value_bytes: usize,
    /// Different keys.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) keys: u64,
}

/// How to read.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct RangeWish {
    /// Clients at once.
    #[arg(long, default_value_t = 100)]
    pub(crate) clients: usize,
    /// How long, after a tenth of it that is not counted.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// Different keys, as they were put.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) keys: u64,
    /// Keys of one read.
    #[arg(long, default_value_t = 1)]
    pub(crate) limit: i64,
    /// Read what the member has, without asking the others.
    #[arg(long)]
    pub(crate) serializable: bool,
}

/// How to watch.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct WatchWish {
    /// Watchers of the same key.
    #[arg(long, default_value_t = 100)]
    pub(crate) watchers: usize,
    /// Puts, as fast as they are answered.
    #[arg(long, default_value_t = 1000)]
    pub(crate) puts: usize,
    /// Bytes of a value.
    #[arg(long, default_value_t = 256)]
    pub(crate) value_bytes: usize,
}

/// How to fill.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct FillWish {
    /// Keys.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) keys: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 256)]
    pub(crate) value_bytes: usize,
    /// Keys of a transaction; servers take 128 unless told otherwise.
    #[arg(long, default_value_t = 100)]
    pub(crate) batch: u64,
    /// Clients at once.
    #[arg(long, default_value_t = 16)]
    pub(crate) clients: usize,
}
