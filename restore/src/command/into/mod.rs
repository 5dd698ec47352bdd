//! `revkeep restore --into`: keys of a live cluster.

mod arguments;
mod report;
mod run;

pub(super) use arguments::IntoArguments;
pub(super) use run::{From, run};
