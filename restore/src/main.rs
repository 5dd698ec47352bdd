//! `revkeep`: the operator's command line.

use std::io::IsTerminal;
use std::process::ExitCode;

use mimalloc::MiMalloc;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Pieces of some MiB are unpacked on many threads and freed on others. glibc keeps an arena for each of the threads, up
/// to eight a core, and what is freed into one stays there: several times what is in use. This one gives it back.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    // What went wrong but for the end of it is worth a line, also where nobody asked for a log.
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .with_env_var("REVKEEP_LOG");
    tracing_subscriber::fmt()
        .with_env_filter(filter.from_env_lossy())
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    revkeep_restore::command::run().await
}
