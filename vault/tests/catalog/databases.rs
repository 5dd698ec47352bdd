//! The databases that every test runs with.

use revkeep_harness::Postgres;
use revkeep_vault::catalog::{Catalog, CatalogUrl};

use crate::history::World;

/// A place for catalogs, each test in one of its own.
pub(crate) enum Database {
    Sqlite(tempfile::TempDir),
    Postgres(Box<Postgres>),
}

impl Database {
    /// SQLite, and PostgreSQL where it is installed.
    pub(crate) async fn all() -> Vec<Self> {
        let mut all = vec![Self::Sqlite(tempfile::tempdir().unwrap())];
        let server = Postgres::start().await.unwrap();
        all.extend(server.map(|server| Self::Postgres(Box::new(server))));
        all
    }

    /// The address of a catalog of this name.
    pub(crate) async fn url(&self, name: &str) -> CatalogUrl {
        match self {
            Self::Sqlite(folder) => format!("sqlite://{}/{name}.sqlite", folder.path().display()),
            Self::Postgres(server) => server.create_database(name).await.unwrap(),
        }
        .parse()
        .unwrap()
    }

    /// An empty catalog of this name.
    pub(crate) async fn catalog(&self, name: &str) -> Catalog {
        Catalog::open(&self.url(name).await).await.unwrap()
    }

    /// A catalog of this name that knows what is there now.
    pub(crate) async fn filled(&self, name: &str, world: &World) -> Catalog {
        let catalog = self.catalog(name).await;
        world.fill(&catalog).await;
        catalog
    }
}

/// All that a catalog says.
pub(crate) async fn dump(catalog: &Catalog) -> String {
    let mut out = Vec::new();
    catalog.dump(&mut out).await.unwrap();
    String::from_utf8(out).unwrap()
}
