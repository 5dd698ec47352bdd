//! What a watch tells of a change.

use crate::suite::*;
use watch_create_request::FilterType;

pub(crate) fn group() -> Group {
    group!(
        "watch::events",
        [
            what_it_says_when_it_is_made,
            a_put,
            a_put_over_a_put,
            a_deletion,
            a_deletion_of_nothing_is_silent,
            another_key_is_silent,
            a_prefix,
            from_a_key,
            every_key,
            an_empty_key_is_the_lowest,
            an_interval,
            the_previous_of_a_put,
            the_previous_of_a_deletion,
            the_previous_of_a_new_key,
            without_puts,
            without_deletions,
            without_both,
            a_lease,
            a_transaction_is_one_answer,
            one_key_twice_in_a_revision,
            a_revoked_lease_deletes_in_key_order,
        ]
    )
}

fn filtered(filters: impl IntoIterator<Item = FilterType>) -> WatchCreateRequest {
    WatchCreateRequest {
        filters: filters.into_iter().map(Into::into).collect(),
        ..everything()
    }
}

fn everything() -> WatchCreateRequest {
    watch(b"\0").range(b"\0")
}

fn previous() -> WatchCreateRequest {
    WatchCreateRequest {
        prev_kv: true,
        ..watch("k")
    }
}

async fn what_it_says_when_it_is_made(case: &mut Case) -> Result<()> {
    case.put(put("k", "")).await?;
    let first = watch_request::RequestUnion::CreateRequest(watch("k"));
    let mut stream = WatchStream::open(case, first).await?;
    let expected = WatchResponse {
        header: case.header(1),
        watch_id: 0,
        created: true,
        ..WatchResponse::default()
    };
    assert_eq!(stream.next().await?, expected);
    Ok(())
}

async fn a_put(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, watch("k")).await?;
    case.put(put("k", "v")).await?;
    let at = case.start + 1;
    let expected = WatchResponse {
        header: case.header(1),
        watch_id: 0,
        events: vec![written(kv("k", "v", (at, at, 1)))],
        ..WatchResponse::default()
    };
    assert_eq!(stream.next().await?, expected);
    Ok(())
}

async fn a_put_over_a_put(case: &mut Case) -> Result<()> {
    case.put(put("k", "1")).await?;
    let mut stream = WatchStream::watching(case, watch("k")).await?;
    case.put(put("k", "2")).await?;
    let at = case.start + 1;
    let expected = [written(kv("k", "2", (at, at + 1, 2)))];
    assert_eq!(stream.next().await?.events, expected);
    Ok(())
}

async fn a_deletion(case: &mut Case) -> Result<()> {
    case.put(put("k", "1")).await?;
    let mut stream = WatchStream::watching(case, watch("k")).await?;
    case.delete_range(delete("k")).await?;
    let expected = WatchResponse {
        header: case.header(2),
        watch_id: 0,
        events: vec![deleted("k", case.start + 2)],
        ..WatchResponse::default()
    };
    assert_eq!(stream.next().await?, expected);
    Ok(())
}

async fn a_deletion_of_nothing_is_silent(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, everything()).await?;
    case.delete_range(delete("k")).await?;
    stream.silent().await
}

async fn another_key_is_silent(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, watch("k")).await?;
    case.put(put("kk", "")).await?;
    case.put(put("j", "")).await?;
    stream.silent().await
}

/// The keys of the next `count` events.
async fn keys(stream: &mut WatchStream, count: usize) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    while keys.len() < count {
        for event in stream.next().await?.events {
            let kv = event.kv.context("an event without its key")?;
            keys.push(String::from_utf8(kv.key.to_vec())?);
        }
    }
    Ok(keys)
}

async fn write(case: &Case, names: &[&str]) -> Result<()> {
    for name in names {
        case.put(put(name, "")).await?;
    }
    Ok(())
}

async fn a_prefix(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, watch("p/").range("p0")).await?;
    write(case, &["p", "p/2", "p0", "p/", "p/1"]).await?;
    assert_eq!(keys(&mut stream, 3).await?, ["p/2", "p/", "p/1"]);
    stream.silent().await
}

async fn from_a_key(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, watch("m").range(b"\0")).await?;
    write(case, &["a", "m", "l", "z"]).await?;
    assert_eq!(keys(&mut stream, 2).await?, ["m", "z"]);
    stream.silent().await
}

async fn every_key(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, everything()).await?;
    write(case, &["z", "a", "\0"]).await?;
    assert_eq!(keys(&mut stream, 3).await?, ["z", "a", "\0"]);
    Ok(())
}

async fn an_empty_key_is_the_lowest(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, watch("").range("b")).await?;
    write(case, &["a", "b", "\0"]).await?;
    assert_eq!(keys(&mut stream, 2).await?, ["a", "\0"]);
    stream.silent().await
}

async fn an_interval(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, watch("b").range("d")).await?;
    write(case, &["d", "c", "a", "b", "cc"]).await?;
    assert_eq!(keys(&mut stream, 3).await?, ["c", "b", "cc"]);
    stream.silent().await
}

async fn the_previous_of_a_put(case: &mut Case) -> Result<()> {
    case.put(put("k", "1")).await?;
    let mut stream = WatchStream::watching(case, previous()).await?;
    case.put(put("k", "2")).await?;
    let at = case.start + 1;
    let expected = mvccpb::Event {
        prev_kv: Some(kv("k", "1", (at, at, 1))),
        ..written(kv("k", "2", (at, at + 1, 2)))
    };
    assert_eq!(stream.next().await?.events, [expected]);
    Ok(())
}

async fn the_previous_of_a_deletion(case: &mut Case) -> Result<()> {
    case.put(put("k", "1")).await?;
    let mut stream = WatchStream::watching(case, previous()).await?;
    case.delete_range(delete("k")).await?;
    let at = case.start + 1;
    let expected = mvccpb::Event {
        prev_kv: Some(kv("k", "1", (at, at, 1))),
        ..deleted("k", at + 1)
    };
    assert_eq!(stream.next().await?.events, [expected]);
    Ok(())
}

async fn the_previous_of_a_new_key(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, previous()).await?;
    case.put(put("k", "1")).await?;
    let at = case.start + 1;
    assert_eq!(
        stream.next().await?.events,
        [written(kv("k", "1", (at, at, 1)))]
    );
    Ok(())
}

async fn without_puts(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, filtered([FilterType::Noput])).await?;
    case.put(put("k", "1")).await?;
    case.delete_range(delete("k")).await?;
    let events = stream.next().await?.events;
    assert_eq!(events, [deleted("k", case.start + 2)]);
    stream.silent().await
}

async fn without_deletions(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, filtered([FilterType::Nodelete])).await?;
    case.put(put("k", "1")).await?;
    case.delete_range(delete("k")).await?;
    case.put(put("k", "2")).await?;
    let (first, second) = (case.start + 1, case.start + 3);
    assert_eq!(
        stream.next().await?.events,
        [written(kv("k", "1", (first, first, 1)))]
    );
    assert_eq!(
        stream.next().await?.events,
        [written(kv("k", "2", (second, second, 1)))]
    );
    Ok(())
}

async fn without_both(case: &mut Case) -> Result<()> {
    let filters = filtered([FilterType::Nodelete, FilterType::Noput]);
    let mut stream = WatchStream::watching(case, filters).await?;
    case.put(put("k", "1")).await?;
    case.delete_range(delete("k")).await?;
    stream.silent().await
}

async fn a_lease(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, everything()).await?;
    let grant = LeaseGrantRequest { ttl: 600, id: 0 };
    let lease = case.lease_grant(grant).await?.id;
    case.put(PutRequest {
        lease,
        ..put("k", "v")
    })
    .await?;
    let at = case.start + 1;
    let expected = written(mvccpb::KeyValue {
        lease,
        ..kv("k", "v", (at, at, 1))
    });
    assert_eq!(stream.next().await?.events, [expected]);
    Ok(())
}

async fn a_transaction_is_one_answer(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, everything()).await?;
    let puts = (0..100).map(|n| put(format!("k{n:02}"), "").op());
    case.txn(txn(puts)).await?;
    let answer = stream.next().await?;
    assert_eq!((answer.events.len(), answer.header), (100, case.header(1)));
    Ok(())
}

async fn one_key_twice_in_a_revision(case: &mut Case) -> Result<()> {
    case.put(put("k", "0")).await?;
    let mut stream = WatchStream::watching(case, everything()).await?;
    case.txn(txn([delete("k").range(b"\0").op(), put("k", "1").op()]))
        .await?;
    let at = case.start + 2;
    let expected = [deleted("k", at), written(kv("k", "1", (at, at, 1)))];
    assert_eq!(stream.next().await?.events, expected);
    Ok(())
}

async fn a_revoked_lease_deletes_in_key_order(case: &mut Case) -> Result<()> {
    let grant = LeaseGrantRequest { ttl: 600, id: 0 };
    let lease = case.lease_grant(grant).await?.id;
    for key in ["c", "a", "b"] {
        case.put(PutRequest {
            lease,
            ..put(key, "")
        })
        .await?;
    }
    let mut stream = WatchStream::watching(case, everything()).await?;
    case.lease_revoke(LeaseRevokeRequest { id: lease }).await?;
    let at = case.start + 4;
    let expected = ["a", "b", "c"].map(|key| deleted(key, at));
    assert_eq!(stream.next().await?.events, expected);
    Ok(())
}
