//! `revkeep`: the operator's command line.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use tracing_subscriber::EnvFilter;

/// Pieces of some MiB are unpacked on many threads and freed on others. glibc keeps an arena for each of the threads, up
/// to eight a core, and what is freed into one stays there: several times what is in use. This one gives it back.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_env("REVKEEP_LOG"))
        .with_writer(std::io::stderr)
        .init();
    revkeep_restore::command::run().await
}
