//! The etcd member that is read: how to reach it, what it is, and the few questions that the agent asks.

mod connection;
mod member;
mod unverified;
mod watching;

pub use connection::{Connection, Tls};
pub use member::{Identity, Member};
pub use watching::{Message, Watch};
