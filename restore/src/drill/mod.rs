//! A drill: a revision is restored into a temporary folder, a server boots on it, and its HashKV is compared.
//!
//! Comes in: a cluster and a point in its history. Goes out: what was proved, as a [`Drilled`] that becomes a receipt.
//! Promises: what is wrong with the backup is told apart from what went wrong with the drill: the first is in
//! [`Drilled::failure`], the second an error. Never: anything outside of the folder; a process that stays.

mod boot;
mod compare;
mod draw;
mod drilled;
mod run;

pub use drilled::Drilled;
pub use run::{Drill, Which};
