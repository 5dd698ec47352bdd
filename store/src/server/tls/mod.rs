//! TLS for clients and peers, with certificates that may be renewed while the member runs.

mod client;
mod files;
mod name;
mod reload;
mod server;

pub use client::TlsDial;
pub(super) use name::common_name;
pub(super) use server::acceptor;
