//! What the agent is told: flags, variables and a file, merged into one set of settings.
//!
//! Comes in: the command line, `REVKEEP_*`, etcdctl's `ETCDCTL_*`, and a TOML file whose keys are the flags' own words.
//! Goes out: [`Settings`] with a value for everything that has one, and from where each came. Promises: an earlier source
//! wins; an unknown key is an error with its place and the nearest known one; a secret is never shown. Never: a change by
//! halves, when the file is read again and is wrong.
//! Read next: [`Settings`] for all there is, [`load`] for how it is merged, [`Reloader`] for SIGHUP.

mod dial;
mod file;
mod load;
mod merge;
mod origin;
mod print;
mod reload;
mod resolve;
mod secret;
mod settings;
mod suggest;
mod values;
mod variables;

pub use dial::Dial;
pub use file::{ReadFile, read};
pub use load::{Loaded, Sources, load};
pub use origin::{Origin, Origins};
pub use print::{as_toml, tell};
pub use reload::Reloader;
pub use secret::{Login, Secret};
pub use settings::Settings;
pub use values::{Period, Size};
pub(crate) use variables::unknown as unknown_variables;
