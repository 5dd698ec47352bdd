//! What somebody may have meant.

/// Below this two words have little in common.
const SIMILAR: f64 = 0.8;

/// The known word that is most like this one, if any is much like it.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let alike = known
        .into_iter()
        .map(|one| (strsim::jaro_winkler(word, one), one));
    let (similarity, best) = alike.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (similarity >= SIMILAR).then_some(best)
}

/// The same as a question after an error; empty if there is none.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |best| format!("; did you mean {best}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_a_stranger_is_not() {
        let known = ["flush-interval", "flush-bytes", "vault"];
        assert_eq!(nearest("flush-intervall", known), Some("flush-interval"));
        assert_eq!(nearest("flush_interval", known), Some("flush-interval"));
        assert_eq!(nearest("valut", known), Some("vault"));
        assert_eq!(nearest("colour", known), None);
    }
}
