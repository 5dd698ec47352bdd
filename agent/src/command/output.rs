//! What people and scripts read.

use std::error::Error;
use std::io::Write;

use chrono::Utc;
use clap::ValueEnum;
use revkeep_schemas::agent_api::{SnapshotResponse, StatusResponse};
use serde_json::json;

use crate::AgentError;
use crate::check::Report;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For eyes.
    Simple,
    /// For scripts.
    Json,
}

/// Prints what a base holds.
pub(super) fn base(base: &SnapshotResponse, json: bool) -> Result<(), AgentError> {
    let text = if json {
        json!({
            "revision": base.revision,
            "compact_revision": base.compact_revision,
            "rows": base.rows,
            "plain_bytes": base.plain_bytes,
            "stored_bytes": base.stored_bytes,
            "chunks": base.chunks,
            "hash_kv": base.hash_kv,
        })
        .to_string()
    } else {
        format!(
            "revision          {}\ncompact revision  {}\nrows              {}\nbytes             {}\nbytes stored      {}\nHashKV            {}",
            base.revision,
            base.compact_revision,
            base.rows,
            base.plain_bytes,
            base.stored_bytes,
            base.hash_kv
                .map_or("not known".to_owned(), |hash| format!("{hash:08x}")),
        )
    };
    line(&text)
}

/// Prints the revision up to which everything is durable.
pub(super) fn durable(revision: i64, json: bool) -> Result<(), AgentError> {
    if json {
        return line(&json!({ "durable_revision": revision }).to_string());
    }
    line(&format!("durable revision  {revision}"))
}

/// Prints how a running agent is.
pub(super) fn status(status: &StatusResponse, json: bool) -> Result<(), AgentError> {
    if json {
        return line(&super::status::as_json(status).to_string());
    }
    line(&super::status::as_text(status, Utc::now()))
}

/// Prints what was found; what failed ends the process with its code.
pub(super) fn checked(report: &Report, json: bool) -> Result<(), AgentError> {
    if json {
        line(&report.as_json().to_string())?;
    } else {
        line(&report.as_text())?;
    }
    match report.exit_code() {
        0 => Ok(()),
        code => Err(AgentError::Checked { code }),
    }
}

pub(super) fn line(text: &str) -> Result<(), AgentError> {
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
