//! The newest deletion of a key.

use revkeep_schemas::Revision;

use crate::error::{Kind, RestoreError};
use crate::past::{History, Version, going_around, printable};
use crate::source::Source;

/// The revision of the newest deletion of a key after `since`. Only what is read to find it is read: the newest pieces first,
/// and of them those that may hold the key. With it comes the newest range above it, if there is one, of which the vault has only
/// what was still there at its end: a newer deletion may lie there.
///
/// # Errors
/// [`Kind::OutsideCoverage`] when the vault knows of none.
pub(super) async fn newest_deletion(
    source: &Source,
    key: &[u8],
    since: Revision,
) -> Result<(Revision, Option<(Revision, Revision)>), RestoreError> {
    let found = going_around(source, async |source| {
        let history = History::of(source, since.next(), Revision::MAX);
        let found = history.newest(source, key, Version::is_deletion).await?;
        Ok((found, history.partly_known.last().copied()))
    });
    let (found, partly_known) = found.await?;
    let Some(deleted) = found else {
        let partly_known = partly_known.map_or_else(String::new, |(first, last)| {
            format!("; of revisions {first} to {last} it has only what was still there at {last}")
        });
        let since = if since > Revision::ZERO {
            format!(" after revision {since}")
        } else {
            String::new()
        };
        return Err(RestoreError::new(
            Kind::OutsideCoverage,
            format!(
                "the vault knows of no deletion of {}{since}{partly_known}. Try: revkeep log {} to see what became of it",
                printable(key),
                printable(key)
            ),
        ));
    };
    let deleted = deleted.at.main;
    Ok((deleted, partly_known.filter(|range| range.1 > deleted)))
}
