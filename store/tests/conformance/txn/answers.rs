//! What a transaction does and answers.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "txn::answers",
        [
            puts_are_one_revision,
            then,
            otherwise,
            a_read_sees_an_earlier_put,
            a_read_does_not_see_a_later_put,
            a_read_sees_an_earlier_deletion,
            a_deletion_of_an_earlier_put,
            the_previous_inside,
            a_read_at_an_old_revision,
            a_read_at_a_future_revision,
            a_read_at_the_revision_it_makes,
            a_failing_put_undoes_nothing_it_had_not_done,
            an_empty_operation,
            compare_and_swap,
            a_deletion_of_nothing_is_no_revision,
            a_read_only_one_is_no_revision,
            events_keep_their_order,
            an_unknown_lease_inside,
            an_option_that_is_refused_inside,
        ]
    )
}

async fn puts_are_one_revision(case: &mut Case) -> Result<()> {
    let answer = case
        .txn(txn([put("a", "1").op(), put("b", "2").op()]))
        .await?;
    let told = PutResponse {
        header: Some(revision(case.start + 1)),
        prev_kv: None,
    };
    let expected = TxnResponse {
        header: case.header(1),
        succeeded: true,
        responses: vec![told.clone().op(), told.op()],
    };
    assert_eq!(answer, expected);
    let at = case.start + 1;
    assert_eq!(
        case.range(all()).await?.kvs,
        [kv("a", "1", (at, at, 1)), kv("b", "2", (at, at, 1))]
    );
    Ok(())
}

/// Inside a transaction headers tell the revision alone.
fn revision(revision: i64) -> ResponseHeader {
    ResponseHeader {
        revision,
        ..ResponseHeader::default()
    }
}

async fn then(case: &mut Case) -> Result<()> {
    case.put(put("k", "")).await?;
    let ask = txn_if(
        [exists("k")],
        [put("then", "").op()],
        [put("else", "").op()],
    );
    assert!(case.txn(ask).await?.succeeded);
    assert_eq!(case.range(get("then")).await?.count, 1);
    assert_eq!(case.range(get("else")).await?.count, 0);
    Ok(())
}

async fn otherwise(case: &mut Case) -> Result<()> {
    let ask = txn_if(
        [exists("k")],
        [put("then", "").op()],
        [put("else", "").op()],
    );
    assert!(!case.txn(ask).await?.succeeded);
    assert_eq!(case.range(get("then")).await?.count, 0);
    assert_eq!(case.range(get("else")).await?.count, 1);
    Ok(())
}

fn read(answer: &TxnResponse, index: usize) -> Result<&RangeResponse> {
    match answer
        .responses
        .get(index)
        .and_then(|told| told.response.as_ref())
    {
        Some(Told::ResponseRange(range)) => Ok(range),
        other => bail!("not a range: {other:?}"),
    }
}

async fn a_read_sees_an_earlier_put(case: &mut Case) -> Result<()> {
    let answer = case.txn(txn([put("k", "1").op(), get("k").op()])).await?;
    let at = case.start + 1;
    let expected = RangeResponse {
        header: Some(revision(at)),
        kvs: vec![kv("k", "1", (at, at, 1))],
        more: false,
        count: 1,
    };
    assert_eq!(read(&answer, 1)?, &expected);
    Ok(())
}

async fn a_read_does_not_see_a_later_put(case: &mut Case) -> Result<()> {
    let answer = case.txn(txn([get("k").op(), put("k", "1").op()])).await?;
    let expected = RangeResponse {
        header: Some(revision(case.start)),
        ..RangeResponse::default()
    };
    assert_eq!(read(&answer, 0)?, &expected);
    Ok(())
}

async fn a_read_sees_an_earlier_deletion(case: &mut Case) -> Result<()> {
    case.put(put("k", "1")).await?;
    let answer = case.txn(txn([delete("k").op(), get("k").op()])).await?;
    assert_eq!(read(&answer, 1)?.count, 0);
    Ok(())
}

async fn a_deletion_of_an_earlier_put(case: &mut Case) -> Result<()> {
    // From-key deletions escape the check for duplicates.
    let ask = txn([put("k", "1").op(), delete("k").range(b"\0").op()]);
    let answer = case.txn(ask).await?;
    let told = DeleteRangeResponse {
        header: Some(revision(case.start + 1)),
        deleted: 1,
        prev_kvs: vec![],
    };
    assert_eq!(answer.responses[1], told.op());
    assert_eq!(case.range(all()).await?.count, 0);
    case.made(1).await
}

async fn the_previous_inside(case: &mut Case) -> Result<()> {
    case.put(put("k", "1")).await?;
    case.put(put("gone", "2")).await?;
    let ask = txn([
        PutRequest {
            prev_kv: true,
            ..put("k", "2")
        }
        .op(),
        DeleteRangeRequest {
            prev_kv: true,
            ..delete("gone")
        }
        .op(),
    ]);
    let (k, gone) = (case.start + 1, case.start + 2);
    let expected = vec![
        PutResponse {
            header: Some(revision(case.start + 3)),
            prev_kv: Some(kv("k", "1", (k, k, 1))),
        }
        .op(),
        DeleteRangeResponse {
            header: Some(revision(case.start + 3)),
            deleted: 1,
            prev_kvs: vec![kv("gone", "2", (gone, gone, 1))],
        }
        .op(),
    ];
    assert_eq!(case.txn(ask).await?.responses, expected);
    Ok(())
}

async fn a_read_at_an_old_revision(case: &mut Case) -> Result<()> {
    case.put(put("k", "1")).await?;
    case.put(put("k", "2")).await?;
    let old = RangeRequest {
        revision: case.start + 1,
        ..get("k")
    };
    let answer = case.txn(txn([put("k", "3").op(), old.op()])).await?;
    let at = case.start + 1;
    assert_eq!(read(&answer, 1)?.kvs, [kv("k", "1", (at, at, 1))]);
    Ok(())
}

const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";

async fn a_read_at_a_future_revision(case: &mut Case) -> Result<()> {
    let future = RangeRequest {
        revision: case.start + 2,
        ..get("k")
    };
    let ask = txn([put("k", "1").op(), future.op()]);
    refused(case.txn(ask).await, Code::OutOfRange, FUTURE)?;
    case.made(0).await
}

async fn a_read_at_the_revision_it_makes(case: &mut Case) -> Result<()> {
    let next = RangeRequest {
        revision: case.start + 1,
        ..get("k")
    };
    let ask = txn([put("k", "1").op(), next.op()]);
    refused(case.txn(ask).await, Code::OutOfRange, FUTURE)?;
    case.made(0).await
}

async fn a_failing_put_undoes_nothing_it_had_not_done(case: &mut Case) -> Result<()> {
    let kept = PutRequest {
        ignore_value: true,
        ..put("none", "")
    };
    let ask = txn([put("a", "1").op(), kept.op()]);
    refused(
        case.txn(ask).await,
        Code::InvalidArgument,
        "etcdserver: key not found",
    )?;
    assert_eq!(case.range(all()).await?.count, 0);
    case.made(0).await
}

async fn an_empty_operation(case: &mut Case) -> Result<()> {
    let ask = txn([RequestOp::default()]);
    refused(
        case.txn(ask).await,
        Code::InvalidArgument,
        "etcdserver: key not found",
    )
}

async fn compare_and_swap(case: &mut Case) -> Result<()> {
    let swap = |at: i64, value: &str| {
        txn_if(
            [compare(
                "k",
                CompareResult::Equal,
                TargetUnion::ModRevision(at),
            )],
            [put("k", value).op()],
            [get("k").op()],
        )
    };
    assert!(case.txn(swap(0, "first")).await?.succeeded);
    let lost = case.txn(swap(0, "second")).await?;
    let at = case.start + 1;
    assert!(!lost.succeeded);
    assert_eq!(read(&lost, 0)?.kvs, [kv("k", "first", (at, at, 1))]);
    assert!(case.txn(swap(at, "second")).await?.succeeded);
    case.made(2).await
}

async fn a_deletion_of_nothing_is_no_revision(case: &mut Case) -> Result<()> {
    let expected = TxnResponse {
        header: case.header(0),
        succeeded: true,
        responses: vec![
            DeleteRangeResponse {
                header: Some(revision(case.start)),
                ..DeleteRangeResponse::default()
            }
            .op(),
        ],
    };
    assert_eq!(case.txn(txn([delete("none").op()])).await?, expected);
    case.made(0).await
}

async fn a_read_only_one_is_no_revision(case: &mut Case) -> Result<()> {
    case.put(put("k", "1")).await?;
    let ask = txn_if([exists("k")], [get("k").op(), get("none").op()], []);
    let at = case.start + 1;
    let expected = TxnResponse {
        header: case.header(1),
        succeeded: true,
        responses: vec![
            RangeResponse {
                header: Some(revision(at)),
                kvs: vec![kv("k", "1", (at, at, 1))],
                more: false,
                count: 1,
            }
            .op(),
            RangeResponse {
                header: Some(revision(at)),
                ..RangeResponse::default()
            }
            .op(),
        ],
    };
    assert_eq!(case.txn(ask).await?, expected);
    case.made(1).await
}

async fn events_keep_their_order(case: &mut Case) -> Result<()> {
    case.put(put("b", "")).await?;
    let mut stream = WatchStream::watching(case, watch(b"\0").range(b"\0")).await?;
    case.txn(txn([
        put("z", "1").op(),
        delete("b").op(),
        put("a", "2").op(),
    ]))
    .await?;
    let at = case.start + 2;
    let expected = [
        written(kv("z", "1", (at, at, 1))),
        deleted("b", at),
        written(kv("a", "2", (at, at, 1))),
    ];
    assert_eq!(stream.next().await?.events, expected);
    Ok(())
}

async fn an_unknown_lease_inside(case: &mut Case) -> Result<()> {
    let leased = PutRequest {
        lease: 0x7777,
        ..put("b", "")
    };
    let ask = txn([put("a", "").op(), leased.op()]);
    refused(
        case.txn(ask).await,
        Code::NotFound,
        "etcdserver: requested lease not found",
    )?;
    case.made(0).await
}

async fn an_option_that_is_refused_inside(case: &mut Case) -> Result<()> {
    let given = PutRequest {
        ignore_value: true,
        ..put("k", "v")
    };
    refused(
        case.txn(txn([given.op()])).await,
        Code::InvalidArgument,
        "etcdserver: value is provided",
    )?;
    refused(
        case.txn(txn([get("").op()])).await,
        Code::InvalidArgument,
        "etcdserver: key is not provided",
    )
}
