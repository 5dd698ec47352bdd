//! What was asked for on the command line, and what is told of each case.

use anyhow::Result;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Which cases to run. What it does not know it ignores: cargo gives the same arguments to every test binary.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    wanted: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    /// Only say which cases there are.
    pub(crate) list: bool,
    /// How many groups run at once.
    pub(crate) threads: Option<usize>,
}

impl Choice {
    /// Reads the arguments as libtest would.
    pub(crate) fn from_arguments(arguments: impl Iterator<Item = String>) -> Self {
        let mut choice = Self::default();
        let mut arguments = arguments.flat_map(|argument| match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => {
                vec![flag.to_owned(), value.to_owned()]
            }
            _ => vec![argument],
        });
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => choice.list = true,
                "--exact" => choice.exact = true,
                "--skip" => choice.skipped.extend(arguments.next()),
                "--test-threads" => {
                    choice.threads = arguments.next().and_then(|threads| threads.parse().ok());
                }
                "--format" | "--color" | "--logfile" | "-Z" => drop(arguments.next()),
                flag if flag.starts_with('-') => {}
                _ => choice.wanted.push(argument),
            }
        }
        choice
    }

    /// Whether the case of this name is to run.
    pub(crate) fn takes(&self, name: &str) -> bool {
        let meets = |text: &String| {
            if self.exact {
                name == text
            } else {
                name.contains(text.as_str())
            }
        };
        (self.wanted.is_empty() || self.wanted.iter().any(meets))
            && !self.skipped.iter().any(|text| name.contains(text.as_str()))
    }
}

/// What is known of the cases so far.
#[derive(Debug)]
pub(crate) struct Report {
    started: Instant,
    counts: Mutex<(usize, Vec<(String, String)>)>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            counts: Mutex::default(),
        }
    }
}

impl Report {
    /// Tells how a case ended.
    pub(crate) fn case(&self, name: &str, outcome: Result<()>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) => {
                counts.0 += 1;
                say(&format!("test {name} ... ok"));
            }
            Err(error) => {
                say(&format!("test {name} ... FAILED"));
                counts.1.push((name.to_owned(), format!("{error:#}")));
            }
        }
    }

    /// Tells the names.
    pub(crate) fn list<'a>(names: impl Iterator<Item = &'a String>) -> ExitCode {
        let count = names.map(|name| say(&format!("{name}: test"))).count();
        say(&format!("\n{count} tests, 0 benchmarks"));
        ExitCode::SUCCESS
    }

    /// Tells why nothing could be asked.
    pub(crate) fn failed_to_start(error: &anyhow::Error) -> ExitCode {
        say(&format!("no server to ask: {error:#}"));
        ExitCode::FAILURE
    }

    /// Tells every failure again, and the sum.
    pub(crate) fn finish(self) -> ExitCode {
        let (passed, failures) = self
            .counts
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        for (name, error) in &failures {
            say(&format!("\n---- {name} ----\n{error}"));
        }
        let verdict = if failures.is_empty() { "ok" } else { "FAILED" };
        say(&format!(
            "\ntest result: {verdict}. {passed} passed; {} failed; finished in {:.2}s\n",
            failures.len(),
            self.started.elapsed().as_secs_f32()
        ));
        if failures.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) {
    // With standard output closed there is nobody to tell.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
