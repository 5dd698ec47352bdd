//! How many operations a transaction may have.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "txn::limits",
        [
            as_many_as_allowed,
            one_too_many,
            one_too_many_conditions,
            one_too_many_in_the_failing_branch,
            too_many_over_two_levels,
            as_many_as_allowed_over_two_levels,
        ]
    )
}

/// The same with a lower limit.
pub(crate) fn few() -> Group {
    group!("txn::max_txn_ops", [two_are_allowed, three_are_not]).flag("--max-txn-ops=2")
}

/// etcd's default for `--max-txn-ops`.
const LIMIT: usize = 128;

fn puts(count: usize) -> Vec<RequestOp> {
    (0..count)
        .map(|n| put(format!("k{n:03}"), "").op())
        .collect()
}

async fn too_many(case: &Case, ask: TxnRequest) -> Result<()> {
    refused(
        case.txn(ask).await,
        Code::InvalidArgument,
        "etcdserver: too many operations in txn request",
    )?;
    case.made(0).await
}

async fn as_many_as_allowed(case: &mut Case) -> Result<()> {
    let answer = case.txn(txn(puts(LIMIT))).await?;
    assert_eq!(answer.responses.len(), LIMIT);
    assert_eq!(case.range(all()).await?.count, 128);
    case.made(1).await
}

async fn one_too_many(case: &mut Case) -> Result<()> {
    too_many(case, txn(puts(LIMIT + 1))).await
}

async fn one_too_many_conditions(case: &mut Case) -> Result<()> {
    let conditions = vec![exists("k"); LIMIT + 1];
    too_many(case, txn_if(conditions, [], [])).await
}

async fn one_too_many_in_the_failing_branch(case: &mut Case) -> Result<()> {
    too_many(case, txn_if([], [], puts(LIMIT + 1))).await
}

async fn too_many_over_two_levels(case: &mut Case) -> Result<()> {
    // What the outer level has is taken from what the inner may have.
    let mut outer = puts(27);
    outer.push(txn(vec![get("k").op(); LIMIT - 27]).op());
    too_many(case, txn(outer)).await
}

async fn as_many_as_allowed_over_two_levels(case: &mut Case) -> Result<()> {
    let mut outer = puts(27);
    outer.push(txn(vec![get("k").op(); LIMIT - 28]).op());
    case.txn(txn(outer)).await?;
    case.made(1).await
}

async fn two_are_allowed(case: &mut Case) -> Result<()> {
    case.txn(txn(puts(2))).await?;
    case.made(1).await
}

async fn three_are_not(case: &mut Case) -> Result<()> {
    too_many(case, txn(puts(3))).await
}
