//! The etcd member that is read: how to reach it, what it is, and the few questions that the agent asks.

mod access;
mod condition;
mod connection;
mod denied;
mod member;
mod prefer;
mod unverified;
mod watching;

pub use access::{Access, Password, Tls, User};
pub(crate) use access::{certificates, read as read_file};
pub use condition::{Alarm, Condition, Listed};
pub use connection::Connection;
pub use member::{Identity, KeyAt, Member, TransactionAt};
pub use prefer::Prefer;
pub use watching::{Message, Watch};
