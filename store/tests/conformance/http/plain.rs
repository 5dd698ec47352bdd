//! `/version`, `/health` and their like.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "http::plain",
        [
            version,
            version_by_another_method,
            health,
            health_of_this_member_alone,
            health_by_another_method,
            alive_and_ready,
            what_is_not_there,
            a_check_that_is_not_there,
        ]
    )
}

/// With an alarm.
pub(crate) fn unwell() -> Group {
    group!("http::unwell", [an_alarm, an_alarm_that_is_not_asked_for]).alone()
}

async fn version(case: &mut Case) -> Result<()> {
    let mut answer = http(case, "GET", "/version", "").await?;
    while answer.body.contains("not_decided") {
        tokio::time::sleep(Duration::from_millis(50)).await;
        answer = http(case, "GET", "/version", "").await?;
    }
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let status = case.status(StatusRequest {}).await?;
    let expected = format!(
        r#"{{"etcdserver":"{}","etcdcluster":"3.5.0"}}"#,
        status.version
    );
    assert_eq!(answer.body, expected);
    Ok(())
}

async fn version_by_another_method(case: &mut Case) -> Result<()> {
    let answer = http(case, "POST", "/version", "").await?;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow"), Some("GET"));
    Ok(())
}

const WELL: &str = r#"{"health":"true","reason":""}"#;

async fn health(case: &mut Case) -> Result<()> {
    let answer = http(case, "GET", "/health", "").await?;
    assert_eq!((answer.status, answer.body.as_str()), (200, WELL));
    Ok(())
}

async fn health_of_this_member_alone(case: &mut Case) -> Result<()> {
    let answer = http(case, "GET", "/health?serializable=true", "").await?;
    assert_eq!((answer.status, answer.body.as_str()), (200, WELL));
    Ok(())
}

async fn health_by_another_method(case: &mut Case) -> Result<()> {
    let answer = http(case, "POST", "/health", "").await?;
    assert_eq!(answer.status, 405);
    Ok(())
}

async fn alive_and_ready(case: &mut Case) -> Result<()> {
    if case.is_etcd_before(11) {
        return Ok(());
    }
    for path in ["/livez", "/readyz"] {
        let answer = http(case, "GET", path, "").await?;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "ok\n"),
            "{path}"
        );
    }
    let answer = http(case, "GET", "/readyz?verbose", "").await?;
    assert_eq!(answer.status, 200);
    for check in [
        "[+]data_corruption ok",
        "[+]serializable_read ok",
        "[+]linearizable_read ok",
    ] {
        assert!(answer.body.contains(check), "{}", answer.body);
    }
    Ok(())
}

async fn what_is_not_there(case: &mut Case) -> Result<()> {
    let answer = http(case, "GET", "/no/such/page", "").await?;
    assert_eq!(answer.status, 404);
    Ok(())
}

async fn a_check_that_is_not_there(case: &mut Case) -> Result<()> {
    for path in [
        "/readyz/nothing",
        "/readyz/nothing?exclude=nothing",
        "/livez/",
    ] {
        assert_eq!(http(case, "GET", path, "").await?.status, 404, "{path}");
    }
    Ok(())
}

async fn raise(case: &Case) -> Result<()> {
    case.alarm(AlarmRequest {
        action: alarm_request::AlarmAction::Activate.into(),
        member_id: case.member_id(),
        alarm: AlarmType::Nospace.into(),
    })
    .await?;
    Ok(())
}

async fn an_alarm(case: &mut Case) -> Result<()> {
    raise(case).await?;
    let answer = http(case, "GET", "/health", "").await?;
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.body,
        "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n"
    );
    Ok(())
}

async fn an_alarm_that_is_not_asked_for(case: &mut Case) -> Result<()> {
    raise(case).await?;
    let answer = http(case, "GET", "/health?exclude=NOSPACE", "").await?;
    assert_eq!((answer.status, answer.body.as_str()), (200, WELL));
    Ok(())
}
