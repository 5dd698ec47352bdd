//! Bounds on mod and create revision. They take from what was found; the count stays that of the range.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "kv::filters",
        [
            min_mod_revision,
            max_mod_revision,
            min_create_revision,
            max_create_revision,
            both_ends,
            with_a_limit,
            with_a_limit_and_more,
            nothing_left,
            count_only_ignores_them,
        ]
    )
}

/// `a` written at +1 and +5, `b` at +2, `c` at +3 and +6, `d` at +4.
async fn says(case: &Case, ask: RangeRequest) -> Result<(String, bool, i64)> {
    for key in ["a", "b", "c", "d", "a", "c"] {
        case.put(put(key, "")).await?;
    }
    let answer = case.range(ask).await?;
    let keys = answer
        .kvs
        .iter()
        .map(|kv| String::from_utf8_lossy(&kv.key).into_owned());
    Ok((keys.collect(), answer.more, answer.count))
}

async fn min_mod_revision(case: &mut Case) -> Result<()> {
    let ask = RangeRequest {
        min_mod_revision: case.start + 4,
        ..all()
    };
    assert_eq!(says(case, ask).await?, ("acd".into(), false, 4));
    Ok(())
}

async fn max_mod_revision(case: &mut Case) -> Result<()> {
    let ask = RangeRequest {
        max_mod_revision: case.start + 4,
        ..all()
    };
    assert_eq!(says(case, ask).await?, ("bd".into(), false, 4));
    Ok(())
}

async fn min_create_revision(case: &mut Case) -> Result<()> {
    let ask = RangeRequest {
        min_create_revision: case.start + 3,
        ..all()
    };
    assert_eq!(says(case, ask).await?, ("cd".into(), false, 4));
    Ok(())
}

async fn max_create_revision(case: &mut Case) -> Result<()> {
    let ask = RangeRequest {
        max_create_revision: case.start + 3,
        ..all()
    };
    assert_eq!(says(case, ask).await?, ("abc".into(), false, 4));
    Ok(())
}

async fn both_ends(case: &mut Case) -> Result<()> {
    let ask = RangeRequest {
        min_mod_revision: case.start + 4,
        max_mod_revision: case.start + 5,
        min_create_revision: case.start + 1,
        max_create_revision: case.start + 3,
        ..all()
    };
    assert_eq!(says(case, ask).await?, ("a".into(), false, 4));
    Ok(())
}

async fn with_a_limit(case: &mut Case) -> Result<()> {
    // The limit counts what is left after the bounds.
    let ask = RangeRequest {
        max_mod_revision: case.start + 4,
        limit: 2,
        ..all()
    };
    assert_eq!(says(case, ask).await?, ("bd".into(), false, 4));
    Ok(())
}

async fn with_a_limit_and_more(case: &mut Case) -> Result<()> {
    let ask = RangeRequest {
        min_mod_revision: case.start + 4,
        limit: 2,
        ..all()
    };
    assert_eq!(says(case, ask).await?, ("ac".into(), true, 4));
    Ok(())
}

async fn nothing_left(case: &mut Case) -> Result<()> {
    let ask = RangeRequest {
        min_mod_revision: case.start + 100,
        ..all()
    };
    assert_eq!(says(case, ask).await?, (String::new(), false, 4));
    Ok(())
}

async fn count_only_ignores_them(case: &mut Case) -> Result<()> {
    let ask = RangeRequest {
        min_mod_revision: case.start + 5,
        count_only: true,
        ..all()
    };
    assert_eq!(says(case, ask).await?, (String::new(), false, 4));
    Ok(())
}
