//! Sizes as operators write them.

/// Reads a number of bytes: `8MiB`, `64KiB`, `1GiB`, powers of ten with `kB`, `MB`, `GB`, or a plain number.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        other => return Err(format!("'{other}' is no unit: use KiB, MiB, GiB or TiB")),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "a size starts with a whole number, as in 8MiB".to_owned())?;
    number
        .checked_mul(unit)
        .ok_or_else(|| "the size is too large".to_owned())
}

/// Writes a number of bytes so that [`parse`] reads the same.
#[must_use]
pub fn words(bytes: u64) -> String {
    let units = [
        (1 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    let unit = units
        .into_iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    match unit {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn writes_what_it_reads() {
        for (bytes, text) in [
            (0, "0"),
            (1023, "1023"),
            (8 << 20, "8MiB"),
            (2 << 30, "2GiB"),
            (1025, "1025"),
        ] {
            assert_eq!(super::words(bytes), text);
            assert_eq!(super::parse(text), Ok(bytes));
        }
    }

    #[test]
    fn reads_units() {
        assert_eq!(super::parse("8MiB"), Ok(8 << 20));
        assert_eq!(super::parse("100"), Ok(100));
        assert_eq!(super::parse("2 MB"), Ok(2_000_000));
        assert!(super::parse("MiB").is_err());
        assert!(super::parse("8 miles").is_err());
        assert!(super::parse("99999999999GiB").is_err());
    }
}
