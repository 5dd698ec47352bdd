//! Sources over each other.

use super::origin::{Origin, Origins};
use super::settings::{Settings, each_setting};

/// Settings, and where each came from.
#[derive(Clone, Debug, Default)]
pub(super) struct Merged {
    /// The settings.
    pub(super) settings: Settings,
    /// By field.
    pub(super) origins: Origins,
}

impl Merged {
    /// Takes from the source what is not set yet; `origin` names the place of a field in it.
    pub(super) fn fill(&mut self, lower: Settings, origin: impl Fn(&'static str) -> Origin) {
        macro_rules! fill {
            ([] $($field:ident)*) => {
                // Whoever adds a setting and forgets it in the list is told by the compiler.
                let Settings { $($field),* } = lower;
                $(
                    if self.settings.$field.is_none() && $field.is_some() {
                        self.settings.$field = $field;
                        self.origins.insert(stringify!($field), origin(stringify!($field)));
                    }
                )*
            };
        }
        each_setting!(fill!());
    }
}

/// A setting that is another one now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The field.
    pub(super) field: &'static str,
    /// What it was and is, as text; without secrets.
    pub(super) from: String,
    /// What it is now.
    pub(super) to: String,
}

/// What differs, in the order of the settings.
pub(super) fn changes(from: &Settings, to: &Settings) -> Vec<Change> {
    let (before, after) = (texts(from), texts(to));
    let mut found = Vec::new();
    macro_rules! compare {
        ([] $($field:ident)*) => {$(
            if from.$field != to.$field {
                let name = stringify!($field);
                let text = |texts: &std::collections::BTreeMap<&str, String>| {
                    texts.get(name).cloned().unwrap_or_else(|| "(none)".to_owned())
                };
                found.push(Change { field: name, from: text(&before), to: text(&after) });
            }
        )*};
    }
    each_setting!(compare!());
    found
}

/// Every setting that has a value, as text; secrets are hidden.
pub(super) fn texts(settings: &Settings) -> std::collections::BTreeMap<&'static str, String> {
    let mut found = std::collections::BTreeMap::new();
    macro_rules! write {
        ([] $($field:ident)*) => {$(
            if let Some(value) = &settings.$field
                && let Ok(value) = serde_json::to_value(value)
            {
                let text = match value {
                    serde_json::Value::String(text) => text,
                    other => other.to_string(),
                };
                found.insert(stringify!($field), text);
            }
        )*};
    }
    each_setting!(write!());
    found
}
