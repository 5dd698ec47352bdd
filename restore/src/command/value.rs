//! Values as people and programs read them.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use revkeep_schemas::kubernetes::Recognised;
use serde::Serialize;
use serde_json::Value as Json;

use crate::past::{Version, printable};
use crate::report::size;

/// Paths of a JSON object are compared down to so many names.
const PATH_DEPTH: usize = 2;
/// So many changed paths are named for eyes.
const SHOWN_PATHS: usize = 6;

/// What a value is, in a few words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "format")]
pub(super) enum What {
    /// An object of Kubernetes.
    Kubernetes {
        encoding: &'static str,
        api_version: String,
        kind: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        namespace: String,
        name: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        uid: String,
        /// The API server takes it from the revision, and does not store it.
        resource_version: String,
        labels: usize,
    },
    /// An object of Kubernetes that only its API server can read.
    Encrypted {
        provider: String,
        version: String,
        key: String,
    },
    /// Text.
    Text,
    /// Anything else.
    Binary,
}

impl What {
    /// Says what the value of a version is.
    pub(super) fn of(version: &Version) -> Self {
        let encoding = |json: bool| if json { "json" } else { "protobuf" };
        match Recognised::of(&version.value) {
            Some(Recognised::Encrypted(found)) => Self::Encrypted {
                provider: found.provider,
                version: found.version,
                key: found.key,
            },
            Some(Recognised::Protobuf(object)) => {
                Self::kubernetes(object, encoding(false), version)
            }
            Some(Recognised::Json(object, _)) => Self::kubernetes(object, encoding(true), version),
            None if is_text(&version.value) => Self::Text,
            None => Self::Binary,
        }
    }

    fn kubernetes(
        object: revkeep_schemas::kubernetes::Object,
        encoding: &'static str,
        version: &Version,
    ) -> Self {
        Self::Kubernetes {
            encoding,
            api_version: object.api_version,
            kind: object.kind,
            namespace: object.namespace,
            name: object.name,
            uid: object.uid,
            resource_version: version.at.main.to_string(),
            labels: object.labels,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let safe = |text: &str| printable(text.as_bytes());
        match self {
            Self::Kubernetes {
                api_version,
                kind,
                namespace,
                name,
                uid,
                resource_version,
                labels,
                ..
            } => {
                write!(f, "{} ", safe(kind))?;
                if !namespace.is_empty() {
                    write!(f, "{}/", safe(namespace))?;
                }
                write!(f, "{} ({})", safe(name), safe(api_version))?;
                if !uid.is_empty() {
                    write!(f, " uid {}", safe(uid))?;
                }
                write!(f, " resourceVersion {resource_version}, {labels} labels")
            }
            Self::Encrypted {
                provider,
                version,
                key,
            } => write!(
                f,
                "encrypted by Kubernetes: provider {} {}, key {}",
                safe(provider),
                safe(version),
                safe(key)
            ),
            Self::Text => write!(f, "text"),
            Self::Binary => write!(f, "binary"),
        }
    }
}

/// Whether bytes are text that a terminal can show as it is.
fn is_text(bytes: &[u8]) -> bool {
    let harmless = |c: char| {
        matches!(c, '\n' | '\t' | '\\')
            || printable(c.encode_utf8(&mut [0; 4]).as_bytes())
                .chars()
                .eq([c])
    };
    std::str::from_utf8(bytes).is_ok_and(|text| text.chars().all(harmless))
}

/// A value for eyes: text as it is, an object of Kubernetes that is no text in a few words, all else escaped.
pub(super) fn shown(version: &Version) -> String {
    match What::of(version) {
        what @ (What::Kubernetes {
            encoding: "protobuf",
            ..
        }
        | What::Encrypted { .. }) => format!("{what}, {}", size(version.value.len() as u64)),
        _ if is_text(&version.value) => String::from_utf8_lossy(&version.value).into_owned(),
        _ => printable(&version.value),
    }
}

/// Bytes for programs.
pub(super) fn encoded(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// How two values differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Changed {
    /// Not at all: it was written again.
    Nothing,
    /// JSON, in these places.
    Paths(Vec<String>),
    /// Something else, which has these bytes now and had those before.
    Bytes { before: usize, after: usize },
}

impl Changed {
    pub(super) fn between(before: &[u8], after: &[u8]) -> Self {
        if before == after {
            return Self::Nothing;
        }
        let json = |bytes: &[u8]| {
            serde_json::from_slice::<Json>(bytes)
                .ok()
                .filter(Json::is_object)
        };
        match (json(before), json(after)) {
            (Some(before), Some(after)) => {
                let mut paths = Vec::new();
                compare(&before, &after, "", PATH_DEPTH, &mut paths);
                Self::Paths(paths)
            }
            _ => Self::Bytes {
                before: before.len(),
                after: after.len(),
            },
        }
    }
}

fn compare(before: &Json, after: &Json, path: &str, depth: usize, paths: &mut Vec<String>) {
    if before == after {
        return;
    }
    if depth > 0
        && let (Json::Object(before), Json::Object(after)) = (before, after)
    {
        let added = after.keys().filter(|name| !before.contains_key(*name));
        for name in before.keys().chain(added) {
            let side = |object: &serde_json::Map<String, Json>| {
                object.get(name).cloned().unwrap_or(Json::Null)
            };
            let path = format!("{path}.{name}");
            if before.contains_key(name) == after.contains_key(name) {
                compare(&side(before), &side(after), &path, depth - 1, paths);
            } else {
                paths.push(path);
            }
        }
        return;
    }
    paths.push(path.to_owned());
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => write!(f, "the same value again"),
            Self::Bytes { before, after } => write!(f, "{before} -> {after} bytes"),
            Self::Paths(paths) => {
                let shown: Vec<_> = paths
                    .iter()
                    .take(SHOWN_PATHS)
                    .map(|path| printable(path.as_bytes()))
                    .collect();
                write!(f, "{}", shown.join(" "))?;
                match paths.len().saturating_sub(SHOWN_PATHS) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_json_are_named_by_path() {
        let before = br#"{"a":{"b":1,"c":{"d":1}},"e":[1],"g":null}"#;
        let after = br#"{"a":{"b":2,"c":{"d":2}},"e":[1],"f":1}"#;
        let changed = Changed::between(before, after);
        assert_eq!(changed.to_string(), ".a.b .a.c .g .f");
        assert_eq!(
            Changed::between(b"{}", b"x"),
            Changed::Bytes {
                before: 2,
                after: 1
            }
        );
        assert_eq!(Changed::between(b"x", b"x"), Changed::Nothing);
    }

    #[test]
    fn text_is_what_a_terminal_can_show() {
        for (bytes, text) in [
            (&b"a\nb\tc \\"[..], true),
            (b"", true),
            (b"\x1b[2J", false),
            (b"\xff", false),
            (b"\r", false),
        ] {
            assert_eq!(is_text(bytes), text, "{bytes:?}");
        }
    }
}
