//! Variables: `REVKEEP_*` with a flag's words in capitals, and those that etcdctl knows.

use super::file::ReadFile;
use super::settings::{Settings, key};
use super::suggest::did_you_mean;
use super::values::split;
use crate::AgentError;

/// The settings that etcdctl has too.
pub(super) const ETCDCTL: [&str; 9] = [
    "endpoints",
    "cacert",
    "cert",
    "key",
    "insecure_skip_tls_verify",
    "user",
    "password",
    "dial_timeout",
    "command_timeout",
];

/// Variables of ours that are no settings.
const OTHERS: [&str; 5] = [
    "REVKEEP_CONFIG",
    "REVKEEP_AGENT",
    "REVKEEP_AGENT_CACERT",
    "REVKEEP_AGENT_CERT",
    "REVKEEP_AGENT_KEY",
];

/// A field's variable.
pub(super) fn name(prefix: &str, field: &str) -> String {
    format!("{prefix}_{}", field.to_ascii_uppercase())
}

/// What etcdctl's variables say.
///
/// # Errors
/// [`AgentError::Config`] that names the variable.
pub(super) fn etcdctl(variable: impl Fn(&str) -> Option<String>) -> Result<Settings, AgentError> {
    let text = |field| variable(&name("ETCDCTL", field)).filter(|text| !text.is_empty());
    let wrong = |field| {
        let name = name("ETCDCTL", field);
        move |error: String| AgentError::Config(format!("{name}: {error}"))
    };
    let period = |field| {
        let read = text(field).map(|text| text.parse()).transpose();
        read.map_err(wrong(field))
    };
    let skip = text("insecure_skip_tls_verify").map(|text| match text.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    });
    Ok(Settings {
        endpoints: text("endpoints").map(|text| split(&text)),
        cacert: text("cacert").map(Into::into),
        cert: text("cert").map(Into::into),
        key: text("key").map(Into::into),
        insecure_skip_tls_verify: skip
            .transpose()
            .map_err(wrong("insecure_skip_tls_verify"))?,
        user: text("user").and_then(|text| text.parse().ok()),
        password: text("password").map(Into::into),
        dial_timeout: period("dial_timeout")?,
        command_timeout: period("command_timeout")?,
        ..Settings::default()
    })
}

/// What is wrong with variables that begin with `REVKEEP_` and are nothing: a warning each, and not an error, since
/// Kubernetes makes such variables too, for a service of this name.
pub(crate) fn unknown(names: impl Iterator<Item = String>) -> Vec<String> {
    let known = Settings::keys();
    let known = known
        .iter()
        .map(|key| name("REVKEEP", &key.replace('-', "_")));
    let known: Vec<String> = known.chain(OTHERS.map(str::to_owned)).collect();
    let ours = names.filter(|name| name.starts_with("REVKEEP_"));
    let strange = ours.filter(|name| !known.contains(name) && !of_a_service(name));
    strange
        .map(|name| {
            let nearest = did_you_mean(&name, known.iter().map(String::as_str));
            format!("the variable {name} is no setting{nearest}")
        })
        .collect()
}

/// Whether Kubernetes would make it for a service.
fn of_a_service(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.contains("_PORT_")
}

/// The place of a field in a file.
pub(super) fn place(file: &ReadFile, field: &str) -> String {
    file.places.get(&key(field)).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_in_a_variable_is_told() {
        let names = [
            "REVKEEP_FLUSH_INTERVALL",
            "REVKEEP_VAULT",
            "REVKEEP_AGENT",
            "PATH",
            "REVKEEP_SERVICE_HOST",
            "REVKEEP_AGENT_PORT_2389_TCP_ADDR",
        ];
        let told = unknown(names.into_iter().map(str::to_owned));
        assert_eq!(
            told,
            [
                "the variable REVKEEP_FLUSH_INTERVALL is no setting; did you mean REVKEEP_FLUSH_INTERVAL?"
            ]
        );
    }

    #[test]
    fn a_wrong_value_names_its_variable() {
        let error = etcdctl(|name| (name == "ETCDCTL_DIAL_TIMEOUT").then(|| "soon".to_owned()));
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("ETCDCTL_DIAL_TIMEOUT: "), "{error}");
    }
}
