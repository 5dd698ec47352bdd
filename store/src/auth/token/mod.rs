//! Proofs that a password was right, sent with every later request.

mod jwt;
mod options;
mod provider;
mod simple;

pub use jwt::{JwtTokens, UnixClock};
pub use options::{JwtOptions, TokenOptions};
pub use provider::Tokens;
pub use simple::SimpleTokens;
