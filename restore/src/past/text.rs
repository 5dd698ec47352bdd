//! Bytes as a terminal can show them.

use std::fmt::Write as _;

/// Bytes as text on one line: what is printable UTF-8 stays, all else is `\n`, `\t`, `\\`, `\x1b` and the like, so that no
/// value can move the cursor or end a line.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for piece in bytes.utf8_chunks() {
        for c in piece.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c.is_control() || is_invisible(c) => {
                    let mut buffer = [0; 4];
                    push_hex(&mut out, c.encode_utf8(&mut buffer).as_bytes());
                }
                c => out.push(c),
            }
        }
        push_hex(&mut out, piece.invalid());
    }
    out
}

/// What changes the direction of text, or has no width: it could make one key look like another.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _infallible = write!(out, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn nothing_can_hide_or_move_the_cursor() {
        assert_eq!(printable("/a b/ä".as_bytes()), "/a b/ä");
        assert_eq!(printable(b"\x1b[2J\\\n\0\xff"), "\\x1b[2J\\\\\\n\\x00\\xff");
        assert_eq!(printable("a\u{202e}b".as_bytes()), "a\\xe2\\x80\\xaeb");
    }
}
