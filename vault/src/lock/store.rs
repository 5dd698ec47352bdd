//! The part of an object store that knows dates.

use std::fmt::Debug;
use std::sync::Arc;

use futures::future::BoxFuture;
use object_store::path::Path;

use super::known::KnownDates;
use super::rule::Retention;
use crate::error::VaultError;

/// Reads and sets the retain-until dates of whole objects, by their whole paths.
///
/// Errors of both say by their kind what is wrong: `Config`: dates cannot be used here at all, whatever the object;
/// `NotFound`: the object is not there; `Refused`: the store does not read or set the date of this object; `Retry`: the
/// store failed.
pub trait RetentionDates: Debug + Send + Sync {
    /// The date of an object; `None` where it never had one.
    fn get<'a>(&'a self, object: &'a Path) -> BoxFuture<'a, Result<Option<Retention>, VaultError>>;

    /// Sets the date of an object, in whole seconds. It must not bypass a date that stands there.
    fn set<'a>(
        &'a self,
        object: &'a Path,
        retention: Retention,
    ) -> BoxFuture<'a, Result<(), VaultError>>;
}

/// The dates of a vault's objects, and what is known of them.
#[derive(Debug)]
pub(crate) struct Locks {
    pub(crate) dates: Arc<dyn RetentionDates>,
    pub(crate) known: KnownDates,
}

impl Locks {
    pub(crate) fn of(dates: Arc<dyn RetentionDates>) -> Self {
        Self {
            dates,
            known: KnownDates::default(),
        }
    }
}
