//! What people and scripts read.

use std::error::Error;
use std::io::Write;

use clap::ValueEnum;
use revkeep_schemas::manifest::BaseManifest;
use serde_json::json;

use crate::AgentError;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For eyes.
    Simple,
    /// For scripts.
    Json,
}

/// Prints what a base holds.
pub(super) fn base(manifest: &BaseManifest, json: bool) -> Result<(), AgentError> {
    let hash = manifest.facts.checkpoint.map(|checkpoint| checkpoint.hash);
    let text = if json {
        json!({
            "revision": manifest.facts.revision,
            "compact_revision": manifest.facts.compact_revision,
            "rows": manifest.rows,
            "plain_bytes": manifest.plain_bytes,
            "stored_bytes": manifest.stored_bytes,
            "chunks": manifest.chunks.len(),
            "hash_kv": hash,
        })
        .to_string()
    } else {
        format!(
            "revision          {}\ncompact revision  {}\nrows              {}\nbytes             {}\nbytes stored      {}\nHashKV            {}",
            manifest.facts.revision,
            manifest.facts.compact_revision,
            manifest.rows,
            manifest.plain_bytes,
            manifest.stored_bytes,
            hash.map_or("not known".to_owned(), |hash| format!("{hash:08x}")),
        )
    };
    writeln!(std::io::stdout().lock(), "{text}").map_err(AgentError::io("write to stdout"))
}

/// Prints an error and its causes to stderr.
pub fn report(error: &AgentError, json: bool) {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let text = source.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        cause = source.source();
    }
    let line = if json {
        json!({ "error": message, "exit_code": error.exit_code() }).to_string()
    } else {
        format!("error: {message}")
    };
    // Where stderr is closed, the exit code still tells.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
