use super::super::Settings;
use super::super::Sources;
use super::super::load::load;
use super::*;

fn loaded(given: Settings, variables: &[(&str, &str)]) -> Loaded {
    let sources = Sources {
        given,
        ..Sources::default()
    };
    let variable = |name: &str| {
        let found = variables.iter().find(|(one, _)| *one == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    load(&sources, variable).unwrap()
}

fn user(given: Settings, variables: &[(&str, &str)]) -> Option<(String, String)> {
    let connection = loaded(given, variables).connection().unwrap();
    let user = connection.access().user?;
    let Password::Given(secret) = &user.password else {
        panic!("a file");
    };
    Some((user.name.clone(), secret.reveal().to_owned()))
}

#[test]
fn name_and_password_come_from_the_source_that_wins() {
    let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
    let flag = |user: &str| Settings {
        user: user.parse().ok(),
        ..Settings::default()
    };
    let both = Settings {
        password: "p".parse().ok(),
        ..flag("a:b")
    };
    assert_eq!(user(Settings::default(), &[]), None);
    assert_eq!(user(flag("root:se:cret"), &[]), pair("root", "se:cret"));
    assert_eq!(user(both, &[]), pair("a:b", "p"));
    let variables = [("ETCDCTL_PASSWORD", "q")];
    assert_eq!(user(flag("root"), &variables), pair("root", "q"));
    assert_eq!(
        user(flag("root:secret"), &variables),
        pair("root", "secret")
    );
    let variables = [("ETCDCTL_USER", "x:y")];
    assert_eq!(user(Settings::default(), &variables), pair("x", "y"));
}

#[test]
fn what_does_not_fit_is_refused() {
    let wrong = |given: Settings| {
        let loaded = loaded(given, &[]);
        let error = loaded.route().err().or_else(|| loaded.options().err());
        error.unwrap().to_string()
    };
    let base = || Settings {
        vault: Some("memory:".to_owned()),
        cluster: Some("c".to_owned()),
        ..Settings::default()
    };
    assert!(wrong(Settings::default()).starts_with("--vault is needed"));
    let user = "root".parse().ok();
    assert!(wrong(Settings { user, ..base() }).starts_with("--user has no password"));
    let two = Settings {
        user: "root".parse().ok(),
        password: "x".parse().ok(),
        password_file: Some("f".into()),
        ..base()
    };
    assert!(wrong(two).contains("give one"));
    let cert = Some("c".into());
    assert!(wrong(Settings { cert, ..base() }).contains("belong together"));
    let flush_interval = Some(Period(Duration::from_millis(99)));
    assert!(
        wrong(Settings {
            flush_interval,
            ..base()
        })
        .starts_with("--flush-interval")
    );
    let status_cacert = Some("c".into());
    assert!(
        wrong(Settings {
            status_cacert,
            ..base()
        })
        .starts_with("--status-cacert")
    );
}

#[test]
fn every_fixed_setting_is_one() {
    let keys = Settings::keys();
    let fixed = keys.iter().filter(|key| needs_restart(key)).count();
    assert_eq!(fixed, 12);
}
