//! Who may do what: users, roles, rights on ranges of keys, and the tokens that prove a login.
//!
//! Comes in: applied changes of users and roles, and requests with tokens. Goes out: yes, or etcd's own error. Promises:
//! every member decides alike, because every decision that counts is made where the log is applied; the buckets `auth`,
//! `authUsers` and `authRoles` are etcd's, so a database goes both ways with its users. Never: a password in the log or in
//! memory for longer than a login; a hash computed on an async thread.

mod change;
mod info;
mod login;
mod password;
mod permission;
mod query;
mod request;
mod state;
pub mod token;

#[cfg(test)]
mod tests;

pub use info::AuthInfo;
pub use login::Auth;
pub use password::BcryptCost;
pub use permission::{Access, Permissions};
pub use request::LeaseKeys;

/// The user who may do everything, and the role that lets one.
pub const ROOT: &str = "root";
