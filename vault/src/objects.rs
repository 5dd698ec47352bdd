//! Puts and gets of whole objects, with the care that stores ask for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Error as StoreError, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    UpdateVersion,
};

use crate::buffers::Buffers;
use crate::error::{ErrorKind, VaultError};
use crate::fail_point;
use crate::fetched::take_all;
use crate::unproven::Unproven;

/// How often an object is read that looks damaged.
const READS: usize = 3;

/// An object of the vault that the store has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name, below the vault's prefix.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether it was there already, put by an earlier attempt whose answer was lost.
    pub existed: bool,
}

/// What a conditional put came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Created {
    /// The store took it.
    New,
    /// Something stands at that name.
    Exists,
}

/// What the store does, unless it takes longer than the deadline.
async fn within<T>(
    deadline: Duration,
    name: &str,
    request: impl Future<Output = Result<T, VaultError>>,
) -> Result<T, VaultError> {
    let answered = tokio::time::timeout(deadline, request).await;
    answered.unwrap_or_else(|_| {
        Err(VaultError::new(
            ErrorKind::Retry,
            format!("put {name}: the store did not answer within {deadline:?}; try again"),
        ))
    })
}

/// The objects beneath one prefix.
#[derive(Clone, Debug)]
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// What has to be true before anything is written, where that was not known at the start.
    unproven: Option<Arc<Unproven>>,
    /// What was read so far.
    traffic: Arc<Traffic>,
}

/// What was asked of the store to read, and came.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Traffic {
    fn add(&self, bytes: usize) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Requests and bytes.
    pub(crate) fn total(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.requests), read(&self.bytes))
    }
}

impl Objects {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self {
            store,
            prefix,
            unproven: None,
            traffic: Arc::default(),
        }
    }

    /// The same objects, into which nothing is written before that was proven.
    pub(crate) fn unproven(mut self, unproven: Unproven) -> Self {
        self.unproven = Some(Arc::new(unproven));
        self
    }

    /// What was read so far.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    async fn prove(&self) -> Result<(), VaultError> {
        match &self.unproven {
            Some(unproven) => unproven.prove(self).await,
            None => Ok(()),
        }
    }

    /// The whole path of a name.
    pub(crate) fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.prefix.clone(), Path::join)
    }

    /// Puts an object unless one is there. A store without conditions takes it as it is: names are unique.
    pub(crate) async fn create(&self, name: &str, bytes: Bytes) -> Result<Created, VaultError> {
        self.prove().await?;
        let path = self.path(name);
        let put = self
            .store
            .put_opts(&path, bytes.clone().into(), PutMode::Create.into())
            .await;
        match put {
            Ok(_) => Ok(Created::New),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
                Ok(Created::Exists)
            }
            Err(StoreError::NotImplemented { .. } | StoreError::NotSupported { .. }) => {
                let put = self.store.put(&path, bytes.into()).await;
                put.map(|_| Created::New)
                    .map_err(VaultError::store(format_args!("put {name}")))
            }
            Err(error) => Err(VaultError::store(format_args!("put {name}"))(error)),
        }
    }

    /// Puts an object whose name nobody else uses, and settles what a lost answer leaves open: where the put failed or
    /// the name was taken, the object is read back, and only the same bytes count as success.
    pub(crate) async fn put_unique(&self, name: &str, bytes: Bytes) -> Result<Stored, VaultError> {
        self.put_unique_within(name, bytes, Duration::MAX).await
    }

    /// The same, with a deadline for the put and as much again for reading back. A put that is given up may still be
    /// done by the store: reading back settles that now, and the next call does if it is done later.
    pub(crate) async fn put_unique_within(
        &self,
        name: &str,
        bytes: Bytes,
        deadline: Duration,
    ) -> Result<Stored, VaultError> {
        let stored = |existed| Stored {
            name: name.to_owned(),
            bytes: bytes.len() as u64,
            existed,
        };
        let creating = within(deadline, name, self.create(name, bytes.clone()));
        let failed = match creating.await {
            Ok(Created::New) => return Ok(stored(false)),
            Ok(Created::Exists) => None,
            Err(error) if error.kind() == ErrorKind::Retry => Some(error),
            Err(error) => return Err(error),
        };
        fail_point::reached("object.reading-back");
        let same = |there: Bytes| {
            if there == bytes {
                return Ok(());
            }
            Err(VaultError::new(
                ErrorKind::Corrupt,
                format!("put {name}: another object stands at this name, which must be unique"),
            ))
        };
        let there = within(deadline, name, self.get_as(name, same)).await;
        match (there, failed) {
            (Ok(()), _) => Ok(stored(true)),
            (Err(error), _) if error.kind() == ErrorKind::Corrupt => Err(error),
            (Err(_), Some(error)) => Err(error),
            (Err(error), None) => Err(VaultError::new(
                ErrorKind::Retry,
                format!(
                    "put {name}: the store says that it exists and does not give it; try again"
                ),
            )
            .with_source(error)),
        }
    }

    /// Puts an object over whatever is there. For the head, and to mend a damaged chunk by its own content.
    pub(crate) async fn replace(&self, name: &str, bytes: Bytes) -> Result<(), VaultError> {
        self.prove().await?;
        let put = self.store.put(&self.path(name), bytes.into()).await;
        put.map(|_| ())
            .map_err(VaultError::store(format_args!("put {name}")))
    }

    /// Puts an object over the version that the caller has seen; `None` for one that was not there. Where the store knows no
    /// such condition it is put over whatever is there. Gives the new version; `None` when another one stands there.
    pub(crate) async fn replace_version(
        &self,
        name: &str,
        bytes: Bytes,
        seen: Option<UpdateVersion>,
    ) -> Result<Option<UpdateVersion>, VaultError> {
        self.prove().await?;
        let path = self.path(name);
        let version = |put: object_store::PutResult| UpdateVersion {
            e_tag: put.e_tag,
            version: put.version,
        };
        let mode = match seen {
            None => PutMode::Create,
            // A store that gives no version cannot compare it.
            Some(seen) if seen.e_tag.is_none() && seen.version.is_none() => PutMode::Overwrite,
            Some(seen) => PutMode::Update(seen),
        };
        let put = self
            .store
            .put_opts(&path, bytes.clone().into(), mode.into())
            .await;
        match put {
            Ok(put) => Ok(Some(version(put))),
            Err(
                StoreError::AlreadyExists { .. }
                | StoreError::Precondition { .. }
                | StoreError::NotFound { .. },
            ) => Ok(None),
            Err(StoreError::NotImplemented { .. } | StoreError::NotSupported { .. }) => {
                let put = self.store.put(&path, bytes.into()).await;
                put.map(|put| Some(version(put)))
                    .map_err(VaultError::store(format_args!("put {name}")))
            }
            Err(error) => Err(VaultError::store(format_args!("put {name}"))(error)),
        }
    }

    /// The object and its version, or `None` if there is none.
    pub(crate) async fn find_version(
        &self,
        name: &str,
    ) -> Result<Option<(Bytes, UpdateVersion)>, VaultError> {
        let error = || VaultError::store(format!("get {name}"));
        let got = match self.store.get(&self.path(name)).await {
            Err(StoreError::NotFound { .. }) => return Ok(None),
            got => got.map_err(error())?,
        };
        let version = UpdateVersion {
            e_tag: got.meta.e_tag.clone(),
            version: got.meta.version.clone(),
        };
        Ok(Some((got.bytes().await.map_err(error())?, version)))
    }

    /// The whole object.
    pub(crate) async fn get(&self, name: &str) -> Result<Bytes, VaultError> {
        self.get_in(name, &Buffers::default()).await
    }

    /// The whole object, in one of these buffers.
    pub(crate) async fn get_in(&self, name: &str, buffers: &Buffers) -> Result<Bytes, VaultError> {
        let error = |error| VaultError::store(format_args!("get {name}"))(error).of_object(name);
        let got = self.store.get(&self.path(name)).await.map_err(error)?;
        let bytes = take_all(got, buffers).await.map_err(error)?;
        self.traffic.add(bytes.len());
        Ok(bytes)
    }

    /// The whole object, decoded. What looks damaged is read again, for it may have been damaged on its way.
    pub(crate) async fn get_as<T>(
        &self,
        name: &str,
        decode: impl Fn(Bytes) -> Result<T, VaultError>,
    ) -> Result<T, VaultError> {
        let mut reads = 1;
        loop {
            match decode(self.get(name).await?) {
                Err(error) if error.is_damage() && reads < READS => {
                    tracing::warn!(%error, "an object looks damaged, reading it again");
                    reads += 1;
                }
                decoded => return decoded,
            }
        }
    }

    /// The object, or `None` if there is none.
    pub(crate) async fn find(&self, name: &str) -> Result<Option<Bytes>, VaultError> {
        match self.get(name).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A part of the object, and the size of the whole.
    pub(crate) async fn get_part(
        &self,
        name: &str,
        range: GetRange,
    ) -> Result<(Bytes, u64), VaultError> {
        let error =
            |error| VaultError::store(format_args!("get a part of {name}"))(error).of_object(name);
        let options = GetOptions {
            range: Some(range),
            ..GetOptions::default()
        };
        let got = self
            .store
            .get_opts(&self.path(name), options)
            .await
            .map_err(error)?;
        let size = got.meta.size;
        let bytes = got.bytes().await.map_err(error)?;
        self.traffic.add(bytes.len());
        Ok((bytes, size))
    }

    /// Everything beneath a folder, with the path of the folder that names are relative to.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<ObjectMeta>, VaultError> {
        let listed = self.store.list(Some(&self.path(folder)));
        let all: Vec<_> = listed
            .boxed()
            .try_collect()
            .await
            .map_err(VaultError::store(format_args!("list {folder}")))?;
        self.traffic.add(0);
        Ok(all)
    }

    /// Everything beneath a folder, as the store gives it, page by page; with `after`, what sorts after that name.
    pub(crate) fn walk(
        &self,
        folder: &str,
        after: Option<&str>,
    ) -> BoxStream<'static, Result<ObjectMeta, VaultError>> {
        self.traffic.add(0);
        let path = self.path(folder);
        let listed = match after {
            Some(after) => self.store.list_with_offset(Some(&path), &self.path(after)),
            None => self.store.list(Some(&path)),
        };
        let what = format!("list {folder}");
        listed
            .map_err(move |error| VaultError::store(&what)(error))
            .boxed()
    }

    /// The names of the folders in a folder, sorted.
    pub(crate) async fn folders(&self, folder: &str) -> Result<Vec<String>, VaultError> {
        let listed = self
            .store
            .list_with_delimiter(Some(&self.path(folder)))
            .await
            .map_err(VaultError::store(format_args!("list {folder}")))?;
        self.traffic.add(0);
        let name = |path: Path| path.filename().map(str::to_owned);
        let mut names: Vec<_> = listed
            .common_prefixes
            .into_iter()
            .filter_map(name)
            .collect();
        names.sort();
        Ok(names)
    }

    /// An object's size, and when the store took it.
    pub(crate) async fn meta(&self, name: &str) -> Result<ObjectMeta, VaultError> {
        let meta = self.store.head(&self.path(name)).await;
        let meta = meta.map_err(VaultError::store(format_args!("look at {name}")))?;
        self.traffic.add(0);
        Ok(meta)
    }

    /// The store's clock: the time that it gives an object which is put for this and removed again.
    pub(crate) async fn now(&self) -> Result<DateTime<Utc>, VaultError> {
        let name = format!("probe/{:016x}/object", rand::random::<u64>());
        self.create(&name, Bytes::from_static(b"revkeep: what time is it?"))
            .await?;
        let meta = self.store.head(&self.path(&name)).await;
        let removed = self.remove(&name).await;
        let meta = meta.map_err(VaultError::store("ask the store for its time"))?;
        removed.map(|()| meta.last_modified)
    }

    /// Removes an object: one of a probe, a pin that a person takes back, or what retention deletes.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), VaultError> {
        let removed = self.store.delete(&self.path(name)).await;
        removed.map_err(VaultError::store(format_args!("remove {name}")))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use object_store::memory::InMemory;
    use revkeep_schemas::FormatError;

    use super::*;

    /// The bytes that say that an object is newer may be what is damaged.
    #[tokio::test]
    async fn what_looks_damaged_or_newer_is_read_again() {
        let objects = Objects::new(Arc::new(InMemory::new()), Path::from("v"));
        let stored = objects.create("one", Bytes::from_static(b"x"));
        stored.await.unwrap();
        let reads = async |wrong: &dyn Fn() -> VaultError, times: usize| {
            let read = Cell::new(0);
            let decode = |_| {
                read.set(read.get() + 1);
                if read.get() > times {
                    return Ok(());
                }
                Err(wrong())
            };
            let decoded = objects.get_as("one", decode).await;
            (decoded.is_ok(), read.get())
        };
        let newer = || VaultError::format("one")(FormatError::unsupported("object", "version 17"));
        let damaged = || VaultError::new(ErrorKind::Corrupt, "damaged");
        let denied = || VaultError::new(ErrorKind::Config, "denied");
        assert_eq!(reads(&newer, 1).await, (true, 2));
        assert_eq!(reads(&newer, 9).await, (false, READS));
        assert_eq!(reads(&damaged, 1).await, (true, 2));
        assert_eq!(reads(&denied, 1).await, (false, 1));
    }
}
