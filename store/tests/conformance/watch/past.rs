//! Watches that begin in the past, or in the future.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "watch::past",
        [
            from_a_past_revision,
            from_the_revision_now,
            from_the_next_revision,
            from_a_future_revision,
            from_a_negative_revision,
            whole_transactions,
            the_previous_in_the_past,
            filters_in_the_past,
            the_past_of_one_key,
            the_past_then_the_present,
            a_long_past_in_order,
            deletions_in_the_past,
        ]
    )
}

fn everything_from(start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        start_revision,
        ..watch(b"\0").range(b"\0")
    }
}

async fn writes(case: &Case, values: &[&str]) -> Result<()> {
    for value in values {
        case.put(put("k", value)).await?;
    }
    Ok(())
}

/// The event of the nth write of `k`.
fn nth(case: &Case, n: i64) -> mvccpb::Event {
    let created = case.start + 1;
    written(kv("k", n.to_string(), (created, case.start + n, n)))
}

async fn collect(stream: &mut WatchStream, count: usize) -> Result<Vec<mvccpb::Event>> {
    let mut events = Vec::new();
    while events.len() < count {
        events.extend(stream.next().await?.events);
    }
    Ok(events)
}

async fn from_a_past_revision(case: &mut Case) -> Result<()> {
    writes(case, &["1", "2", "3"]).await?;
    let mut stream = WatchStream::watching(case, everything_from(case.start + 2)).await?;
    let answer = stream.next().await?;
    assert_eq!(answer.events, [nth(case, 2), nth(case, 3)]);
    // Catching up, the header tells the revision now.
    assert_eq!(answer.header, case.header(3));
    Ok(())
}

async fn from_the_revision_now(case: &mut Case) -> Result<()> {
    writes(case, &["1", "2"]).await?;
    let mut stream = WatchStream::watching(case, everything_from(case.start + 2)).await?;
    assert_eq!(stream.next().await?.events, [nth(case, 2)]);
    Ok(())
}

async fn from_the_next_revision(case: &mut Case) -> Result<()> {
    writes(case, &["1", "2"]).await?;
    let mut stream = WatchStream::watching(case, everything_from(case.start + 3)).await?;
    stream.silent().await?;
    writes(case, &["3"]).await?;
    assert_eq!(stream.next().await?.events, [nth(case, 3)]);
    Ok(())
}

async fn from_a_future_revision(case: &mut Case) -> Result<()> {
    let mut stream = WatchStream::watching(case, everything_from(case.start + 4)).await?;
    writes(case, &["1", "2", "3"]).await?;
    stream.silent().await?;
    writes(case, &["4", "5"]).await?;
    let events = collect(&mut stream, 2).await?;
    assert_eq!(events, [nth(case, 4), nth(case, 5)]);
    Ok(())
}

async fn from_a_negative_revision(case: &mut Case) -> Result<()> {
    writes(case, &["1", "2"]).await?;
    if case.is_etcd_before(24) {
        // Older ones take it for the past of everything.
        return Ok(());
    }
    let first = watch_request::RequestUnion::CreateRequest(everything_from(-1));
    let mut stream = WatchStream::open(case, first).await?;
    let expected = WatchResponse {
        header: case.header(2),
        watch_id: -1,
        created: true,
        canceled: true,
        cancel_reason: "etcdserver: mvcc: required revision has been compacted".into(),
        ..WatchResponse::default()
    };
    assert_eq!(stream.next().await?, expected);
    Ok(())
}

async fn whole_transactions(case: &mut Case) -> Result<()> {
    case.txn(txn([put("b", "").op(), put("a", "").op()]))
        .await?;
    case.put(put("c", "")).await?;
    let mut stream = WatchStream::watching(case, everything_from(case.start + 1)).await?;
    let (first, second) = (case.start + 1, case.start + 2);
    let expected = [
        written(kv("b", "", (first, first, 1))),
        written(kv("a", "", (first, first, 1))),
        written(kv("c", "", (second, second, 1))),
    ];
    assert_eq!(collect(&mut stream, 3).await?, expected);
    Ok(())
}

async fn the_previous_in_the_past(case: &mut Case) -> Result<()> {
    writes(case, &["1", "2", "3"]).await?;
    let ask = WatchCreateRequest {
        prev_kv: true,
        ..everything_from(case.start + 3)
    };
    let mut stream = WatchStream::watching(case, ask).await?;
    let expected = mvccpb::Event {
        prev_kv: nth(case, 2).kv,
        ..nth(case, 3)
    };
    assert_eq!(stream.next().await?.events, [expected]);
    Ok(())
}

async fn filters_in_the_past(case: &mut Case) -> Result<()> {
    writes(case, &["1"]).await?;
    case.delete_range(delete("k")).await?;
    writes(case, &["2"]).await?;
    let ask = WatchCreateRequest {
        filters: vec![watch_create_request::FilterType::Noput.into()],
        ..everything_from(case.start + 1)
    };
    let mut stream = WatchStream::watching(case, ask).await?;
    let events = stream.next().await?.events;
    assert_eq!(events, [deleted("k", case.start + 2)]);
    stream.silent().await
}

async fn the_past_of_one_key(case: &mut Case) -> Result<()> {
    for key in ["other", "k", "other", "k"] {
        case.put(put(key, "")).await?;
    }
    let ask = WatchCreateRequest {
        start_revision: case.start + 1,
        ..watch("k")
    };
    let mut stream = WatchStream::watching(case, ask).await?;
    let (first, second) = (case.start + 2, case.start + 4);
    let expected = [
        written(kv("k", "", (first, first, 1))),
        written(kv("k", "", (first, second, 2))),
    ];
    assert_eq!(collect(&mut stream, 2).await?, expected);
    Ok(())
}

async fn the_past_then_the_present(case: &mut Case) -> Result<()> {
    writes(case, &["1", "2"]).await?;
    let mut stream = WatchStream::watching(case, everything_from(case.start + 1)).await?;
    writes(case, &["3", "4"]).await?;
    let expected: Vec<_> = (1..=4).map(|n| nth(case, n)).collect();
    assert_eq!(collect(&mut stream, 4).await?, expected);
    stream.silent().await
}

async fn a_long_past_in_order(case: &mut Case) -> Result<()> {
    // More revisions than etcd sends at once while it catches up.
    for round in 0..20 {
        let mut tasks = Vec::new();
        for n in 0..64 {
            let case = case.clone();
            tasks.push(async move { case.put(put(format!("k{}", round * 64 + n), "")).await });
        }
        for outcome in futures::future::join_all(tasks).await {
            outcome?;
        }
    }
    let mut stream = WatchStream::watching(case, everything_from(case.start + 1)).await?;
    let events = collect(&mut stream, 1280).await?;
    let revisions: Vec<_> = events
        .iter()
        .filter_map(|event| Some(event.kv.as_ref()?.mod_revision))
        .collect();
    let expected: Vec<_> = (case.start + 1..=case.start + 1280).collect();
    assert_eq!(revisions, expected);
    Ok(())
}

async fn deletions_in_the_past(case: &mut Case) -> Result<()> {
    writes(case, &["1"]).await?;
    case.put(put("l", "")).await?;
    case.delete_range(delete("k").range("z")).await?;
    let mut stream = WatchStream::watching(case, everything_from(case.start + 3)).await?;
    let at = case.start + 3;
    assert_eq!(
        stream.next().await?.events,
        [deleted("k", at), deleted("l", at)]
    );
    Ok(())
}
