//! Rounds of deletions, as they stand in the vault: each a folder of objects that are written once.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;
use object_store::path::Path;
use revkeep_schemas::Revision;
use revkeep_schemas::envelope::{self, Identity, Kind};
use revkeep_schemas::manifest::{ObjectList, RoundVerdict};

use crate::cluster::Cluster;
use crate::error::{ErrorKind, VaultError};
use crate::objects::Created;

/// Marks that are fetched at once.
const PARALLEL_GETS: usize = 8;

/// One object of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// What it may delete.
    Mark,
    /// Whether it goes on.
    Verdict,
    /// What it deletes.
    Sweep,
    /// That it is over.
    Swept,
}

impl Part {
    const ALL: [Self; 4] = [Self::Mark, Self::Verdict, Self::Sweep, Self::Swept];

    const fn name(self) -> &'static str {
        match self {
            Self::Mark => "mark",
            Self::Verdict => "verdict",
            Self::Sweep => "sweep",
            Self::Swept => "swept",
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Self::Mark => Kind::Mark,
            Self::Verdict => Kind::Verdict,
            Self::Sweep => Kind::Sweep,
            Self::Swept => Kind::Swept,
        }
    }
}

/// A round that was listed, and when the store took each of its objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) number: u32,
    stored: [Option<DateTime<Utc>>; 4],
}

impl Listed {
    /// When the store took a part, if it is there.
    pub(crate) fn stored(&self, part: Part) -> Option<DateTime<Utc>> {
        self.stored.get(part as usize).copied().flatten()
    }
}

/// The rounds of a cluster.
pub(crate) struct Rounds<'a>(pub(crate) &'a Cluster);

impl Rounds<'_> {
    pub(crate) fn folder(&self) -> String {
        format!("clusters/{}/deletions", self.0.name)
    }

    pub(crate) fn path(&self, number: u32, part: Part) -> String {
        format!("{}/{number:010}/{}", self.folder(), part.name())
    }

    pub(crate) fn identity(&self, number: u32, part: Part) -> Identity {
        Identity {
            kind: part.kind(),
            vault: self.0.vault.id,
            cluster: Some(self.0.name.clone()),
            timeline: None,
            first: Revision::ZERO,
            last: Revision::ZERO,
            level: 0,
            name: number.to_string(),
        }
    }

    /// Which part stands at a path, if any does.
    pub(crate) fn parse(&self, path: &Path) -> Option<(u32, Part)> {
        parse(&self.0.vault.objects.path(&self.folder()), path)
    }

    /// Every part that is there, and its size.
    pub(crate) async fn parts(&self) -> Result<Vec<(u32, Part, u64)>, VaultError> {
        let objects = &self.0.vault.objects;
        let folder = objects.path(&self.folder());
        let metas = objects.list(&self.folder()).await?;
        let part = |meta: &ObjectMeta| {
            let (number, part) = parse(&folder, &meta.location)?;
            Some((number, part, meta.size))
        };
        Ok(metas.iter().filter_map(part).collect())
    }

    /// All rounds, ascending.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>, VaultError> {
        let objects = &self.0.vault.objects;
        let folder = objects.path(&self.folder());
        let mut rounds: Vec<Listed> = Vec::new();
        let mut metas = objects.list(&self.folder()).await?;
        metas.sort_by(|a, b| a.location.cmp(&b.location));
        for meta in metas {
            let Some((number, part)) = parse(&folder, &meta.location) else {
                continue;
            };
            if rounds.last().is_none_or(|round| round.number != number) {
                rounds.push(Listed {
                    number,
                    ..Listed::default()
                });
            }
            let stored = rounds
                .last_mut()
                .and_then(|round| round.stored.get_mut(part as usize));
            if let Some(stored) = stored {
                *stored = Some(meta.last_modified);
            }
        }
        // The mark comes first; without it there is no round, whatever else stands there.
        rounds.retain(|round| round.stored(Part::Mark).is_some());
        Ok(rounds)
    }

    async fn read(&self, number: u32, part: Part) -> Result<Option<Bytes>, VaultError> {
        let name = self.path(number, part);
        let Some(object) = self.0.vault.objects.find(&name).await? else {
            return Ok(None);
        };
        envelope::open(&object, &self.identity(number, part))
            .map(Some)
            .map_err(VaultError::format(name))
    }

    /// A list of a round: what it may delete, or what it deletes.
    pub(crate) async fn objects(
        &self,
        number: u32,
        part: Part,
    ) -> Result<Option<ObjectList>, VaultError> {
        let Some(body) = self.read(number, part).await? else {
            return Ok(None);
        };
        ObjectList::decode(&body)
            .map(Some)
            .map_err(VaultError::format(self.path(number, part)))
    }

    /// The lists of what these rounds may delete.
    pub(crate) async fn marks(&self, numbers: Vec<u32>) -> Result<Vec<ObjectList>, VaultError> {
        stream::iter(numbers)
            .map(async |number| {
                let mark = self.objects(number, Part::Mark).await?;
                mark.ok_or_else(|| {
                    VaultError::new(
                        ErrorKind::Retry,
                        format!(
                            "{}: it was listed and is not there; try again",
                            self.path(number, Part::Mark)
                        ),
                    )
                })
            })
            .buffered(PARALLEL_GETS)
            .try_collect()
            .await
    }

    /// Whether a round goes on, if that is decided.
    pub(crate) async fn verdict(&self, number: u32) -> Result<Option<RoundVerdict>, VaultError> {
        let Some(body) = self.read(number, Part::Verdict).await? else {
            return Ok(None);
        };
        RoundVerdict::decode(&body)
            .map(Some)
            .map_err(VaultError::format(self.path(number, Part::Verdict)))
    }

    /// Writes a part unless it is there; what is there then is read by whoever asked, for it may be another's.
    pub(crate) async fn write(
        &self,
        number: u32,
        part: Part,
        body: &[u8],
    ) -> Result<Created, VaultError> {
        let vault = &self.0.vault;
        let object = envelope::seal(&self.identity(number, part), &vault.writer, body);
        vault.objects.create(&self.path(number, part), object).await
    }
}

/// Reads what a listing of the folder of rounds gave. `None` for what is not ours.
pub(crate) fn parse(folder: &Path, path: &Path) -> Option<(u32, Part)> {
    let mut parts = path.prefix_match(folder)?;
    let (number, name) = (parts.next()?, parts.next()?);
    let part = Part::ALL
        .into_iter()
        .find(|part| part.name() == name.as_ref())?;
    let number = number.as_ref();
    let value = number.parse::<u32>().ok()?;
    let ours = format!("{value:010}") == number && value > 0 && parts.next().is_none();
    ours.then_some((value, part))
}
