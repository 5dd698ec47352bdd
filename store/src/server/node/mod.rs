//! A running member.

mod environment;
mod running;
mod start;
mod together;

pub use environment::Environment;
pub use running::Node;
pub use together::start_together;
