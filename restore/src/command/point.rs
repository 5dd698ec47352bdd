//! The flags and words that name a point in history.

use chrono::Local;
use clap::{ArgGroup, Args};
use revkeep_schemas::Revision;
use revkeep_vault::PinName;

use crate::error::{Kind, RestoreError};
use crate::point::{Wanted, moment};

/// Flags that name a point; one of them is needed.
#[derive(Debug, Args)]
#[command(group(
    ArgGroup::new("point")
        .required(true)
        .args(["to_revision", "to_time", "latest", "before_delete", "pin"])
))]
pub(super) struct PointArguments {
    /// Exactly this revision
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    to_revision: Option<i64>,
    /// The newest revision that was seen by then: "20m ago", "yesterday 14:00" (local time), RFC 3339
    #[arg(long, value_name = "TIME")]
    to_time: Option<String>,
    /// The newest revision that the vault covers
    #[arg(long)]
    latest: bool,
    /// The revision before the newest deletion of this key
    #[arg(long, value_name = "KEY")]
    before_delete: Option<String>,
    /// With --before-delete: only if it was deleted after this revision or time
    #[arg(long, value_name = "REV|TIME")]
    since: Option<String>,
    /// The revision of this pin
    #[arg(long, value_name = "NAME")]
    pin: Option<String>,
    /// The timeline to take it from; by default the newest
    #[arg(long, value_name = "ID")]
    pub(super) timeline: Option<String>,
}

/// Whether the same words come to the same revision on another machine, or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Steady {
    /// They do.
    Yes,
    /// As far as its vault and its time zone are the same.
    Mostly,
    /// They are about what is the newest just then.
    No,
}

impl PointArguments {
    /// Whether these flags mean the same for each of several members.
    pub(super) fn steady(&self) -> Steady {
        // A date before the time, or one that says its offset from UTC as well.
        let dated = |words: &String| {
            let digits = words.trim().bytes().take_while(u8::is_ascii_digit);
            digits.count() == 4
        };
        match &self.to_time {
            _ if self.to_revision.is_some() || self.pin.is_some() => Steady::Yes,
            Some(words) if dated(words) => Steady::Mostly,
            _ => Steady::No,
        }
    }

    /// What is asked for.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for words that mean nothing.
    pub(super) fn wanted(&self) -> Result<Wanted, RestoreError> {
        if self.since.is_some() && self.before_delete.is_none() {
            return Err(RestoreError::new(
                Kind::Invalid,
                "--since bounds --before-delete, and there is none. Try: --before-delete KEY",
            ));
        }
        if let Some(revision) = self.to_revision {
            return Ok(Wanted::Revision(Revision(revision)));
        }
        if let Some(words) = &self.to_time {
            return Ok(Wanted::Time(moment(words, &Local::now())?));
        }
        if let Some(key) = &self.before_delete {
            let since = self.since.as_deref().map(bound).transpose()?;
            return Ok(Wanted::BeforeDelete {
                key: key.clone().into_bytes(),
                since: since.map(Box::new),
            });
        }
        match &self.pin {
            Some(name) => pin_name(name).map(Wanted::Pin),
            None => Ok(Wanted::Latest),
        }
    }
}

/// A revision or a time, as the bound of a range.
///
/// # Errors
/// [`Kind::Invalid`] for what is neither.
pub(super) fn bound(words: &str) -> Result<Wanted, RestoreError> {
    if words == "latest" {
        return Ok(Wanted::Latest);
    }
    if words.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(revision) = words.parse::<i64>()
        && revision >= 1
    {
        return Ok(Wanted::Revision(Revision(revision)));
    }
    moment(words, &Local::now()).map(Wanted::Time)
}

/// A revision, a time, `latest`, or `pin:NAME`.
///
/// # Errors
/// [`Kind::Invalid`] for what is none of them.
pub(super) fn at(words: &str) -> Result<Wanted, RestoreError> {
    match words.strip_prefix("pin:") {
        Some(name) => pin_name(name).map(Wanted::Pin),
        None => bound(words),
    }
}

/// Checks the name of a pin.
///
/// # Errors
/// [`Kind::Invalid`] for one that no vault can hold.
pub(super) fn pin_name(name: &str) -> Result<PinName, RestoreError> {
    PinName::new(name).map_err(|error| RestoreError::new(Kind::Invalid, error.to_string()))
}
