//! Conditions on every key of a range.

use crate::suite::*;
use CompareResult::{Equal, Greater, Less};
use TargetUnion::{CreateRevision, ModRevision, Value, Version};

pub(crate) fn group() -> Group {
    group!(
        "txn::ranges",
        [
            every_key_must_meet_it,
            one_key_fails_it,
            an_empty_range_meets_a_number,
            an_empty_range_fails_a_value,
            from_a_key,
            the_whole_store,
            revisions_of_a_range,
        ]
    )
}

async fn two(case: &Case) -> Result<()> {
    case.put(put("a", "1")).await?;
    case.put(put("b", "2")).await?;
    Ok(())
}

async fn holds(case: &Case, condition: Compare) -> Result<bool> {
    Ok(case.txn(txn_if([condition], [], [])).await?.succeeded)
}

async fn every_key_must_meet_it(case: &mut Case) -> Result<()> {
    two(case).await?;
    let condition = compare("a", Less, Value(bytes("3"))).range("z");
    assert!(holds(case, condition).await?);
    Ok(())
}

async fn one_key_fails_it(case: &mut Case) -> Result<()> {
    two(case).await?;
    let condition = compare("a", Less, Value(bytes("2"))).range("z");
    assert!(!holds(case, condition).await?);
    Ok(())
}

async fn an_empty_range_meets_a_number(case: &mut Case) -> Result<()> {
    two(case).await?;
    // As a missing key: everything is 0.
    assert!(holds(case, compare("x", Equal, Version(0)).range("z")).await?);
    assert!(!holds(case, compare("x", Greater, Version(0)).range("z")).await?);
    Ok(())
}

async fn an_empty_range_fails_a_value(case: &mut Case) -> Result<()> {
    let condition = compare("x", Equal, Value(bytes(""))).range("z");
    assert!(!holds(case, condition).await?);
    Ok(())
}

async fn from_a_key(case: &mut Case) -> Result<()> {
    two(case).await?;
    let one = || compare("b", Equal, Value(bytes("2"))).range(b"\0");
    assert!(holds(case, one()).await?);
    case.put(put("c", "3")).await?;
    assert!(!holds(case, one()).await?);
    Ok(())
}

async fn the_whole_store(case: &mut Case) -> Result<()> {
    two(case).await?;
    let condition = compare(b"\0", Equal, Version(1)).range(b"\0");
    assert!(holds(case, condition.clone()).await?);
    case.put(put("a", "")).await?;
    assert!(!holds(case, condition).await?);
    Ok(())
}

async fn revisions_of_a_range(case: &mut Case) -> Result<()> {
    two(case).await?;
    let (first, last) = (case.start + 1, case.start + 2);
    assert!(holds(case, compare("a", Less, ModRevision(last + 1)).range("c")).await?);
    assert!(!holds(case, compare("a", Less, ModRevision(last)).range("c")).await?);
    assert!(
        holds(
            case,
            compare("a", Greater, CreateRevision(first - 1)).range("c")
        )
        .await?
    );
    assert!(
        !holds(
            case,
            compare("a", Greater, CreateRevision(first)).range("c")
        )
        .await?
    );
    Ok(())
}
