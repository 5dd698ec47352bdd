//! Writing one key twice in a transaction is refused, as far as etcd sees it.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "txn::duplicates",
        [
            two_puts,
            a_put_and_a_deletion,
            a_put_inside_a_deleted_range,
            a_put_beside_a_deleted_range,
            two_deletions,
            in_the_failing_branch,
            in_different_branches,
            an_inner_put,
            both_branches_of_an_inner_one,
            two_inner_ones,
            an_inner_deletion_and_an_outer_put,
            an_outer_deletion_and_an_inner_put,
            a_put_and_a_from_key_deletion,
            a_from_key_deletion_and_a_put,
        ]
    )
}

async fn duplicate(case: &Case, ask: TxnRequest) -> Result<()> {
    refused(
        case.txn(ask).await,
        Code::InvalidArgument,
        "etcdserver: duplicate key given in txn request",
    )?;
    case.made(0).await
}

async fn two_puts(case: &mut Case) -> Result<()> {
    duplicate(case, txn([put("k", "1").op(), put("k", "2").op()])).await
}

async fn a_put_and_a_deletion(case: &mut Case) -> Result<()> {
    duplicate(case, txn([put("k", "1").op(), delete("k").op()])).await
}

async fn a_put_inside_a_deleted_range(case: &mut Case) -> Result<()> {
    let ask = txn([delete("a").range("c").op(), put("b", "1").op()]);
    duplicate(case, ask).await
}

async fn a_put_beside_a_deleted_range(case: &mut Case) -> Result<()> {
    case.txn(txn([delete("a").range("c").op(), put("c", "1").op()]))
        .await?;
    case.made(1).await
}

async fn two_deletions(case: &mut Case) -> Result<()> {
    case.put(put("k", "")).await?;
    let ask = txn([delete("k").op(), delete("a").range("z").op()]);
    let answer = case.txn(ask).await?;
    let counts: Vec<_> = answer
        .responses
        .iter()
        .map(|told| match &told.response {
            Some(Told::ResponseDeleteRange(told)) => told.deleted,
            _ => -1,
        })
        .collect();
    assert_eq!(counts, [1, 0]);
    Ok(())
}

async fn in_the_failing_branch(case: &mut Case) -> Result<()> {
    let twice = [put("k", "1").op(), put("k", "2").op()];
    duplicate(case, txn_if([], [], twice)).await
}

async fn in_different_branches(case: &mut Case) -> Result<()> {
    let ask = txn_if([], [put("k", "1").op()], [put("k", "2").op()]);
    case.txn(ask).await?;
    case.made(1).await
}

async fn an_inner_put(case: &mut Case) -> Result<()> {
    let inner = txn([put("k", "1").op()]);
    duplicate(case, txn([put("k", "2").op(), inner.op()])).await
}

async fn both_branches_of_an_inner_one(case: &mut Case) -> Result<()> {
    let inner = txn_if([], [put("k", "1").op()], [put("k", "2").op()]);
    case.txn(txn([inner.op()])).await?;
    case.made(1).await
}

async fn two_inner_ones(case: &mut Case) -> Result<()> {
    let inner = txn([put("k", "1").op()]);
    duplicate(case, txn([inner.clone().op(), inner.op()])).await
}

async fn an_inner_deletion_and_an_outer_put(case: &mut Case) -> Result<()> {
    let inner = txn([delete("k").op()]);
    duplicate(case, txn([put("k", "1").op(), inner.op()])).await
}

async fn an_outer_deletion_and_an_inner_put(case: &mut Case) -> Result<()> {
    let inner = txn([put("k", "1").op()]);
    duplicate(case, txn([delete("k").op(), inner.op()])).await
}

async fn a_put_and_a_from_key_deletion(case: &mut Case) -> Result<()> {
    // The check takes the end "\0" for an interval that ends before it begins.
    case.txn(txn([put("k", "1").op(), delete("k").range(b"\0").op()]))
        .await?;
    assert_eq!(case.range(all()).await?.count, 0);
    case.made(1).await
}

async fn a_from_key_deletion_and_a_put(case: &mut Case) -> Result<()> {
    case.put(put("k", "0")).await?;
    case.txn(txn([delete("k").range(b"\0").op(), put("k", "1").op()]))
        .await?;
    let at = case.start + 2;
    assert_eq!(case.range(all()).await?.kvs, [kv("k", "1", (at, at, 1))]);
    case.made(2).await
}
