//! What was found, for eyes and for scripts.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use crate::AgentError;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and something should be mended.
    Warn,
    /// It does not work, or soon will not.
    Fail,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub verdict: Verdict,
    /// What was looked at: a constant word.
    pub about: &'static str,
    /// What was found.
    pub found: String,
    /// What to do about it; none for what is ok.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// The exit code of a failure.
    #[serde(skip)]
    code: u8,
}

/// All that was looked at, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    /// As it should be.
    pub(super) fn ok(&mut self, about: &'static str, found: impl Into<String>) {
        self.add(Verdict::Ok, about, found.into(), None, 0);
    }

    /// Something should be mended.
    pub(super) fn warn(
        &mut self,
        about: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(Verdict::Warn, about, found.into(), Some(advice.into()), 0);
    }

    /// It does not work.
    pub(super) fn fail(
        &mut self,
        about: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(Verdict::Fail, about, found.into(), Some(advice.into()), 1);
    }

    /// It does not work, because of an error, which knows its exit code, and perhaps what to do.
    pub(super) fn error(&mut self, about: &'static str, error: &AgentError, advice: &str) {
        let (found, advice) = match error {
            AgentError::Denied { advice, .. } => {
                let text = error.to_string();
                let found = text.strip_suffix(&format!(": {advice}")).unwrap_or(&text);
                (found.to_owned(), advice.clone())
            }
            _ => (error.to_string(), advice.to_owned()),
        };
        self.add(Verdict::Fail, about, found, Some(advice), error.exit_code());
    }

    fn add(
        &mut self,
        verdict: Verdict,
        about: &'static str,
        found: String,
        advice: Option<String>,
        code: u8,
    ) {
        self.findings.push(Finding {
            verdict,
            about,
            found,
            advice,
            code,
        });
    }

    /// The worst of all.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let verdicts = self.findings.iter().map(|one| one.verdict);
        verdicts.max().unwrap_or(Verdict::Ok)
    }

    /// 0 unless something failed; then the code of the first failure: 2 cannot connect, 3 for what was set wrongly or is not
    /// allowed, 16 where the vault holds another cluster, 1 otherwise.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let failed = self
            .findings
            .iter()
            .find(|one| one.verdict == Verdict::Fail);
        failed.map_or(0, |one| one.code)
    }

    /// For scripts.
    #[must_use]
    pub fn as_json(&self) -> Value {
        json!({ "verdict": self.verdict(), "findings": self.findings })
    }

    /// For eyes.
    #[must_use]
    pub fn as_text(&self) -> String {
        let mut text = String::new();
        let width = self.findings.iter().map(|one| one.about.len()).max();
        let width = width.unwrap_or(0);
        for one in &self.findings {
            let (word, about, found) = (one.verdict.word(), one.about, &one.found);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{word:<4}  {about:<width$}  {found}");
            if let Some(advice) = &one.advice {
                let _ = writeln!(text, "{:<4}  {:<width$}  -> {advice}", "", "");
            }
        }
        let count = |verdict| {
            self.findings
                .iter()
                .filter(|one| one.verdict == verdict)
                .count()
        };
        let (failed, warned) = (count(Verdict::Fail), count(Verdict::Warn));
        let _ = match (failed, warned) {
            (0, 0) => write!(text, "all is well"),
            (0, warned) => write!(text, "it works; to be mended: {warned}"),
            (failed, warned) => write!(
                text,
                "it does not work: {failed} failed, {warned} to be mended"
            ),
        };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_decides_and_each_says_what_to_do() {
        let mut report = Report::default();
        report.ok("endpoint", "answers");
        assert_eq!((report.exit_code(), report.verdict()), (0, Verdict::Ok));
        assert!(report.as_text().ends_with("all is well"));
        report.warn("quota", "nearly used up", "defragment");
        assert_eq!((report.exit_code(), report.verdict()), (0, Verdict::Warn));
        let denied = AgentError::Denied {
            endpoint: "e:1".to_owned(),
            operation: "snapshot",
            reason: "no".to_owned(),
            advice: "grant it".to_owned(),
        };
        report.error("snapshot", &denied, "");
        report.fail("alarm", "NOSPACE", "disarm it");
        assert_eq!((report.exit_code(), report.verdict()), (2, Verdict::Fail));
        assert_eq!(
            report.as_text(),
            "ok    endpoint  answers\n\
             warn  quota     nearly used up\n                -> defragment\n\
             FAIL  snapshot  etcd at e:1 refuses snapshot (no)\n                -> grant it\n\
             FAIL  alarm     NOSPACE\n                -> disarm it\n\
             it does not work: 2 failed, 1 to be mended"
        );
        assert_eq!(report.as_json()["findings"][1]["do"], "defragment");
        assert_eq!(report.as_json()["verdict"], "fail");
    }
}
