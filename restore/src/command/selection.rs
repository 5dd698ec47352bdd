//! The arguments that say which keys are wanted.

use clap::{ArgGroup, Args};

use crate::error::{Kind, RestoreError};
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
    /// What is wanted.
    ///
    /// # Errors
    /// [`Kind::Invalid`] without any of them: all that there is must be asked for.
    pub(super) fn selection(&self) -> Result<Selection, RestoreError> {
        let bytes = |text: &String| text.clone().into_bytes();
        match (&self.key, &self.from_key, &self.prefix) {
            (Some(key), ..) => Ok(Selection::Key(bytes(key))),
            (None, Some(from), _) => Ok(Selection::From(bytes(from))),
            (None, None, Some(prefix)) => Ok(Selection::Prefix(bytes(prefix))),
            (None, None, None) => Err(RestoreError::new(
                Kind::Invalid,
                "no key is named. Try: a KEY, --prefix PREFIX, or --prefix '' for all",
            )),
        }
    }
}
