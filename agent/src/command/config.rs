//! `config check` and `config print`.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::output::line;
use crate::AgentError;
use crate::config::{Loaded, Sources, as_toml, load, read};

/// Checks one file alone: what it says, and that it fits together.
pub(super) fn check(file: &Path, json: bool) -> Result<(), AgentError> {
    let keys = read(file)?.places.len();
    let sources = Sources {
        file: Some(PathBuf::from(file)),
        ..Sources::default()
    };
    let loaded = load(&sources, |_| None)?;
    loaded.options()?;
    // Name and place of the backup may come from elsewhere.
    loaded.connection()?;
    if json {
        return line(&json!({ "file": file, "settings": keys, "ok": true }).to_string());
    }
    let name = file.display();
    line(&format!("{name}: ok, {keys} settings"))
}

/// Prints the settings that count.
pub(super) fn print(loaded: &Loaded, json: bool) -> Result<(), AgentError> {
    if json {
        let value = serde_json::to_value(&loaded.settings);
        let mut value = value.map_err(|error| AgentError::Internal(error.to_string()))?;
        if let Some(map) = value.as_object_mut() {
            map.retain(|_, value| !value.is_null());
        }
        return line(&value.to_string());
    }
    line(as_toml(&loaded.settings)?.trim_end())
}
