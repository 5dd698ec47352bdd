//! JSON text as Go's `encoding/json` writes it, where bytes have to be equal.

use std::fmt::Write;

/// Appends a string literal. Go escapes `<`, `>`, `&` and the two Unicode line separators besides what JSON asks for.
pub(super) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

/// Appends an array of strings.
pub(super) fn push_strings(out: &mut String, texts: &[String]) {
    out.push('[');
    for (position, text) in texts.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        push_string(out, text);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_as_go_does() {
        let mut out = String::new();
        push_string(&mut out, "a\"\\\n\u{1}<&>\u{2028}\u{7f}ü");
        assert_eq!(
            out,
            "\"a\\\"\\\\\\n\\u0001\\u003c\\u0026\\u003e\\u2028\u{7f}ü\""
        );
    }
}
