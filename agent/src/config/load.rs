//! All sources together.

use std::path::PathBuf;

use super::file::{self, ReadFile};
use super::merge::Merged;
use super::origin::{Origin, Origins};
use super::settings::Settings;
use super::variables::{self, ETCDCTL};
use crate::AgentError;

/// What is merged, in the order of precedence.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Flags, and `REVKEEP_*` variables where there is no flag.
    pub given: Settings,
    /// Which of the two each is; by field.
    pub origins: Origins,
    /// The configuration file.
    pub file: Option<PathBuf>,
}

/// All settings, those that have a default with a value, and where each came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// By field.
    pub origins: Origins,
}

impl Loaded {
    /// Where a field came from.
    #[must_use]
    pub fn origin(&self, field: &str) -> Origin {
        self.origins.get(field).cloned().unwrap_or(Origin::Default)
    }
}

/// Merges them; `variable` gives etcdctl's variables.
///
/// # Errors
/// [`AgentError::Config`] for a file or a variable that is wrong.
pub fn load(
    sources: &Sources,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Loaded, AgentError> {
    let etcdctl = variables::etcdctl(variable)?;
    let file = match &sources.file {
        Some(path) => file::read(path)?,
        None => ReadFile::default(),
    };
    let mut merged = Merged::default();
    merged.fill(sources.given.clone(), |field| {
        sources.origins.get(field).cloned().unwrap_or(Origin::Flag)
    });
    merged.fill(etcdctl, |field| {
        debug_assert!(
            ETCDCTL.contains(&field),
            "{field} is no setting of etcdctl's"
        );
        Origin::Etcdctl(variables::name("ETCDCTL", field))
    });
    merged.fill(file.settings.clone(), |field| {
        Origin::File(variables::place(&file, field))
    });
    merged.fill(Settings::defaults(), |_| Origin::Default);
    Ok(Loaded {
        settings: merged.settings,
        origins: merged.origins,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Period;
    use super::*;

    fn seconds(seconds: u64) -> Period {
        Period(Duration::from_secs(seconds))
    }

    #[test]
    fn the_first_source_wins_and_each_value_knows_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(
            &path,
            "dial-timeout = '40s'\ncommand-timeout = '41s'\nflush-interval = '42s'\nvault = 'file:///v'\n",
        )
        .unwrap();
        let mut sources = Sources {
            given: Settings {
                dial_timeout: Some(seconds(1)),
                grace: Some(seconds(2)),
                ..Settings::default()
            },
            file: Some(path.clone()),
            ..Sources::default()
        };
        let grace = Origin::Variable("REVKEEP_GRACE".to_owned());
        sources.origins.insert("grace", grace.clone());
        let variable = |name: &str| match name {
            "ETCDCTL_DIAL_TIMEOUT" => Some("20s".to_owned()),
            "ETCDCTL_COMMAND_TIMEOUT" => Some("21s".to_owned()),
            "ETCDCTL_ENDPOINTS" => Some("b:1, c:1".to_owned()),
            _ => None,
        };
        let loaded = load(&sources, variable).unwrap();
        let settings = &loaded.settings;
        assert_eq!(settings.dial_timeout, Some(seconds(1)));
        assert_eq!(loaded.origin("dial_timeout"), Origin::Flag);
        assert_eq!(settings.grace, Some(seconds(2)));
        assert_eq!(loaded.origin("grace"), grace);
        assert_eq!(settings.command_timeout, Some(seconds(21)));
        assert_eq!(
            loaded.origin("command_timeout"),
            Origin::Etcdctl("ETCDCTL_COMMAND_TIMEOUT".to_owned())
        );
        assert_eq!(settings.endpoints.as_deref().unwrap(), ["b:1", "c:1"]);
        assert_eq!(settings.flush_interval, Some(seconds(42)));
        assert_eq!(
            loaded.origin("flush_interval"),
            Origin::File(format!("{}:3", path.display()))
        );
        assert_eq!(settings.catch_up_limit, Some(100_000));
        assert_eq!(loaded.origin("catch_up_limit"), Origin::Default);
    }
}
