//! Every target with every result, on a key that is there and on one that is not.

use crate::suite::*;
use CompareResult::{Equal, Greater, Less, NotEqual};
use TargetUnion::{CreateRevision, Lease, ModRevision, Value, Version};

pub(crate) fn group() -> Group {
    group!(
        "txn::compares",
        [
            version,
            create_revision,
            mod_revision,
            value,
            lease,
            a_missing_key,
            the_value_of_a_missing_key,
            all_must_hold,
            no_condition_holds,
            a_target_without_its_value,
            a_target_and_another_ones_value,
            a_condition_without_a_key,
        ]
    )
}

/// Whether one condition on `key` holds.
async fn holds(case: &Case, key: &str, result: CompareResult, to: TargetUnion) -> Result<bool> {
    let ask = txn_if([compare(key, result, to)], [], []);
    Ok(case.txn(ask).await?.succeeded)
}

/// Checks a number: below, at and above what the key has.
async fn number(case: &Case, at: i64, to: fn(i64) -> TargetUnion) -> Result<()> {
    let expected = [
        (Equal, [false, true, false]),
        (Greater, [true, false, false]),
        (Less, [false, false, true]),
        (NotEqual, [true, false, true]),
    ];
    for (result, outcomes) in expected {
        for (asked, outcome) in (at - 1..).zip(outcomes) {
            let held = holds(case, "k", result, to(asked)).await?;
            ensure!(held == outcome, "{result:?} {:?}: {held}", to(asked));
        }
    }
    Ok(())
}

async fn written_twice(case: &Case) -> Result<()> {
    case.put(put("other", "")).await?;
    case.put(put("k", "b")).await?;
    case.put(put("other", "")).await?;
    case.put(put("k", "b")).await?;
    Ok(())
}

async fn version(case: &mut Case) -> Result<()> {
    written_twice(case).await?;
    number(case, 2, Version).await
}

async fn create_revision(case: &mut Case) -> Result<()> {
    written_twice(case).await?;
    number(case, case.start + 2, CreateRevision).await
}

async fn mod_revision(case: &mut Case) -> Result<()> {
    written_twice(case).await?;
    number(case, case.start + 4, ModRevision).await
}

async fn value(case: &mut Case) -> Result<()> {
    written_twice(case).await?;
    let expected = [
        (Equal, [false, true, false, false]),
        (Greater, [true, false, false, false]),
        (Less, [false, false, true, true]),
        (NotEqual, [true, false, true, true]),
    ];
    for (result, outcomes) in expected {
        for (asked, outcome) in ["a", "b", "b\0", "c"].into_iter().zip(outcomes) {
            let held = holds(case, "k", result, Value(bytes(asked))).await?;
            ensure!(held == outcome, "{result:?} {asked:?}: {held}");
        }
    }
    Ok(())
}

async fn lease(case: &mut Case) -> Result<()> {
    let grant = LeaseGrantRequest { ttl: 600, id: 4711 };
    let lease = case.lease_grant(grant).await?.id;
    case.put(PutRequest {
        lease,
        ..put("k", "")
    })
    .await?;
    number(case, lease, Lease).await?;
    let revoke = LeaseRevokeRequest { id: lease };
    case.lease_revoke(revoke).await?;
    Ok(())
}

async fn a_missing_key(case: &mut Case) -> Result<()> {
    // All its numbers are 0.
    for to in [Version, CreateRevision, ModRevision, Lease] {
        assert!(holds(case, "none", Equal, to(0)).await?);
        assert!(!holds(case, "none", NotEqual, to(0)).await?);
        assert!(holds(case, "none", Less, to(1)).await?);
        assert!(!holds(case, "none", Greater, to(0)).await?);
        assert!(!holds(case, "none", Equal, to(1)).await?);
    }
    Ok(())
}

async fn the_value_of_a_missing_key(case: &mut Case) -> Result<()> {
    // No value compares with nothing: not even "not equal" holds.
    for result in [Equal, Greater, Less, NotEqual] {
        for asked in ["", "v"] {
            let held = holds(case, "none", result, Value(bytes(asked))).await?;
            ensure!(!held, "{result:?} {asked:?}");
        }
    }
    Ok(())
}

async fn all_must_hold(case: &mut Case) -> Result<()> {
    case.put(put("a", "")).await?;
    let both = |other| txn_if([exists("a"), exists(other)], [], []);
    assert!(!case.txn(both("b")).await?.succeeded);
    case.put(put("b", "")).await?;
    assert!(case.txn(both("b")).await?.succeeded);
    Ok(())
}

async fn no_condition_holds(case: &mut Case) -> Result<()> {
    let expected = TxnResponse {
        header: case.header(0),
        succeeded: true,
        responses: vec![],
    };
    assert_eq!(case.txn(TxnRequest::default()).await?, expected);
    Ok(())
}

async fn a_target_without_its_value(case: &mut Case) -> Result<()> {
    // It counts as 0, or as no bytes.
    case.put(put("k", "")).await?;
    for (target, holds) in [
        (CompareTarget::Version, false),
        (CompareTarget::Lease, true),
        (CompareTarget::Value, true),
    ] {
        let condition = Compare {
            target: target.into(),
            key: bytes("k"),
            ..Compare::default()
        };
        let answer = case.txn(txn_if([condition], [], [])).await?;
        assert_eq!(answer.succeeded, holds, "{target:?}");
    }
    Ok(())
}

async fn a_target_and_another_ones_value(case: &mut Case) -> Result<()> {
    case.put(put("k", "")).await?;
    let condition = Compare {
        target: CompareTarget::Version.into(),
        ..compare("k", Equal, ModRevision(1))
    };
    // The version is asked for but not given, so it is compared with 0.
    assert!(!case.txn(txn_if([condition], [], [])).await?.succeeded);
    Ok(())
}

async fn a_condition_without_a_key(case: &mut Case) -> Result<()> {
    refused(
        case.txn(txn_if([exists("")], [], [])).await,
        Code::InvalidArgument,
        "etcdserver: key is not provided",
    )
}
