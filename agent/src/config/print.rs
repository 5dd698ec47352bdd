//! Settings for eyes.

use super::load::Loaded;
use super::merge::texts;
use super::settings::{Settings, key};
use crate::AgentError;

/// As a configuration file; secrets are hidden, so that it can be shown to others.
///
/// # Errors
/// [`AgentError::Internal`] if a value cannot be written.
pub fn as_toml(settings: &Settings) -> Result<String, AgentError> {
    toml::to_string(settings)
        .map_err(|error| AgentError::Internal(format!("the settings as TOML: {error}")))
}

/// Logs each setting and where it came from.
pub fn tell(loaded: &Loaded) {
    for (field, value) in texts(&loaded.settings) {
        let from = loaded.origin(field).to_string();
        tracing::debug!(setting = key(field), value, from, "setting");
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::parse;
    use super::*;

    #[test]
    fn what_is_printed_is_read_again() {
        let mut settings = Settings {
            cluster: Some("prod".to_owned()),
            ..Settings::defaults()
        };
        let text = as_toml(&settings).unwrap();
        assert_eq!(parse("printed", &text).unwrap().settings, settings);
        settings.user = "root:secret".parse().ok();
        settings.password = "secret".parse().ok();
        let text = as_toml(&settings).unwrap();
        assert!(
            text.contains("user = \"root:") && !text.contains("secret"),
            "{text}"
        );
    }
}
