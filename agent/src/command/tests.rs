use super::*;

fn words(words: &[&str]) -> Vec<std::ffi::OsString> {
    let all = std::iter::once("revkeep-agent").chain(words.iter().copied());
    all.map(Into::into).collect()
}

#[test]
fn every_setting_is_a_flag_a_variable_and_a_key() {
    let command = invocation::command();
    command.clone().debug_assert();
    let run = command.find_subcommand("run").unwrap();
    let defaults = serde_json::to_value(Settings::defaults()).unwrap();
    for key in Settings::keys() {
        let id = key.replace('-', "_");
        let argument = run
            .get_arguments()
            .chain(command.get_arguments())
            .find(|one| one.get_id() == id.as_str())
            .unwrap_or_else(|| panic!("{key} is no flag"));
        assert_eq!(argument.get_long(), Some(key.as_str()));
        let variable = format!("REVKEEP_{}", id.to_ascii_uppercase());
        assert_eq!(argument.get_env().unwrap(), variable.as_str());
        let help = argument.get_help().unwrap().to_string();
        let text = match &defaults[&key] {
            serde_json::Value::Null => continue,
            serde_json::Value::Array(all) => all[0].as_str().unwrap().to_owned(),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        assert!(
            help.contains(&format!("default: {text}]")),
            "{key}: {help}, not {text}"
        );
    }
    // And nothing is a flag of `run` that is no setting.
    for argument in run.get_arguments() {
        let known = Settings::keys().contains(&argument.get_id().as_str().replace('_', "-"));
        let known =
            known || ["help", "config", "write_out", "debug"].contains(&argument.get_id().as_str());
        assert!(known, "{argument:?}");
    }
}

#[test]
fn a_switch_needs_no_value_and_takes_one() {
    let says = |flag: &str| {
        let read = Invocation::parse(words(&["run", flag])).unwrap();
        format!("{read:?}").contains("insecure_skip_tls_verify: Some(true)")
    };
    assert!(says("--insecure-skip-tls-verify"));
    assert!(says("--insecure-skip-tls-verify=1"));
    assert!(!says("--insecure-skip-tls-verify=false"));
}

#[test]
fn a_snapshot_shows_what_matters_to_it_alone() {
    let mut command = invocation::command();
    let help = command
        .find_subcommand_mut("snapshot")
        .unwrap()
        .render_long_help()
        .to_string();
    assert!(
        help.contains("--vault") && help.contains("--hashkv"),
        "{help}"
    );
    assert!(!help.contains("--flush-interval"), "{help}");
}

#[test]
fn the_secrets_of_a_command_line_are_not_in_its_debug_text() {
    let flags = ["run", "--user", "root:secret", "--password=secret"];
    let read = Invocation::parse(words(&flags)).unwrap();
    let text = format!("{read:?}");
    assert!(text.contains("root") && !text.contains("secret"), "{text}");
}
