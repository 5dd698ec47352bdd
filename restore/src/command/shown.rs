//! An answer for eyes, made from the same fields that JSON has.

use std::fmt;

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use serde_json::Value;

use crate::report::size;

/// Something that is shown field by field: single values as lines, lists as tables.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Shown<'a, T>(pub(super) &'a T);

impl<T: Serialize> fmt::Display for Shown<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match serde_json::to_value(self.0).map_err(|_| fmt::Error)? {
            Value::Array(rows) => table(f, &rows, ""),
            Value::Object(fields) => {
                let width = fields.keys().map(String::len).max().unwrap_or_default();
                for (name, value) in &fields {
                    if !matches!(value, Value::Array(_) | Value::Object(_)) {
                        let name = heading(name);
                        writeln!(
                            f,
                            "{name:<width$}  {}",
                            cell(&name_of(&fields, value), value)
                        )?;
                    }
                }
                for (name, value) in &fields {
                    match value {
                        Value::Array(rows) if !rows.is_empty() => {
                            writeln!(f, "\n{}", heading(name))?;
                            table(f, rows, "  ")?;
                        }
                        Value::Object(_) => {
                            writeln!(f, "\n{}", heading(name))?;
                            table(f, std::slice::from_ref(value), "  ")?;
                        }
                        _ => {}
                    }
                }
                Ok(())
            }
            other => writeln!(f, "{other}"),
        }
    }
}

/// The name of a field that has this very value.
fn name_of(fields: &serde_json::Map<String, Value>, value: &Value) -> String {
    let field = fields.iter().find(|(_, one)| std::ptr::eq(*one, value));
    field.map(|(name, _)| name.clone()).unwrap_or_default()
}

fn heading(name: &str) -> String {
    name.trim_end_matches("_ms")
        .trim_end_matches("_unix")
        .replace('_', " ")
}

fn cell(name: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(number) if name.ends_with("_ms") => {
            let time = number.as_i64().and_then(DateTime::from_timestamp_millis);
            // `stored` is the object store's clock, all others are an agent's or a person's.
            let about = if name.starts_with("stored") {
                ""
            } else {
                "≈ "
            };
            time.map_or_else(
                || number.to_string(),
                |time| format!("{about}{}", time.to_rfc3339_opts(SecondsFormat::Secs, true)),
            )
        }
        Value::Number(number) if name.ends_with("bytes") => {
            number.as_u64().map_or_else(|| number.to_string(), size)
        }
        other => other.to_string(),
    }
}

/// Rows with a column for each field of the first one.
fn table(f: &mut fmt::Formatter<'_>, rows: &[Value], indent: &str) -> fmt::Result {
    let Some(Value::Object(first)) = rows.first() else {
        for row in rows {
            writeln!(f, "{indent}{}", cell("", row))?;
        }
        return Ok(());
    };
    let names: Vec<&String> = first.keys().collect();
    let mut lines = vec![names.iter().map(|name| heading(name)).collect::<Vec<_>>()];
    for row in rows {
        let of = |name: &&String| cell(name, row.get(name.as_str()).unwrap_or(&Value::Null));
        lines.push(names.iter().map(of).collect());
    }
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    for line in &lines {
        let mut text = String::from(indent);
        for (cell, width) in line.iter().zip(&widths) {
            let fill = " ".repeat(width.saturating_sub(cell.chars().count()) + 2);
            text = format!("{text}{cell}{fill}");
        }
        writeln!(f, "{}", text.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_lines_and_lists_become_tables() {
        let value = serde_json::json!({
            "cluster": "prod", "maximum": null, "bytes": 2048, "stored_ms": 0,
            "ranges": [{"first": 1, "last": 100}, {"first": 2000, "last": 3}],
        });
        let text = Shown(&value).to_string();
        assert!(text.contains("cluster    prod\n"), "{text}");
        assert!(text.contains("maximum    -\n"), "{text}");
        assert!(text.contains("stored     1970-01-01T00:00:00Z\n"), "{text}");
        assert!(
            text.contains("ranges\n  first  last\n  1      100\n  2000   3\n"),
            "{text}"
        );
    }
}
