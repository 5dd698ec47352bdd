//! Who does what: of several services each piece of work is done by one.
//!
//! Where the catalog is shared, a row says who works on a job, until when at least. Where each service has a catalog of its
//! own, an object in the vault does: `service/{job}/{slot}`, put where nothing stands. Either only saves work: two that do
//! the same at once are slow and harmless.

mod database;
mod vault;

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::job::Job;
use crate::catalog::Catalog;
use crate::error::VaultError;
use crate::vault::Vault;

/// How long a row is held without being renewed.
pub(super) const LEASE: Duration = Duration::from_secs(120);

/// Where services agree.
#[derive(Clone, Debug)]
pub enum Claims {
    /// In a database that all of them share.
    Database(Catalog),
    /// In the vault.
    Vault(Vault),
}

impl Claims {
    /// In the database if others can share it, else in the vault.
    pub fn of(catalog: &Catalog, vault: &Vault) -> Self {
        if catalog.url().is_shared() {
            Self::Database(catalog.clone())
        } else {
            Self::Vault(vault.clone())
        }
    }

    /// Takes on what is due at a scheduled moment. `false` when another one has, or did a later one. In a database also when
    /// another one works on an earlier moment still; an object in the vault does not tell whether its holder lives, so there a
    /// later moment is granted beside it.
    ///
    /// # Errors
    /// As the database or the store fails.
    pub async fn claim(
        &self,
        job: Job,
        slot: DateTime<Utc>,
        holder: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, VaultError> {
        match self {
            Self::Database(catalog) => catalog.claim(job.name(), slot, holder, now).await,
            Self::Vault(vault) => vault::claim(vault, job, slot, holder).await,
        }
    }

    /// Says that it is still worked on. `false` when another one has taken it over.
    ///
    /// # Errors
    /// As the database or the store fails.
    pub async fn renew(
        &self,
        job: Job,
        slot: DateTime<Utc>,
        holder: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, VaultError> {
        match self {
            Self::Database(catalog) => catalog.renew(job.name(), slot, holder, now).await,
            Self::Vault(_) => Ok(true),
        }
    }

    /// Says that it is done, or given up if it is not: then another one may take it on.
    ///
    /// # Errors
    /// As the database or the store fails.
    pub async fn release(
        &self,
        job: Job,
        slot: DateTime<Utc>,
        holder: &str,
        done: bool,
    ) -> Result<(), VaultError> {
        match self {
            Self::Database(catalog) => catalog.release(job.name(), slot, holder, done).await,
            Self::Vault(vault) if done => vault::tidy(vault, job, slot).await,
            Self::Vault(vault) => vault::give_up(vault, job, slot).await,
        }
    }
}
