//! What rounds of deletions deleted, as opposed to what they were to delete and the store kept, such as locked objects.

use std::collections::{HashMap, HashSet};

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use revkeep_schemas::manifest::ObjectList;

use super::ledger::Ledger;
use super::place::Place;
use super::run::Known;
use crate::cluster::Cluster;
use crate::error::{ErrorKind, VaultError};
use crate::layout::ChunkName;
use crate::retention::{Part, Rounds};

/// Objects that are asked for at once.
const PARALLEL_GETS: usize = 8;

/// The objects that rounds were to delete, each with the newest of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Swept(HashMap<String, u32>);

impl Swept {
    /// Adds the list of a round.
    pub(super) fn add(&mut self, round: u32, list: ObjectList, cluster: &Cluster) {
        let chunks = list
            .chunks
            .into_iter()
            .map(|(hash, round)| cluster.chunk_path(ChunkName { hash, round }));
        for name in list.bases.into_iter().chain(list.segments).chain(chunks) {
            let newest = self.0.entry(name).or_default();
            *newest = round.max(*newest);
        }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether an object that is not there went because of a round: of one that outlasted some, a later one.
    pub(super) fn took(&self, name: &str, outlasted: Option<u32>) -> bool {
        self.0
            .get(name)
            .is_some_and(|round| outlasted.is_none_or(|outlasted| *round > outlasted))
    }
}

impl Cluster {
    /// Whether rounds of deletions took any of these objects, by their names below the vault's prefix. One that the store kept,
    /// because it is locked for one, was not taken.
    ///
    /// # Errors
    /// `Corrupt` when the list of a round is damaged; as the store fails.
    pub async fn has_swept_any(&self, names: &HashSet<String>) -> Result<bool, VaultError> {
        let rounds = Rounds(self);
        let mut swept = Swept::default();
        for (number, part, _) in rounds.parts().await? {
            if part == Part::Sweep
                && let Some(list) = rounds.objects(number, part).await?
            {
                swept.add(number, list, self);
            }
        }
        let listed = names.iter().filter(|name| swept.contains(name)).cloned();
        let mut standing = self.standing_of(listed.collect());
        while let Some((_, stands)) = standing.try_next().await? {
            if !stands {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn standing_of(&self, names: Vec<String>) -> BoxStream<'_, Result<(String, bool), VaultError>> {
        let ask = move |name: String| async move {
            let stands = self.stands(&name).await?;
            Ok((name, stands))
        };
        let asked = stream::iter(names).map(ask);
        asked.buffer_unordered(PARALLEL_GETS).boxed()
    }

    /// Reads what was deleted by now: what is not there because of that is not missing. Returns the rounds that are over.
    pub(super) async fn learn_sweeps(&self, known: &mut Known) -> Result<HashSet<u32>, VaultError> {
        let rounds = Rounds(self);
        let read: HashSet<_> = known
            .standing
            .iter()
            .filter_map(|it| match it.place {
                Place::Round(number, Part::Sweep) => Some(number),
                _ => None,
            })
            .collect();
        let mut over = HashSet::new();
        for (number, part, _) in rounds.parts().await? {
            if part == Part::Swept {
                over.insert(number);
            }
            if part == Part::Sweep && !read.contains(&number) {
                match rounds.objects(number, part).await {
                    Ok(Some(list)) => known.swept.add(number, list, self),
                    Ok(None) => {}
                    // The next run reads it as an object, and names it.
                    Err(error) if error.kind() == ErrorKind::Corrupt => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(over)
    }

    /// Counts what outlasted its round among what has to be there, now and in later runs.
    pub(super) async fn keep_outlasting(
        &self,
        known: &mut Known,
        over: &HashSet<u32>,
        ledger: &mut Ledger,
    ) -> Result<(), VaultError> {
        let listed = known.standing.iter().map(|it| &it.name);
        let of_round = |name: &String| known.swept.0.get(name).is_some_and(|it| over.contains(it));
        let outlasting: Vec<_> = listed.filter(|name| of_round(name)).cloned().collect();
        let mut standing = self.standing_of(outlasting);
        let mut kept = Vec::new();
        while let Some((name, stands)) = standing.try_next().await? {
            if stands {
                kept.push(name);
            }
        }
        drop(standing);
        for name in kept {
            if let Some(round) = known.swept.0.remove(&name) {
                ledger.outlasted(self.short(&name), round);
            }
        }
        Ok(())
    }
}
