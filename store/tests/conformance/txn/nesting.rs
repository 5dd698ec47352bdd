//! Transactions inside transactions.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "txn::nesting",
        [
            the_answer_of_an_inner_one,
            an_inner_one_is_decided_before_anything_is_done,
            the_inner_otherwise,
            all_is_one_revision,
            three_deep,
            an_empty_inner_one,
            a_read_inside_sees_what_was_done_outside,
        ]
    )
}

fn revision(revision: i64) -> ResponseHeader {
    ResponseHeader {
        revision,
        ..ResponseHeader::default()
    }
}

async fn the_answer_of_an_inner_one(case: &mut Case) -> Result<()> {
    let inner = txn([put("b", "").op()]);
    let answer = case.txn(txn([put("a", "").op(), inner.op()])).await?;
    let at = revision(case.start + 1);
    let told = PutResponse {
        header: Some(at),
        prev_kv: None,
    };
    let expected = TxnResponse {
        header: case.header(1),
        succeeded: true,
        responses: vec![
            told.clone().op(),
            TxnResponse {
                header: Some(ResponseHeader::default()),
                succeeded: true,
                responses: vec![told.op()],
            }
            .op(),
        ],
    };
    assert_eq!(answer, expected);
    Ok(())
}

async fn an_inner_one_is_decided_before_anything_is_done(case: &mut Case) -> Result<()> {
    let inner = txn_if(
        [exists("a")],
        [put("seen", "").op()],
        [put("unseen", "").op()],
    );
    case.txn(txn([put("a", "").op(), inner.op()])).await?;
    assert_eq!(case.range(get("seen")).await?.count, 0);
    assert_eq!(case.range(get("unseen")).await?.count, 1);
    Ok(())
}

async fn the_inner_otherwise(case: &mut Case) -> Result<()> {
    let inner = txn_if([exists("none")], [], [get("a").op()]);
    let answer = case.txn(txn([inner.op()])).await?;
    match &answer.responses[0].response {
        Some(Told::ResponseTxn(inner)) => assert!(!inner.succeeded),
        other => bail!("not a transaction: {other:?}"),
    }
    assert!(answer.succeeded);
    Ok(())
}

async fn all_is_one_revision(case: &mut Case) -> Result<()> {
    let inner = txn([put("b", "").op(), put("c", "").op()]);
    case.txn(txn([put("a", "").op(), inner.op(), put("d", "").op()]))
        .await?;
    let at = case.start + 1;
    let expected = ["a", "b", "c", "d"].map(|key| kv(key, "", (at, at, 1)));
    assert_eq!(case.range(all()).await?.kvs, expected);
    case.made(1).await
}

async fn three_deep(case: &mut Case) -> Result<()> {
    let third = txn([put("c", "").op()]);
    let second = txn([put("b", "").op(), third.op()]);
    case.txn(txn([put("a", "").op(), second.op()])).await?;
    assert_eq!(case.range(all()).await?.count, 3);
    case.made(1).await
}

async fn an_empty_inner_one(case: &mut Case) -> Result<()> {
    let answer = case.txn(txn([TxnRequest::default().op()])).await?;
    let inner = TxnResponse {
        header: Some(ResponseHeader::default()),
        succeeded: true,
        responses: vec![],
    };
    assert_eq!(answer.responses, [inner.op()]);
    case.made(0).await
}

async fn a_read_inside_sees_what_was_done_outside(case: &mut Case) -> Result<()> {
    let inner = txn([get("a").op()]);
    let answer = case.txn(txn([put("a", "1").op(), inner.op()])).await?;
    let Some(Told::ResponseTxn(inner)) = &answer.responses[1].response else {
        bail!("not a transaction: {answer:?}");
    };
    let at = case.start + 1;
    let expected = RangeResponse {
        header: Some(revision(at)),
        kvs: vec![kv("a", "1", (at, at, 1))],
        more: false,
        count: 1,
    };
    assert_eq!(inner.responses, [expected.op()]);
    Ok(())
}
