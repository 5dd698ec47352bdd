//! Goes around segments that cannot be used.

use crate::error::RestoreError;
use crate::source::Source;

/// Does something with a source; where that fails because the index of a segment is damaged or gone, does it again without
/// that segment, as long as there are others.
///
/// # Errors
/// What `work` says in the end.
pub async fn going_around<T>(
    source: &Source,
    work: impl AsyncFn(&Source) -> Result<T, RestoreError>,
) -> Result<T, RestoreError> {
    let mut source = source.clone();
    loop {
        let error = match work(&source).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let lost = error.lost_object();
        let segments = &source.inventory.segments;
        let lost = segments
            .iter()
            .position(|entry| Some(entry.name.as_str()) == lost);
        let Some(position) = lost else {
            return Err(error);
        };
        tracing::warn!(%error, "a segment cannot be used; looking for another one");
        source.set_aside(&[(position, error.to_string())]);
    }
}
