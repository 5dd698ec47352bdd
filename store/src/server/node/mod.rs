//! A running member.

mod environment;
mod node;
mod start;
mod together;

pub use environment::Environment;
pub use node::Node;
pub use together::start_together;
