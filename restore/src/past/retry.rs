//! Goes around segments and bases that cannot be used.

use crate::error::RestoreError;
use crate::source::Source;

/// Does something with a source; where that fails because a segment or a chunk of a base is damaged or gone, does it again
/// without it, as long as there are others.
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
        if !source.set_lost_aside(&error) {
            return Err(error);
        }
        tracing::warn!(%error, "an object cannot be used; looking for another one");
    }
}
