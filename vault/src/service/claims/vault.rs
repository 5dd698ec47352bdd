//! Claims as objects: `service/{job}/{slot}`, the slot in seconds since 1970 with 12 digits.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;

use super::super::job::Job;
use crate::error::{ErrorKind, VaultError};
use crate::objects::Created;
use crate::vault::Vault;

fn name(job: Job, slot: DateTime<Utc>) -> String {
    format!("service/{job}/{:012}", slot.timestamp())
}

pub(super) async fn claim(
    vault: &Vault,
    job: Job,
    slot: DateTime<Utc>,
    holder: &str,
) -> Result<bool, VaultError> {
    // Whoever did a later one has removed this one's object, if there was one.
    let mut later = vault
        .objects
        .walk(&format!("service/{job}"), Some(&name(job, slot)));
    if later.try_next().await?.is_some() {
        return Ok(false);
    }
    let body = Bytes::from(holder.to_owned());
    match vault.objects.create(&name(job, slot), body).await? {
        Created::New => Ok(true),
        Created::Exists => Ok(false),
    }
}

/// Removes the objects of earlier slots: the newest alone says what is done.
pub(super) async fn tidy(vault: &Vault, job: Job, slot: DateTime<Utc>) -> Result<(), VaultError> {
    let folder = format!("service/{job}");
    let newest = vault.objects.path(&name(job, slot));
    for meta in vault.objects.list(&folder).await? {
        if meta.location < newest
            && let Some(file) = meta.location.filename()
        {
            gone(vault.objects.remove(&format!("{folder}/{file}")).await)?;
        }
    }
    Ok(())
}

/// Lets another one take it on.
pub(super) async fn give_up(
    vault: &Vault,
    job: Job,
    slot: DateTime<Utc>,
) -> Result<(), VaultError> {
    gone(vault.objects.remove(&name(job, slot)).await)
}

/// What another one has removed is as good.
fn gone(removed: Result<(), VaultError>) -> Result<(), VaultError> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
