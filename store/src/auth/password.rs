//! Passwords: bcrypt, off the async threads, because one hash costs tens of milliseconds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::error::{Result, StoreError};
use crate::executor::Executor;

/// The most bytes that bcrypt looks at.
const LONGEST: usize = 72;

/// The cost of bcrypt: each step up doubles the time of a login (`--bcrypt-cost`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BcryptCost(u32);

impl BcryptCost {
    /// etcd's default, as Go's bcrypt has it.
    pub const DEFAULT: Self = Self(10);

    /// A cost from 4 to 31; anything else becomes the default, with a warning, as in etcd (`server/auth/store.go`).
    pub fn new(cost: u32) -> Self {
        if (4..=31).contains(&cost) {
            return Self(cost);
        }
        tracing::warn!(
            given = cost,
            used = Self::DEFAULT.0,
            "the bcrypt cost must be from 4 to 31"
        );
        Self::DEFAULT
    }
}

impl Default for BcryptCost {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Hashes a password and gives the hash in base64, as requests carry it through the log.
///
/// # Errors
/// A password of more than 72 bytes, with the text of Go's bcrypt, which etcd passes on.
pub(super) async fn hash(password: String, cost: BcryptCost, executor: Executor) -> Result<String> {
    if password.len() > LONGEST {
        return Err(StoreError::internal(
            "bcrypt: password length exceeds 72 bytes",
        ));
    }
    let hashed = executor
        .run(move || bcrypt::hash_with_result(password, cost.0))
        .await?;
    let parts =
        hashed.map_err(|error| StoreError::internal_from("cannot hash a password", error))?;
    // Go's bcrypt writes and reads this version of the format.
    Ok(STANDARD.encode(parts.format_for_version(bcrypt::Version::TwoA)))
}

/// The hash that a request carries; an empty text is an empty hash, which no password fits.
pub(super) fn decode(hashed: &str) -> Option<Bytes> {
    STANDARD.decode(hashed).ok().map(Bytes::from)
}

/// Whether a password fits a stored hash. A stored value that is no hash fits no password.
///
/// # Errors
/// Only when the thread that computes it dies.
pub(super) async fn fits(password: String, stored: Bytes, executor: Executor) -> Result<bool> {
    let verify = move || {
        std::str::from_utf8(&stored)
            .is_ok_and(|stored| bcrypt::verify(password, stored).unwrap_or(false))
    };
    executor.run(verify).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: BcryptCost = BcryptCost(4);

    #[tokio::test]
    async fn a_password_fits_its_hash_alone() {
        let hashed = decode(
            &hash("s3cret".to_owned(), CHEAP, Executor::Threads)
                .await
                .unwrap(),
        )
        .unwrap();
        assert!(hashed.starts_with(b"$2a$04$"), "{hashed:?}");
        assert_eq!(hashed.len(), 60);
        assert!(
            fits("s3cret".to_owned(), hashed.clone(), Executor::Threads)
                .await
                .unwrap()
        );
        assert!(
            !fits("s3cret ".to_owned(), hashed, Executor::Threads)
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn what_is_no_hash_fits_nothing() {
        for stored in ["", "x", "$2a$04$short", "\u{fc}"] {
            assert!(
                !fits(String::new(), stored.into(), Executor::Threads)
                    .await
                    .unwrap()
            );
        }
        assert!(decode("?").is_none());
    }

    /// Made by Go's golang.org/x/crypto/bcrypt for the password `allmine`, and published in its tests.
    #[tokio::test]
    async fn a_hash_that_go_made_is_read() {
        let stored = "$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga";
        assert!(
            fits("allmine".to_owned(), stored.into(), Executor::Threads)
                .await
                .unwrap()
        );
        assert!(
            !fits("allyours".to_owned(), stored.into(), Executor::Threads)
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn a_long_password_is_refused_rather_than_cut() {
        assert!(hash("x".repeat(72), CHEAP, Executor::Threads).await.is_ok());
        let error = hash("x".repeat(73), CHEAP, Executor::Threads)
            .await
            .unwrap_err();
        assert_eq!(error.message(), "bcrypt: password length exceeds 72 bytes");
    }

    #[test]
    fn an_impossible_cost_becomes_the_default() {
        assert_eq!(BcryptCost::new(3), BcryptCost::DEFAULT);
        assert_eq!(BcryptCost::new(32), BcryptCost::DEFAULT);
        assert_eq!(BcryptCost::new(4), CHEAP);
    }
}
