//! The newest deletion of a key.

use revkeep_schemas::Revision;

use crate::error::{Kind, RestoreError};
use crate::past::{History, Version, going_around, printable};
use crate::source::Source;

/// The revision of the newest deletion of a key after `since`. Only what is read to find it is read: the newest pieces first,
/// and of them those that may hold the key.
///
/// # Errors
/// [`Kind::OutsideCoverage`] when the vault knows of none.
pub(super) async fn newest_deletion(
    source: &Source,
    key: &[u8],
    since: Revision,
) -> Result<Revision, RestoreError> {
    let found = going_around(source, async |source| {
        let history = History::of(source, since.next(), Revision::MAX);
        history.newest(source, key, Version::is_deletion).await
    });
    let found = found.await?;
    let Some(deleted) = found else {
        let since = if since > Revision::ZERO {
            format!(" after revision {since}")
        } else {
            String::new()
        };
        return Err(RestoreError::new(
            Kind::OutsideCoverage,
            format!(
                "the vault knows of no deletion of {}{since}. Try: revkeep log {} to see what became of it",
                printable(key),
                printable(key)
            ),
        ));
    };
    Ok(deleted.at.main)
}
