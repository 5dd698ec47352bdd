//! Keys as paths of files, and back.
//!
//! | in a key | in the path |
//! |---|---|
//! | `/` | a folder |
//! | letters, digits, `.`, `_`, `-` | themselves |
//! | any other byte | `%` and two hexadecimal digits |
//! | nothing between two `/`, before the first or after the last | `%` alone |
//! | a part of a key that is `.` or `..` | its first dot as `%2E` |
//! | more than 200 bytes without a `/` | several folders, all but the last with `%+` behind them |
//!
//! The last name ends with `.val`; a folder that would, has its last letter as `%6C`. So no key is in the way of another, no path
//! leaves its folder, and every path is of one key. On a file system that does not tell capitals apart, keys that differ in them alone
//! collide.

use std::fmt::Write as _;
use std::path::PathBuf;

/// What a file of a value ends with.
const SUFFIX: &str = ".val";
/// Bytes of a name, so that with what is added no file system finds it too long.
const MAX_NAME_BYTES: usize = 200;

/// The path of a key's file, relative to the folder.
#[must_use]
pub fn path_of(key: &[u8]) -> PathBuf {
    let mut names = Vec::new();
    for part in key.split(|byte| *byte == b'/') {
        let tokens = tokens(part);
        let mut name = String::new();
        for token in tokens {
            if name.len() + token.len() > MAX_NAME_BYTES {
                name.push_str("%+");
                names.push(std::mem::take(&mut name));
            }
            name.push_str(&token);
        }
        names.push(name);
    }
    let last = names.pop().unwrap_or_default();
    let folders = names
        .into_iter()
        .map(|name| match name.strip_suffix(SUFFIX) {
            Some(start) => format!("{start}.va%6C"),
            None => name,
        });
    let mut path: PathBuf = folders.collect();
    path.push(format!("{last}{SUFFIX}"));
    path
}

/// The letters of a part, escaped where they have to be.
fn tokens(part: &[u8]) -> Vec<String> {
    if part.is_empty() {
        return vec!["%".to_owned()];
    }
    let dots = matches!(part, b"." | b"..");
    let escape = |(at, byte): (usize, &u8)| {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if plain && !(dots && at == 0) {
            return char::from(*byte).to_string();
        }
        let mut token = String::new();
        let _infallible = write!(token, "%{byte:02X}");
        token
    };
    part.iter().enumerate().map(escape).collect()
}

/// The key whose file has this path; `None` for a path that is no key's.
#[must_use]
pub fn key_of_path(path: &str) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    let mut goes_on = true;
    for name in path.strip_suffix(SUFFIX)?.split('/') {
        if !goes_on {
            key.push(b'/');
        }
        let (name, cut) = match name.strip_suffix("%+") {
            Some(name) => (name, true),
            None => (name, false),
        };
        goes_on = cut;
        let mut rest = name.as_bytes();
        if rest == b"%" {
            continue;
        }
        while let Some((byte, after)) = rest.split_first() {
            if *byte != b'%' {
                key.push(*byte);
                rest = after;
                continue;
            }
            let (digits, after) = after.split_first_chunk::<2>()?;
            key.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        }
    }
    (path_of(&key).to_str() == Some(path)).then_some(key)
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn safe(key: &[u8]) -> String {
        let path = path_of(key);
        assert!(
            path.components()
                .all(|part| matches!(part, Component::Normal(_))),
            "{path:?}"
        );
        assert!(path.iter().all(|name| name.len() <= 255), "{path:?}");
        path.to_str().unwrap().to_owned()
    }

    proptest! {
        #[test]
        fn every_key_has_a_path_of_its_own(key in vec(any::<u8>(), 1..60), odd in "[/.%val+A]{1,40}", long in 0usize..900) {
            let long = [b"a/".to_vec(), vec![b'~'; long], b"/b".to_vec()].concat();
            for key in [key, odd.into_bytes(), long] {
                prop_assert_eq!(key_of_path(&safe(&key)), Some(key));
            }
        }

        #[test]
        fn no_key_is_in_the_way_of_another(one in "[/.val%]{1,9}", two in "[/.val%]{1,9}") {
            let (a, b) = (path_of(one.as_bytes()), path_of(two.as_bytes()));
            prop_assert_eq!(a == b, one == two);
            prop_assert!(a == b || !a.starts_with(&b));
        }
    }

    #[test]
    fn paths_are_what_people_expect() {
        for (key, path) in [
            (
                "/registry/pods/shop/web-0",
                "%/registry/pods/shop/web-0.val",
            ),
            ("a", "a.val"),
            ("a.val/b", "a.va%6C/b.val"),
            ("../../etc/passwd", "%2E./%2E./etc/passwd.val"),
            ("a//", "a/%/%.val"),
            ("ä b", "%C3%A4%20b.val"),
        ] {
            assert_eq!(safe(key.as_bytes()), path);
        }
        assert_eq!(key_of_path("a/../b.val"), None);
        assert_eq!(key_of_path("b"), None);
    }
}
