//! `probe`

use clap::Args;
use revkeep_vault::{Vault, probe};

use super::output::line;

#[derive(Args)]
pub(super) struct Arguments {
    /// The vault: file:///dir, s3://bucket/prefix?endpoint=…&region=… or memory:
    #[arg(long, env = "REVKEEP_VAULT", value_name = "URL")]
    vault: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Probes; whether a vault can be kept there.
pub(super) async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let report = probe(&Vault::create(&arguments.vault).await?).await?;
    if arguments.json {
        line(&serde_json::to_string(&report)?);
        return Ok(report.usable());
    }
    for (what, honoured, otherwise) in report.findings() {
        if honoured {
            line(&format!("ok    {what}"));
        } else {
            line(&format!("FAIL  {what}: {otherwise}"));
        }
    }
    Ok(report.usable())
}
