//! How far a watch is, while nothing happens or on request.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "watch::progress",
        [
            on_request,
            on_request_for_many,
            on_request_after_events,
            without_a_wish_there_is_none,
        ]
    )
}

/// With a short interval.
pub(crate) fn periodic() -> Group {
    group!(
        "watch::periodic_progress",
        [while_nothing_happens, only_for_those_who_wish]
    )
    .flag("--experimental-watch-progress-notify-interval=200ms")
}

/// The answer that says that all is known up to a revision.
fn mark(case: &Case, watch_id: i64, revisions: i64) -> WatchResponse {
    WatchResponse {
        header: case.header(revisions),
        watch_id,
        ..WatchResponse::default()
    }
}

async fn on_request(case: &mut Case) -> Result<()> {
    case.put(put("other", "")).await?;
    let mut stream = WatchStream::watching(case, watch("k")).await?;
    stream.ask_progress().await?;
    assert_eq!(stream.next().await?, mark(case, -1, 1));
    Ok(())
}

async fn on_request_for_many(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, watch("a")).await?;
    stream.create(watch("b")).await?;
    stream.ask_progress().await?;
    assert_eq!(stream.next().await?, mark(case, -1, 0));
    stream.silent().await
}

async fn on_request_after_events(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, watch("k")).await?;
    case.put(put("k", "")).await?;
    case.put(put("other", "")).await?;
    assert_eq!(stream.next().await?.events.len(), 1);
    stream.ask_progress().await?;
    assert_eq!(stream.next().await?, mark(case, -1, 2));
    Ok(())
}

async fn without_a_wish_there_is_none(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, watch("k")).await?;
    stream.silent().await
}

async fn while_nothing_happens(case: &mut Case) -> Result<()> {
    case.put(put("other", "")).await?;
    let ask = WatchCreateRequest {
        progress_notify: true,
        ..watch("k")
    };
    let mut stream = WatchStream::watching(case, ask).await?;
    for _ in 0..2 {
        assert_eq!(stream.next().await?, mark(case, 0, 1));
    }
    Ok(())
}

async fn only_for_those_who_wish(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, watch("a")).await?;
    stream
        .create(WatchCreateRequest {
            progress_notify: true,
            ..watch("b")
        })
        .await?;
    for _ in 0..2 {
        assert_eq!(stream.next().await?, mark(case, 1, 0));
    }
    Ok(())
}
