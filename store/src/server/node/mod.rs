//! A running member.

mod environment;
mod node;
mod start;

pub use environment::Environment;
pub use node::Node;
