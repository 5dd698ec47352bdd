//! A port that is open to callers: over plain TCP, or by TLS, with a certificate of their own or without.
//!
//! The agent's status and the vault's service are served at such ports. [`Door`] lets in, [`Identity`] is what it shows, and
//! [`Caller`] tells handlers who asks.

mod accept;
mod handshakes;
mod identity;
mod tls_files;

pub use accept::{Caller, Door, Stream};
pub use identity::Identity;
pub use tls_files::TlsFiles;
