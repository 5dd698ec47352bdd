//! The ports of a member.

mod connection;
mod port;

pub(super) use connection::{ConnectionOptions, serve};
pub(super) use port::{Port, bind};
