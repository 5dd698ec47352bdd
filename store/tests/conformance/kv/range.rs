//! Which keys a range takes.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "kv::range",
        [
            nothing_in_an_empty_store,
            one_key,
            a_missing_key,
            a_half_open_interval,
            a_prefix,
            from_a_key,
            every_key,
            an_empty_interval,
            an_end_before_the_key,
            an_end_equal_to_the_key,
            bytes_are_compared_unsigned,
            a_prefix_of_the_highest_byte,
            a_zero_byte_key_is_one_key,
            keys_only,
            serializable,
            serializable_at_an_old_revision,
            values_come_back_as_written,
            an_empty_value,
            a_large_value,
        ]
    )
}

async fn three(case: &Case) -> Result<Vec<mvccpb::KeyValue>> {
    let mut kvs = Vec::new();
    for (n, key) in (1..).zip(["a", "b", "c"]) {
        case.put(put(key, key.to_uppercase())).await?;
        let at = case.start + n;
        kvs.push(kv(key, key.to_uppercase(), (at, at, 1)));
    }
    Ok(kvs)
}

/// What a range over the three keys is to answer.
async fn answers(case: &Case, ask: RangeRequest, kvs: &[mvccpb::KeyValue]) -> Result<()> {
    let expected = RangeResponse {
        header: case.header(3),
        kvs: kvs.to_vec(),
        more: false,
        count: i64::try_from(kvs.len())?,
    };
    assert_eq!(case.range(ask).await?, expected);
    Ok(())
}

async fn nothing_in_an_empty_store(case: &mut Case) -> Result<()> {
    let expected = RangeResponse {
        header: case.header(0),
        ..RangeResponse::default()
    };
    assert_eq!(case.range(all()).await?, expected);
    Ok(())
}

async fn one_key(case: &mut Case) -> Result<()> {
    let kvs = three(case).await?;
    answers(case, get("b"), &kvs[1..2]).await
}

async fn a_missing_key(case: &mut Case) -> Result<()> {
    three(case).await?;
    answers(case, get("bb"), &[]).await
}

async fn a_half_open_interval(case: &mut Case) -> Result<()> {
    let kvs = three(case).await?;
    answers(case, get("a").range("c"), &kvs[..2]).await
}

async fn a_prefix(case: &mut Case) -> Result<()> {
    for key in ["o", "p", "p/1", "p/2", "q"] {
        case.put(put(key, "")).await?;
    }
    let answer = case.range(get("p/").range("p0")).await?;
    let at = |n| case.start + n;
    let kvs = [
        kv("p/1", "", (at(3), at(3), 1)),
        kv("p/2", "", (at(4), at(4), 1)),
    ];
    assert_eq!((answer.kvs, answer.count), (kvs.to_vec(), 2));
    Ok(())
}

async fn from_a_key(case: &mut Case) -> Result<()> {
    let kvs = three(case).await?;
    answers(case, get("b").range(b"\0"), &kvs[1..]).await
}

async fn every_key(case: &mut Case) -> Result<()> {
    let kvs = three(case).await?;
    answers(case, all(), &kvs).await
}

async fn an_empty_interval(case: &mut Case) -> Result<()> {
    three(case).await?;
    answers(case, get("ba").range("bb"), &[]).await
}

async fn an_end_before_the_key(case: &mut Case) -> Result<()> {
    three(case).await?;
    answers(case, get("c").range("a"), &[]).await
}

async fn an_end_equal_to_the_key(case: &mut Case) -> Result<()> {
    three(case).await?;
    answers(case, get("b").range("b"), &[]).await
}

async fn bytes_are_compared_unsigned(case: &mut Case) -> Result<()> {
    for key in [&b"\xff"[..], b"\x7f", b"\x80", b"\x01", b"\x80\x00"] {
        case.put(put(key, "")).await?;
    }
    let answer = case.range(all()).await?;
    let keys: Vec<_> = answer.kvs.iter().map(|kv| kv.key.to_vec()).collect();
    assert_eq!(keys, [&b"\x01"[..], b"\x7f", b"\x80", b"\x80\x00", b"\xff"]);
    Ok(())
}

async fn a_prefix_of_the_highest_byte(case: &mut Case) -> Result<()> {
    for key in [&b"\xfe"[..], b"\xff", b"\xff\xff", b"\xff\xff\xff"] {
        case.put(put(key, "")).await?;
    }
    // A prefix that nothing follows is asked for from its first key on.
    let answer = case.range(get(b"\xff").range(b"\0")).await?;
    assert_eq!(answer.count, 3);
    Ok(())
}

async fn a_zero_byte_key_is_one_key(case: &mut Case) -> Result<()> {
    case.put(put(b"\0", "zero")).await?;
    case.put(put("a", "")).await?;
    let answer = case.range(get(b"\0")).await?;
    let at = case.start + 1;
    assert_eq!(answer.kvs, [kv(b"\0", "zero", (at, at, 1))]);
    assert_eq!(answer.count, 1);
    Ok(())
}

async fn keys_only(case: &mut Case) -> Result<()> {
    let mut kvs = three(case).await?;
    for kv in &mut kvs {
        kv.value.clear();
    }
    let ask = RangeRequest {
        keys_only: true,
        ..all()
    };
    answers(case, ask, &kvs).await
}

async fn serializable(case: &mut Case) -> Result<()> {
    let kvs = three(case).await?;
    let ask = RangeRequest {
        serializable: true,
        ..all()
    };
    answers(case, ask, &kvs).await
}

async fn serializable_at_an_old_revision(case: &mut Case) -> Result<()> {
    let kvs = three(case).await?;
    let ask = RangeRequest {
        serializable: true,
        revision: case.start + 2,
        ..all()
    };
    answers(case, ask, &kvs[..2]).await
}

async fn values_come_back_as_written(case: &mut Case) -> Result<()> {
    let value: Vec<u8> = (0..=255).collect();
    case.put(put("bytes", &value)).await?;
    let answer = case.range(get("bytes")).await?;
    assert_eq!(answer.kvs[0].value, value);
    Ok(())
}

async fn an_empty_value(case: &mut Case) -> Result<()> {
    case.put(put("empty", "")).await?;
    let answer = case.range(get("empty")).await?;
    let at = case.start + 1;
    assert_eq!(answer.kvs, [kv("empty", "", (at, at, 1))]);
    Ok(())
}

async fn a_large_value(case: &mut Case) -> Result<()> {
    let value = vec![b'v'; 1 << 20];
    case.put(put("large", &value)).await?;
    let answer = case.range(get("large")).await?;
    assert_eq!(answer.kvs[0].value, value);
    Ok(())
}
