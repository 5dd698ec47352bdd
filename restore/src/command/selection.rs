//! The arguments that say which keys are wanted.

use clap::{ArgGroup, Args};

use crate::past::Selection;

/// A key, a prefix, or all from a key on.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("keys").args(["key", "prefix", "from_key"])))]
pub(super) struct SelectionArguments {
    /// The key
    #[arg(value_name = "KEY")]
    key: Option<String>,
    /// All keys that begin with this; "" for all there are
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// This key and all behind it
    #[arg(long, value_name = "KEY")]
    from_key: Option<String>,
}

impl SelectionArguments {
    /// What is wanted; without any of them, everything.
    pub(super) fn selection(&self) -> Selection {
        let bytes = |text: &String| text.clone().into_bytes();
        if let Some(key) = &self.key {
            return Selection::Key(bytes(key));
        }
        match &self.from_key {
            Some(from) => Selection::From(bytes(from)),
            None => Selection::Prefix(self.prefix.as_ref().map(bytes).unwrap_or_default()),
        }
    }

    /// Whether one of them was given.
    pub(super) const fn is_given(&self) -> bool {
        self.key.is_some() || self.prefix.is_some() || self.from_key.is_some()
    }
}
