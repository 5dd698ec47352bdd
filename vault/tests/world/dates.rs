//! Dates of a store with a clock of its own, for tests of locks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use revkeep_vault::lock::{Retention, RetentionDates};
use revkeep_vault::{ErrorKind, VaultError};

use super::clock::{Shared, View};

/// Dates as S3 keeps them: none gets earlier, no mode changes, without a bypass.
#[derive(Debug)]
pub(crate) struct Dates {
    view: Arc<View>,
    shared: Arc<Shared>,
    pub(crate) held: Mutex<BTreeMap<Path, Retention>>,
    set: Mutex<BTreeSet<Path>>,
    asked: AtomicUsize,
    /// Objects that no date is set on.
    pub(crate) refuses: Mutex<Option<Refusal>>,
    /// Objects whose dates cannot be read.
    pub(crate) unreadable: Mutex<Option<Refusal>>,
}

/// A part of the names of objects, and how what is asked of them fails.
pub(crate) type Refusal = (&'static str, ErrorKind);

impl Dates {
    pub(crate) fn new(view: &Arc<View>, shared: &Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            view: view.clone(),
            shared: shared.clone(),
            held: Mutex::default(),
            set: Mutex::default(),
            asked: AtomicUsize::new(0),
            refuses: Mutex::default(),
            unreadable: Mutex::default(),
        })
    }

    /// How often was asked, and what was set, since this was called last.
    pub(crate) fn take(&self) -> (usize, BTreeSet<Path>) {
        let set = std::mem::take(&mut *self.set.lock().unwrap());
        (self.asked.swap(0, Ordering::Relaxed), set)
    }

    /// The date of an object.
    pub(crate) fn of(&self, path: &Path) -> Option<Retention> {
        self.held.lock().unwrap().get(path).copied()
    }

    fn fails(which: &Mutex<Option<Refusal>>, object: &Path) -> Result<(), VaultError> {
        let named = *which.lock().unwrap();
        let named = named.filter(|(part, _)| object.as_ref().contains(part));
        named.map_or(Ok(()), |(_, kind)| {
            Err(VaultError::new(kind, "not this one"))
        })
    }

    async fn is_there(&self, object: &Path) -> Result<(), VaultError> {
        let there = self.view.head(object).await;
        there
            .map(|_| ())
            .map_err(|error| VaultError::new(ErrorKind::NotFound, error.to_string()))
    }
}

impl RetentionDates for Dates {
    fn get<'a>(&'a self, object: &'a Path) -> BoxFuture<'a, Result<Option<Retention>, VaultError>> {
        async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.is_there(object).await?;
            Self::fails(&self.unreadable, object)?;
            Ok(self.of(object))
        }
        .boxed()
    }

    fn set<'a>(
        &'a self,
        object: &'a Path,
        retention: Retention,
    ) -> BoxFuture<'a, Result<(), VaultError>> {
        async move {
            self.is_there(object).await?;
            Self::fails(&self.refuses, object)?;
            assert_eq!(retention.until.timestamp_subsec_nanos(), 0, "whole seconds");
            if let Some(held) = self
                .of(object)
                .filter(|held| held.until > self.shared.now())
            {
                assert!(
                    retention.until >= held.until,
                    "{object}: an earlier date was asked for"
                );
                assert!(
                    retention.mode >= held.mode,
                    "{object}: a weaker mode was asked for"
                );
                if retention.mode != held.mode {
                    return Err(VaultError::new(
                        ErrorKind::Refused,
                        "the mode of a date that stands is not changed",
                    ));
                }
            }
            self.held.lock().unwrap().insert(object.clone(), retention);
            self.set.lock().unwrap().insert(object.clone());
            Ok(())
        }
        .boxed()
    }
}
