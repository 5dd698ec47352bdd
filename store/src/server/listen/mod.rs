//! The ports of a member.

mod connection;
mod network;
mod port;

pub(super) use connection::{ConnectionOptions, serve};
pub use network::{Accept, Listen};
pub(super) use port::{Port, bind};
