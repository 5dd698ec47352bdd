//! Watches that begin where history was forgotten.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "watch::compacted",
        [
            below_the_compacted_revision,
            at_the_compacted_revision,
            the_others_go_on,
            it_can_be_made_again,
            the_previous_was_forgotten,
        ]
    )
    .alone()
}

/// Five writes of `k`, compacted at the third.
async fn compacted(case: &Case) -> Result<()> {
    for n in 1..=5 {
        case.put(put("k", n.to_string())).await?;
    }
    case.compact(CompactionRequest {
        revision: case.start + 3,
        physical: true,
    })
    .await?;
    Ok(())
}

fn from(start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        start_revision,
        ..watch("k")
    }
}

async fn below_the_compacted_revision(case: &mut Case) -> Result<()> {
    compacted(case).await?;
    let mut stream = WatchStream::watching(case, from(case.start + 2)).await?;
    let mut answer = stream.next().await?;
    if case.version.is_store() || !case.is_etcd_before(24) {
        // Before, the header's revision was 0 here.
        assert_eq!(
            answer.header.take().map(|header| header.member_id),
            Some(case.member_id())
        );
    }
    let expected = WatchResponse {
        header: answer.header,
        watch_id: 0,
        canceled: true,
        compact_revision: case.start + 3,
        ..WatchResponse::default()
    };
    assert_eq!(answer, expected);
    stream.silent().await
}

async fn at_the_compacted_revision(case: &mut Case) -> Result<()> {
    compacted(case).await?;
    let mut stream = WatchStream::watching(case, from(case.start + 3)).await?;
    let mut values = Vec::new();
    while values.len() < 3 {
        for event in stream.next().await?.events {
            values.push(event.kv.context("an event without its key")?.value);
        }
    }
    assert_eq!(values, ["3", "4", "5"]);
    Ok(())
}

async fn the_others_go_on(case: &mut Case) -> Result<()> {
    compacted(case).await?;
    let mut stream = WatchStream::watching(case, watch("k")).await?;
    stream.create(from(1)).await?;
    let answer = stream.next().await?;
    assert_eq!((answer.watch_id, answer.canceled), (1, true));
    case.put(put("k", "6")).await?;
    let answer = stream.next().await?;
    assert_eq!((answer.watch_id, answer.events.len()), (0, 1));
    Ok(())
}

async fn it_can_be_made_again(case: &mut Case) -> Result<()> {
    compacted(case).await?;
    let mut stream = WatchStream::watching(case, from(1)).await?;
    let told = stream.next().await?.compact_revision;
    assert_eq!(stream.create(from(told)).await?, 1);
    assert!(!stream.next().await?.events.is_empty());
    Ok(())
}

async fn the_previous_was_forgotten(case: &mut Case) -> Result<()> {
    compacted(case).await?;
    let ask = WatchCreateRequest {
        prev_kv: true,
        ..from(case.start + 3)
    };
    let mut stream = WatchStream::watching(case, ask).await?;
    let events = stream.next().await?.events;
    let previous: Vec<_> = events
        .iter()
        .map(|event| event.prev_kv.as_ref().map(|kv| kv.value.clone()))
        .collect();
    // What was before the compacted revision is gone; what was at it is not.
    assert_eq!(previous, [None, Some(bytes("3")), Some(bytes("4"))]);
    Ok(())
}
