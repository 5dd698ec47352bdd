//! Proves a configuration end to end before anybody relies on it, and says what to mend.
//!
//! Comes in: the settings that `run` would have. Goes out: a [`Report`] of findings, each ok, a warning or a failure, with one
//! line of what to do. Promises: what it calls ok was tried. Never: a change to etcd; in the vault it makes what `run` would
//! make at its start, and the objects of a probe, which it removes where it may.
//! Read next: [`check()`] for the order, [`Finding`] for how it is told.

mod clock;
mod finding;
mod history;
mod machine;
mod members;
mod permissions;
mod releases;
mod source;
mod tls;
mod vault;

pub use finding::{Finding, Report, Verdict};

use revkeep_schemas::Revision;

use crate::AgentError;
use crate::config::Loaded;
use crate::source::{Identity, Member};

/// A member that answers, and what is known of its cluster.
struct Source {
    member: Member,
    identity: Identity,
    current: Option<Revision>,
}

/// Looks at everything.
///
/// # Errors
/// [`AgentError::Config`] when the settings do not fit together, so that nothing can be tried.
pub async fn check(loaded: &Loaded) -> Result<Report, AgentError> {
    let (route, options) = (loaded.route()?, loaded.options()?);
    let mut report = Report::default();
    machine::look(&route, &options, loaded, &mut report);
    let source = Box::pin(source::look(&route.connection, &options, &mut report)).await;
    Box::pin(vault::look(&route, source.as_ref(), &mut report)).await;
    machine::beside(&route, &mut report);
    Ok(report)
}
