//! Many watches on one stream, and their ids.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "watch::streams",
        [
            ids_count_up,
            an_own_id,
            an_id_that_is_taken,
            an_own_id_is_skipped,
            each_hears_its_keys,
            two_on_one_key,
            two_streams_have_their_own_ids,
            two_hundred_watches,
            an_empty_request_is_ignored,
            a_request_that_is_too_large,
        ]
    )
}

fn with_id(key: &str, watch_id: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        watch_id,
        ..watch(key)
    }
}

async fn ids_count_up(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, watch("a")).await?;
    assert_eq!(stream.create(watch("b")).await?, 1);
    assert_eq!(stream.create(watch("c")).await?, 2);
    Ok(())
}

async fn an_own_id(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, with_id("k", 77)).await?;
    case.put(put("k", "")).await?;
    assert_eq!(stream.next().await?.watch_id, 77);
    Ok(())
}

async fn an_id_that_is_taken(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, with_id("a", 5)).await?;
    stream.ask_create(with_id("b", 5)).await?;
    let expected = WatchResponse {
        header: case.header(0),
        watch_id: -1,
        created: true,
        canceled: true,
        cancel_reason: "mvcc: duplicate watch ID provided on the WatchStream".into(),
        ..WatchResponse::default()
    };
    assert_eq!(stream.next().await?, expected);
    case.put(put("a", "")).await?;
    assert_eq!(stream.next().await?.watch_id, 5);
    Ok(())
}

async fn an_own_id_is_skipped(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, with_id("a", 1)).await?;
    assert_eq!(stream.create(watch("b")).await?, 0);
    assert_eq!(stream.create(watch("c")).await?, 2);
    Ok(())
}

async fn each_hears_its_keys(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, watch("a")).await?;
    stream.create(watch("b")).await?;
    case.put(put("b", "")).await?;
    case.put(put("a", "")).await?;
    assert_eq!(stream.next().await?.watch_id, 1);
    assert_eq!(stream.next().await?.watch_id, 0);
    stream.silent().await
}

async fn two_on_one_key(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, watch("k")).await?;
    stream.create(watch("k")).await?;
    case.put(put("k", "")).await?;
    let mut ids = [stream.next().await?.watch_id, stream.next().await?.watch_id];
    ids.sort_unstable();
    assert_eq!(ids, [0, 1]);
    stream.silent().await
}

async fn two_streams_have_their_own_ids(case: &mut Case) -> Result<()> {
    let mut first = WatchStream::watching(case, watch("a")).await?;
    let mut second = WatchStream::watching(case, watch("b")).await?;
    case.put(put("b", "")).await?;
    assert_eq!(second.next().await?.watch_id, 0);
    case.put(put("a", "")).await?;
    assert_eq!(first.next().await?.watch_id, 0);
    Ok(())
}

async fn two_hundred_watches(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, watch("k000")).await?;
    for n in 1..200 {
        assert_eq!(stream.create(watch(format!("k{n:03}"))).await?, n);
    }
    let puts = (0..200)
        .step_by(2)
        .map(|n| put(format!("k{n:03}"), "").op());
    case.txn(txn(puts)).await?;
    let mut ids = Vec::new();
    for _ in 0..100 {
        let answer = stream.next().await?;
        assert_eq!(answer.events.len(), 1);
        ids.push(answer.watch_id);
    }
    ids.sort_unstable();
    assert_eq!(ids, (0..200).step_by(2).collect::<Vec<_>>());
    stream.silent().await
}

async fn an_empty_request_is_ignored(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, watch("k")).await?;
    stream.ask_nothing().await?;
    case.put(put("k", "")).await?;
    assert_eq!(stream.next().await?.events.len(), 1);
    Ok(())
}

async fn a_request_that_is_too_large(case: &mut Case) -> Result<()> {
    // The key, and around it what says how long it is: twice one byte and four.
    let first = watch_request::RequestUnion::CreateRequest(watch(vec![b'k'; 3 << 20]));
    let outcome = match WatchStream::open(case, first).await {
        Ok(mut stream) => stream.next().await.map(drop),
        Err(refusal) => Err(refusal),
    };
    let status = outcome.err().context("it was taken")?;
    refused(
        Err::<(), _>(status.downcast::<tonic::Status>()?),
        Code::ResourceExhausted,
        "grpc: received message larger than max (3145738 vs. 2097152)",
    )
}
