//! Invariant "every bit counts": whatever happens to any object of a vault, a restore gives the right result because it
//! did not need the object, or says what is wrong and leaves nothing. Never a wrong result.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and its helpers stand outside of test functions"
)]

mod attempt;
mod damage_at_random;
mod damage_of_every_kind;
mod goes_around;
mod small_vault;
