//! `revkeep`: the operator's command line.

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_env("REVKEEP_LOG"))
        .with_writer(std::io::stderr)
        .init();
    revkeep_restore::command::run().await
}
