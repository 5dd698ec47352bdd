//! The handle of a catalog.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;

use super::database::{Access, CatalogUrl, Pool, Transaction};
use crate::error::{ErrorKind, VaultError};
use revkeep_schemas::names::VaultId;

/// A catalog. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Catalog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    url: CatalogUrl,
    pool: RwLock<Pool>,
    /// One writer at a time in this process; other processes wait in the database.
    writing: Mutex<()>,
    /// Which file was opened.
    file: RwLock<Option<FileId>>,
}

/// The device and number of a file.
type FileId = (u64, u64);

impl Catalog {
    /// Opens a catalog to be written, and makes it where there is none.
    ///
    /// # Errors
    /// `Config` for an address, user or password that does not work, or a catalog of a newer version; `Retry` when the
    /// database cannot be reached.
    pub async fn open(url: &CatalogUrl) -> Result<Self, VaultError> {
        Self::with(url, Access::Write).await
    }

    /// Opens a catalog to be asked.
    ///
    /// # Errors
    /// `NotFound` where there is none, and as [`Catalog::open`].
    pub async fn read_only(url: &CatalogUrl) -> Result<Self, VaultError> {
        Self::with(url, Access::Read).await
    }

    async fn with(url: &CatalogUrl, access: Access) -> Result<Self, VaultError> {
        let pool = Pool::open(url, access).await?;
        let inner = Inner {
            file: RwLock::new(file_id(url)),
            url: url.clone(),
            pool: RwLock::new(pool),
            writing: Mutex::new(()),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Where it is; shows no password.
    pub fn url(&self) -> &CatalogUrl {
        &self.inner.url
    }

    fn pool(&self) -> Pool {
        let pool = self.inner.pool.read();
        pool.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A transaction that sees one moment.
    pub(super) async fn reading(&self) -> Result<Transaction, VaultError> {
        let begun = self.pool().read().await;
        begun.map_err(|error| error.about(&self.inner.url))
    }

    /// A transaction that writes, when it is this one's turn.
    pub(super) async fn writing(&self) -> Result<Writing<'_>, VaultError> {
        let turn = self.inner.writing.lock().await;
        let begun = self.pool().write().await;
        let tx = begun.map_err(|error| error.about(&self.inner.url))?;
        Ok(Writing { tx, _turn: turn })
    }

    /// Makes what was removed while it was in use again: the file, or tables on the server.
    ///
    /// # Errors
    /// As [`Catalog::open`].
    pub(super) async fn revive(&self) -> Result<(), VaultError> {
        let was = *self
            .inner
            .file
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if self.inner.url.file().is_some() && was != file_id(&self.inner.url) {
            tracing::warn!(catalog = %self.inner.url, "the catalog's file was removed or replaced, it is opened again");
            let fresh = Pool::open(&self.inner.url, Access::Write).await?;
            let old = {
                let mut pool = self
                    .inner
                    .pool
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                std::mem::replace(&mut *pool, fresh)
            };
            *self
                .inner
                .file
                .write()
                .unwrap_or_else(PoisonError::into_inner) = file_id(&self.inner.url);
            // Whoever still asks the old one is answered first.
            tokio::spawn(async move { old.close().await });
            return Ok(());
        }
        let ready = self.pool().migrate().await;
        ready.map_err(|error| error.about(&self.inner.url))
    }

    /// Makes one change; how many rows it has changed.
    pub(crate) async fn change(
        &self,
        sql: &'static str,
        values: &[super::database::Value<'_>],
    ) -> Result<u64, VaultError> {
        let mut writing = self.writing().await?;
        let changed = writing.tx.execute(sql, values).await?;
        writing.commit().await?;
        Ok(changed)
    }

    /// Notes which vault this is the catalog of.
    ///
    /// # Errors
    /// `Refused` when it is another one's.
    pub(super) async fn belongs_to(&self, vault: VaultId) -> Result<(), VaultError> {
        let mut writing = self.writing().await?;
        let tx = &mut writing.tx;
        let id = vault.to_string();
        let known = tx.one("SELECT id FROM vault", &[]).await?;
        match known.map(|row| row.text(0)).transpose()? {
            Some(known) if known == id => Ok(()),
            Some(known) => Err(VaultError::new(
                ErrorKind::Refused,
                format!(
                    "{}: it is the catalog of the vault {known}, not of {id}: give another one by --catalog",
                    self.inner.url
                ),
            )),
            None => {
                let sql = "INSERT INTO vault (id) VALUES ($1) ON CONFLICT DO NOTHING";
                tx.execute(sql, &[(&id).into()]).await?;
                writing.commit().await
            }
        }
    }

    /// Ends all connections; open questions are answered first.
    pub async fn close(&self) {
        self.pool().close().await;
    }
}

/// A transaction that writes, with the turn to do so.
pub(super) struct Writing<'a> {
    pub(super) tx: Transaction,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

impl Writing<'_> {
    /// Makes what it did count.
    pub(super) async fn commit(self) -> Result<(), VaultError> {
        self.tx.commit().await
    }
}

fn file_id(url: &CatalogUrl) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt as _;
    let about = std::fs::metadata(url.file()?).ok()?;
    Some((about.dev(), about.ino()))
}
