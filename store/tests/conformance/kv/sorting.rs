//! Every target and order.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "kv::sorting",
        [
            by_key,
            by_version,
            by_create_revision,
            by_mod_revision,
            by_value,
            a_target_without_an_order_ascends,
            the_key_without_an_order,
            a_limit_after_sorting,
            a_target_without_an_order_sorts_after_the_limit,
            values_are_compared_even_if_only_keys_are_wanted,
            equal_ones_stay_in_key_order,
            an_unknown_order,
            an_unknown_target,
        ]
    )
}

/// Create revisions: b, d, a, c. Mod revisions: d, b, c, a. Versions: c and d 1, b 2, a 3. Values: a=3, b=1, c=2, d=0.
async fn says(case: &Case, order: SortOrder, target: SortTarget) -> Result<String> {
    fill(case).await?;
    sorted(case, sort(order.into(), target.into())).await
}

async fn fill(case: &Case) -> Result<()> {
    let writes = [
        ("b", "x"),
        ("d", "0"),
        ("a", "x"),
        ("b", "1"),
        ("a", "y"),
        ("c", "2"),
        ("a", "3"),
    ];
    for (key, value) in writes {
        case.put(put(key, value)).await?;
    }
    Ok(())
}

async fn sorted(case: &Case, ask: RangeRequest) -> Result<String> {
    let answer = case.range(ask).await?;
    let keys = answer
        .kvs
        .iter()
        .map(|kv| String::from_utf8_lossy(&kv.key).into_owned());
    Ok(keys.collect())
}

fn sort(sort_order: i32, sort_target: i32) -> RangeRequest {
    RangeRequest {
        sort_order,
        sort_target,
        ..all()
    }
}

async fn by_key(case: &mut Case) -> Result<()> {
    assert_eq!(
        says(case, SortOrder::Descend, SortTarget::Key).await?,
        "dcba"
    );
    assert_eq!(
        says(case, SortOrder::Ascend, SortTarget::Key).await?,
        "abcd"
    );
    Ok(())
}

async fn by_version(case: &mut Case) -> Result<()> {
    assert_eq!(
        says(case, SortOrder::Ascend, SortTarget::Version).await?,
        "cdba"
    );
    let ask = sort(SortOrder::Descend.into(), SortTarget::Version.into());
    assert_eq!(sorted(case, ask).await?.get(..2), Some("ab"));
    Ok(())
}

async fn by_create_revision(case: &mut Case) -> Result<()> {
    assert_eq!(
        says(case, SortOrder::Ascend, SortTarget::Create).await?,
        "bdac"
    );
    let ask = sort(SortOrder::Descend.into(), SortTarget::Create.into());
    assert_eq!(sorted(case, ask).await?, "cadb");
    Ok(())
}

async fn by_mod_revision(case: &mut Case) -> Result<()> {
    assert_eq!(
        says(case, SortOrder::Ascend, SortTarget::Mod).await?,
        "dbca"
    );
    let ask = sort(SortOrder::Descend.into(), SortTarget::Mod.into());
    assert_eq!(sorted(case, ask).await?, "acbd");
    Ok(())
}

async fn by_value(case: &mut Case) -> Result<()> {
    assert_eq!(
        says(case, SortOrder::Ascend, SortTarget::Value).await?,
        "dbca"
    );
    let ask = sort(SortOrder::Descend.into(), SortTarget::Value.into());
    assert_eq!(sorted(case, ask).await?, "acbd");
    Ok(())
}

async fn a_target_without_an_order_ascends(case: &mut Case) -> Result<()> {
    assert_eq!(says(case, SortOrder::None, SortTarget::Mod).await?, "dbca");
    Ok(())
}

async fn the_key_without_an_order(case: &mut Case) -> Result<()> {
    assert_eq!(says(case, SortOrder::None, SortTarget::Key).await?, "abcd");
    Ok(())
}

async fn a_limit_after_sorting(case: &mut Case) -> Result<()> {
    fill(case).await?;
    let ask = RangeRequest {
        limit: 2,
        ..sort(SortOrder::Descend.into(), SortTarget::Mod.into())
    };
    let answer = case.range(ask).await?;
    assert_eq!((answer.more, answer.count), (true, 4));
    let keys: Vec<_> = answer.kvs.iter().map(|kv| kv.key.clone()).collect();
    assert_eq!(keys, ["a", "c"]);
    Ok(())
}

async fn values_are_compared_even_if_only_keys_are_wanted(case: &mut Case) -> Result<()> {
    fill(case).await?;
    let ask = RangeRequest {
        keys_only: true,
        ..sort(SortOrder::Ascend.into(), SortTarget::Value.into())
    };
    assert_eq!(sorted(case, ask).await?, "dbca");
    Ok(())
}

async fn equal_ones_stay_in_key_order(case: &mut Case) -> Result<()> {
    for key in ["c", "a", "b"] {
        case.put(put(key, "same")).await?;
    }
    let ask = sort(SortOrder::Ascend.into(), SortTarget::Value.into());
    assert_eq!(sorted(case, ask).await?, "abc");
    Ok(())
}

async fn an_unknown_order(case: &mut Case) -> Result<()> {
    fill(case).await?;
    assert_eq!(sorted(case, sort(9, SortTarget::Mod.into())).await?, "abcd");
    Ok(())
}

async fn an_unknown_target(case: &mut Case) -> Result<()> {
    // etcd 3.5 ends with a nil dereference; 3.6 refuses, and so does the store.
    if case.version.is_store() {
        let ask = sort(SortOrder::Descend.into(), 9);
        refused(
            case.range(ask).await,
            Code::InvalidArgument,
            "etcdserver: invalid sort option",
        )?;
    }
    Ok(())
}

async fn a_target_without_an_order_sorts_after_the_limit(case: &mut Case) -> Result<()> {
    fill(case).await?;
    let ask = RangeRequest {
        limit: 1,
        ..sort(SortOrder::None.into(), SortTarget::Mod.into())
    };
    // Two rows are read, the limit and one more, and only those are sorted.
    assert_eq!(sorted(case, ask).await?, "b");
    Ok(())
}
