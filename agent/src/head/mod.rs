//! How far the vault reaches, and the one mutable object that says so.

mod front;
mod keeper;

pub use front::Front;
pub use keeper::{HeadKeeper, Standing};
