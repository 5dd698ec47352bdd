//! Answers that are larger than a request may be.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "watch::fragments",
        [
            a_large_revision_is_cut,
            a_large_past_is_cut,
            without_a_wish_it_is_whole,
            a_small_one_is_not_cut,
        ]
    )
    .flag("--max-request-bytes=65536")
}

/// The limit of a watch's answer: that of a request and 512 KiB.
const LIMIT: usize = 65536 + (512 << 10);

fn everything(fragment: bool, start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        fragment,
        start_revision,
        ..watch(b"\0").range(b"\0")
    }
}

/// Writes keys that together are larger than an answer may be.
async fn much(case: &Case) -> Result<usize> {
    let value = vec![b'v'; 60_000];
    let count = 2 * LIMIT / value.len();
    for n in 0..count {
        case.put(put(format!("k{n:03}"), &value)).await?;
    }
    Ok(count)
}

/// Reads until so many events have come; returns the answers' `fragment`.
async fn pieces(stream: &mut WatchStream, count: usize) -> Result<Vec<bool>> {
    let (mut seen, mut pieces) = (0, Vec::new());
    while seen < count {
        let answer = stream.next().await?;
        let size = prost::Message::encoded_len(&answer);
        ensure!(
            size < LIMIT || answer.events.len() == 1 || pieces.is_empty(),
            "{size} bytes"
        );
        seen += answer.events.len();
        pieces.push(answer.fragment);
    }
    ensure!(seen == count, "{seen} events instead of {count}");
    Ok(pieces)
}

/// A deletion is small, so only the values before make one revision large.
async fn a_large_revision_is_cut(case: &mut Case) -> Result<()> {
    let count = much(case).await?;
    let ask = WatchCreateRequest {
        prev_kv: true,
        ..everything(true, 0)
    };
    let mut stream = WatchStream::watching(case, ask).await?;
    case.delete_range(delete(b"\0").range(b"\0")).await?;
    let pieces = pieces(&mut stream, count).await?;
    let (last, before) = pieces.split_last().context("no answer")?;
    assert!(!last, "the last piece says that more follows");
    assert!(before.len() >= 2, "it was not cut");
    assert!(before.iter().all(|fragment| *fragment));
    Ok(())
}

async fn a_large_past_is_cut(case: &mut Case) -> Result<()> {
    let count = much(case).await?;
    // Made on a stream that has a watch: what comes with the first one may come whole.
    let mut stream = WatchStream::watching(case, everything(true, 0)).await?;
    stream.ask_cancel(0).await?;
    stream.next().await?;
    stream.create(everything(true, case.start + 1)).await?;
    let pieces = pieces(&mut stream, count).await?;
    assert_eq!(pieces.last(), Some(&false));
    Ok(())
}

async fn without_a_wish_it_is_whole(case: &mut Case) -> Result<()> {
    let count = much(case).await?;
    let ask = WatchCreateRequest {
        prev_kv: true,
        ..everything(false, 0)
    };
    let mut stream = WatchStream::watching(case, ask).await?;
    case.delete_range(delete(b"\0").range(b"\0")).await?;
    let answer = stream.next().await?;
    assert_eq!((answer.events.len(), answer.fragment), (count, false));
    Ok(())
}

async fn a_small_one_is_not_cut(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, everything(true, 0)).await?;
    case.txn(txn([put("a", "").op(), put("b", "").op()]))
        .await?;
    let answer = stream.next().await?;
    assert_eq!((answer.events.len(), answer.fragment), (2, false));
    Ok(())
}
