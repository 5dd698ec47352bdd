//! A vault: opened, made, and asked for its clusters.

use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use revkeep_schemas::envelope::{self, Identity, Kind};
use revkeep_schemas::manifest::VaultFormat;
use revkeep_schemas::names::{ClusterName, VaultId};
use revkeep_schemas::{FormatError, Revision};

use crate::backend::{self, Backend};
use crate::cache::IndexCache;
use crate::cluster::Cluster;
use crate::error::{ErrorKind, VaultError};
use crate::fail_point;
use crate::lock::{Locks, RetentionDates};
use crate::objects::{Created, Objects};
use crate::unproven::Unproven;

/// The name of the object that says what this vault is.
pub(crate) const FORMAT: &str = "FORMAT";
const WRITER: &str = concat!("revkeep-vault ", env!("CARGO_PKG_VERSION"));

/// One prefix of an object store that holds any number of clusters. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Vault {
    pub(crate) objects: Objects,
    pub(crate) id: VaultId,
    pub(crate) writer: Arc<str>,
    pub(crate) cache: Option<Arc<IndexCache>>,
    /// Which store it is in, and where: a copy elsewhere has the same id.
    pub(crate) place: Arc<str>,
    /// Where the store knows retain-until dates.
    pub(crate) locks: Option<Arc<Locks>>,
}

impl Vault {
    /// Opens the vault at a URL, and makes it where there is none: `file:///dir`, `memory:` (a new, empty one each
    /// time), or `s3://bucket/prefix?endpoint=…&region=…` with credentials from the environment.
    ///
    /// # Errors
    /// `Config` for a URL, credentials or permissions that do not work, `Corrupt` for a damaged `FORMAT`.
    pub async fn create(url: &str) -> Result<Self, VaultError> {
        let Backend {
            store,
            prefix,
            place,
            dates,
        } = backend::open(url, true).await?;
        let vault = Self::create_with_store(store, prefix).await?;
        Ok(vault.at(&place).with_dates(dates))
    }

    /// Opens the vault at a URL; writes nothing.
    ///
    /// # Errors
    /// `NotFound` where there is none, and as [`Vault::create`].
    pub async fn open(url: &str) -> Result<Self, VaultError> {
        let backend = backend::open(url, false).await?;
        let objects = Objects::new(Arc::clone(&backend.store), backend.prefix.clone());
        let id = id_of(&objects).await.map_err(none_at(url))?;
        Ok(Self::of_id(objects, id, &backend.place).with_dates(backend.dates))
    }

    /// [`Vault::open`], and the names of its [clusters](Vault::clusters): both are asked for at once, for a command that a person
    /// waits for.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub async fn open_with_clusters(url: &str) -> Result<(Self, Vec<ClusterName>), VaultError> {
        let backend = backend::open(url, false).await?;
        let objects = Objects::new(Arc::clone(&backend.store), backend.prefix.clone());
        let (id, names) = tokio::join!(id_of(&objects), clusters_of(&objects));
        let id = id.map_err(none_at(url))?;
        let vault = Self::of_id(objects, id, &backend.place).with_dates(backend.dates);
        Ok((vault, names?))
    }

    /// The vault at a URL, of which the id is known from before, without asking the store: for a writer that starts
    /// while the store is away. Before the first object is written, the vault is asked for its id; if it is another
    /// one, every write is refused.
    ///
    /// # Errors
    /// `Config` for a URL or credentials that do not work, `NotFound` for a folder that is not there.
    pub async fn known(url: &str, id: VaultId) -> Result<Self, VaultError> {
        let Backend {
            store,
            prefix,
            place,
            ..
        } = backend::open(url, false).await?;
        Ok(Self::known_with_store(store, prefix, id).at(&place))
    }

    /// [`Vault::known`] at a prefix of a store that the caller has made.
    pub fn known_with_store(store: Arc<dyn ObjectStore>, prefix: Path, id: VaultId) -> Self {
        let place = prefix.clone();
        let objects = Objects::new(store, prefix).unproven(Unproven::new(id));
        Self::of_id(objects, id, place.as_ref())
    }

    /// Opens the vault at a prefix of a store that the caller has made; writes nothing.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub async fn with_store(store: Arc<dyn ObjectStore>, prefix: Path) -> Result<Self, VaultError> {
        let place = prefix.clone();
        let objects = Objects::new(store, prefix);
        let id = id_of(&objects).await?;
        Ok(Self::of_id(objects, id, place.as_ref()))
    }

    fn of_id(objects: Objects, id: VaultId, place: &str) -> Self {
        Self {
            place: place.into(),
            objects,
            id,
            writer: WRITER.into(),
            cache: None,
            locks: None,
        }
    }

    /// Opens the vault at a prefix of a store, and makes it where there is none.
    ///
    /// # Errors
    /// As [`Vault::create`].
    pub async fn create_with_store(
        store: Arc<dyn ObjectStore>,
        prefix: Path,
    ) -> Result<Self, VaultError> {
        match Self::with_store(store.clone(), prefix.clone()).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => return other,
        }
        let identity = identity(VaultId(rand::random()));
        let object = envelope::seal(&identity, "revkeep-vault", &VaultFormat::default().encode());
        let objects = Objects::new(store.clone(), prefix.clone());
        fail_point::reached("vault.making");
        // Whoever came first made it: what is there now is the vault.
        let (Created::New | Created::Exists) = objects.create(FORMAT, object).await?;
        fail_point::reached("vault.made");
        Self::with_store(store, prefix).await
    }

    fn at(mut self, place: &str) -> Self {
        self.place = place.into();
        self
    }

    /// Names the writer that stands in every object, for people: program, version, host.
    #[must_use]
    pub fn with_writer(mut self, writer: &str) -> Self {
        self.writer = writer.into();
        self
    }

    /// Says how the dates of its objects are read and set, for a store that the caller has made; see [`crate::lock`].
    #[must_use]
    pub fn with_retention_dates(self, dates: Arc<dyn RetentionDates>) -> Self {
        self.with_dates(Some(dates))
    }

    fn with_dates(mut self, dates: Option<Arc<dyn RetentionDates>>) -> Self {
        self.locks = dates.map(|dates| Arc::new(Locks::of(dates)));
        self
    }

    /// Keeps indexes that were read in a local folder, so that they are not fetched again.
    #[must_use]
    pub fn with_cache(mut self, cache: IndexCache) -> Self {
        self.cache = Some(Arc::new(cache));
        self
    }

    /// How many requests for reading were answered so far, through this and its clones, and with how many bytes.
    pub fn traffic(&self) -> (u64, u64) {
        self.objects.traffic().total()
    }

    /// The vault's id.
    pub fn id(&self) -> VaultId {
        self.id
    }

    /// A cluster of this name, whether anything of it is there or not.
    pub fn cluster(&self, name: &ClusterName) -> Cluster {
        Cluster {
            vault: self.clone(),
            name: name.clone(),
            marks: Arc::default(),
        }
    }

    /// The names of all clusters of which something is there, sorted.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn clusters(&self) -> Result<Vec<ClusterName>, VaultError> {
        clusters_of(&self.objects).await
    }
}

async fn clusters_of(objects: &Objects) -> Result<Vec<ClusterName>, VaultError> {
    let names = objects.folders("clusters").await?;
    let names = names.into_iter();
    Ok(names
        .filter_map(|name| ClusterName::new(name).ok())
        .collect())
}

/// Says so where there is no vault.
fn none_at(url: &str) -> impl FnOnce(VaultError) -> VaultError {
    move |error| match error.kind() {
        ErrorKind::NotFound => {
            VaultError::new(ErrorKind::NotFound, format!("there is no vault at {url}"))
                .with_source(error)
        }
        _ => error,
    }
}

/// The id of the vault, as it says itself.
pub(crate) async fn id_of(objects: &Objects) -> Result<VaultId, VaultError> {
    let decode = |object: Bytes| {
        let (envelope, body) = envelope::open_any(&object, Kind::Format)?;
        VaultFormat::decode(&body)?;
        let id = envelope.identity.vault;
        envelope.expect(&identity(id))?;
        Ok::<_, FormatError>(id)
    };
    objects
        .get_as(FORMAT, |object| {
            decode(object).map_err(VaultError::format(FORMAT))
        })
        .await
}

fn identity(vault: VaultId) -> Identity {
    Identity {
        kind: Kind::Format,
        vault,
        cluster: None,
        timeline: None,
        first: Revision::ZERO,
        last: Revision::ZERO,
        level: 0,
        name: String::new(),
    }
}
