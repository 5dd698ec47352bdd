//! Finds out which dates are due, and sets them.

use chrono::{DateTime, TimeZone, Utc};
use futures::{StreamExt, stream};

use super::dates::{self, Due};
use super::failures::Failures;
use super::kept::{Extent, Kept, kept};
use super::rule::{Lock, Retention};
use super::store::Locks;
use crate::cluster::Cluster;
use crate::error::{ErrorKind, VaultError};
use crate::inventory::Damage;
use crate::retention::{Plan, Rules, Survey, plan};

/// Requests that are under way at once.
const PARALLEL_REQUESTS: usize = 16;

/// Which dates are due in a cluster. Of an object that goes while it is asked for, nothing is said.
#[derive(Debug)]
pub struct LockPlan {
    /// The date that is set.
    pub until: DateTime<Utc>,
    /// Objects whose date is long enough, and strict enough or not to be made stricter.
    pub covered: usize,
    /// What could not be asked for its date, and why.
    pub failed: Vec<Damage>,
    due: Vec<(Kept, Due)>,
}

impl LockPlan {
    /// How many objects get a date.
    pub fn objects(&self) -> usize {
        self.due.len()
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.due.iter().map(|(object, _)| object.bytes).sum()
    }

    /// Whether everything that is kept could be asked for.
    ///
    /// # Errors
    /// As [`Locked::complete`].
    pub fn complete(&self) -> Result<(), VaultError> {
        complete(&self.failed)
    }
}

/// What [`Cluster::lock_kept`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// The date that was set.
    pub until: DateTime<Utc>,
    /// How many objects got it.
    pub set: usize,
    /// Their bytes.
    pub bytes: u64,
    /// How many had a date that is long enough.
    pub covered: usize,
    /// How many of both stay in governance mode though the policy says compliance, for the store does not let that be changed.
    pub weaker: usize,
    /// What has no date that is long enough, and why.
    pub failed: Vec<Damage>,
}

impl Locked {
    /// Whether everything that is kept is locked. Nothing should be deleted while it is not.
    ///
    /// # Errors
    /// `Refused` when a date could not be set.
    pub fn complete(&self) -> Result<(), VaultError> {
        complete(&self.failed)
    }
}

fn complete(failed: &[Damage]) -> Result<(), VaultError> {
    let Some(first) = failed.first() else {
        return Ok(());
    };
    Err(VaultError::new(
        ErrorKind::Refused,
        format!(
            "{} objects could not be locked, so nothing is deleted in this run: mend what is wrong, or remove lock from the \
             policy; the first: {}",
            failed.len(),
            first.reason
        ),
    ))
}

/// What asking for the date of one object came to.
enum Asked {
    /// It is long enough, as was known without a request.
    Known,
    Covered,
    Due(Due),
    Gone,
}

/// How setting the date of one object ended.
enum Ended {
    Set(u64),
    SetWeaker(u64),
    CoveredWeaker,
    Gone,
}

impl Cluster {
    fn locks(&self) -> Result<&Locks, VaultError> {
        self.vault.locks.as_deref().ok_or_else(|| {
            VaultError::new(
                ErrorKind::Config,
                "object lock dates are supported on S3 only: remove lock from the policy, or keep the vault on S3; nothing is \
                 deleted while the policy asks for what cannot be",
            )
        })
    }

    /// Asks which objects that a plan keeps are due a date, by the time of the survey; of all that is there while any of it is
    /// damaged, whether the survey looked for lost chunks or not. Sets none.
    ///
    /// # Errors
    /// `Config` where dates cannot be used at all; as the store fails, where that is not of single objects.
    pub async fn plan_lock(
        &self,
        lock: &Lock,
        survey: &Survey,
        plan: &Plan,
    ) -> Result<LockPlan, VaultError> {
        let locks = self.locks()?;
        let history = &survey.history;
        let mut all = self.kept_records(history).await?;
        let chunks = self.stored_chunks().await?;
        let sound = survey.damaged.is_empty() && self.incomplete(survey, &chunks).await?.is_empty();
        let extent = if sound {
            Extent::Planned
        } else {
            Extent::Everything
        };
        all.extend(kept(self, history, plan, &chunks, extent));
        let damaged = self.damaged_objects(survey, &all).await?;
        all.extend(damaged);
        let mut planned = LockPlan {
            until: lock.until(history.now),
            covered: 0,
            failed: Vec::new(),
            due: Vec::new(),
        };
        let mut failures = Failures::default();
        let mut asking = stream::iter(all)
            .map(async |object| {
                let asked = self.ask(locks, lock, history.now, &object).await;
                (object, asked)
            })
            .buffered(PARALLEL_REQUESTS);
        while let Some((object, asked)) = asking.next().await {
            match asked {
                Ok(Asked::Known) => planned.covered += 1,
                Ok(asked) => {
                    failures.answered();
                    match asked {
                        Asked::Known | Asked::Covered => planned.covered += 1,
                        Asked::Due(due) => planned.due.push((object, due)),
                        Asked::Gone => {}
                    }
                }
                Err(error) => failures.note(&object, error)?,
            }
        }
        planned.failed = failures.sorted();
        Ok(planned)
    }

    /// Makes the dates of everything that the rules keep long enough. To be done before [`Cluster::apply_retention`], and only
    /// if [`Locked::complete`] says so.
    ///
    /// # Errors
    /// As [`Cluster::plan_lock`]. Dates may have been set before.
    pub async fn lock_kept<Z: TimeZone>(
        &self,
        lock: &Lock,
        rules: &Rules,
        zone: &Z,
    ) -> Result<Locked, VaultError> {
        let locks = self.locks()?;
        let survey = self.survey(self.vault.objects.now().await?).await?;
        let plan = plan(&survey.history, rules, zone);
        let planned = self.plan_lock(lock, &survey, &plan).await?;
        let mut locked = Locked {
            until: planned.until,
            set: 0,
            bytes: 0,
            covered: planned.covered,
            weaker: 0,
            failed: planned.failed,
        };
        let mut failures = Failures::default();
        let mut setting = stream::iter(planned.due)
            .map(async |(object, due)| {
                let ended = self.carry_out(locks, &object, due).await;
                (object, ended)
            })
            .buffer_unordered(PARALLEL_REQUESTS);
        while let Some((object, ended)) = setting.next().await {
            let ended = match ended {
                Ok(ended) => ended,
                Err(error) => {
                    failures.note(&object, error)?;
                    continue;
                }
            };
            failures.answered();
            let weaker = match ended {
                Ended::Gone => false,
                Ended::CoveredWeaker => {
                    locked.covered += 1;
                    true
                }
                Ended::Set(bytes) => {
                    locked.set += 1;
                    locked.bytes += bytes;
                    false
                }
                Ended::SetWeaker(bytes) => {
                    locked.set += 1;
                    locked.bytes += bytes;
                    true
                }
            };
            locked.weaker += usize::from(weaker);
        }
        locked.failed.extend(failures.sorted());
        locked.failed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(locked)
    }

    /// What an object is due.
    async fn ask(
        &self,
        locks: &Locks,
        lock: &Lock,
        now: DateTime<Utc>,
        object: &Kept,
    ) -> Result<Asked, VaultError> {
        let known = locks.known.get(object);
        if let Some(known) = known
            && dates::due(lock, now, Some(known)).is_none()
        {
            return Ok(Asked::Known);
        }
        let path = self.vault.objects.path(&object.name);
        let found = match locks.dates.get(&path).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Asked::Gone),
            found => found?,
        };
        if let Some(found) = found {
            locks.known.remember(object, found);
        }
        Ok(dates::due(lock, now, found).map_or(Asked::Covered, Asked::Due))
    }

    async fn carry_out(&self, locks: &Locks, object: &Kept, due: Due) -> Result<Ended, VaultError> {
        let path = self.vault.objects.path(&object.name);
        let set = async |retention: Retention| {
            let set = locks.dates.set(&path, retention).await;
            if set.is_ok() {
                locks.known.remember(object, retention);
            }
            set
        };
        let (done, ended) = match due {
            Due::Date(retention) => (set(retention).await, Ended::Set(object.bytes)),
            Due::Stricter { wanted, renewed } => match (set(wanted).await, renewed) {
                (Err(error), Some(renewed)) if error.kind() == ErrorKind::Refused => {
                    (set(renewed).await, Ended::SetWeaker(object.bytes))
                }
                (Err(error), None) if error.kind() == ErrorKind::Refused => {
                    (Ok(()), Ended::CoveredWeaker)
                }
                (done, _) => (done, Ended::Set(object.bytes)),
            },
        };
        match done {
            Ok(()) => Ok(ended),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Ended::Gone),
            Err(error) => Err(error),
        }
    }
}
