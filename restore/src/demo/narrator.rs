//! What the reader sees: numbered steps, facts below them, commands as they could be typed.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Tells the story on standard output. With a terminal it uses bold and colour, unless `NO_COLOR` is set; a log gets the same
/// words without.
pub(super) struct Narrator {
    styled: bool,
    step: u32,
    steps: u32,
    began: Instant,
}

/// Commands are folded at this width.
const COMMAND_COLUMNS: usize = 90;
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const CYAN: &str = "\x1b[36m";
const RESET: &str = "\x1b[0m";

impl Narrator {
    pub(super) fn new(steps: u32) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            styled: wanted && io::stdout().is_terminal(),
            step: 0,
            steps,
            began: Instant::now(),
        }
    }

    /// Time since the story began.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The first line.
    pub(super) fn title(&self, text: &str) {
        self.line(BOLD, text);
    }

    /// Begins the next step.
    pub(super) fn step(&mut self, text: &str) {
        self.step += 1;
        let seconds = self.began.elapsed().as_secs_f64();
        let heading = format!("[{}/{}] {text}", self.step, self.steps);
        let (bold, dim, reset) = if self.styled {
            (BOLD, DIM, RESET)
        } else {
            ("", "", "")
        };
        put(&format!(
            "\n{bold}{heading}{reset} {dim}({seconds:.1} s){reset}\n"
        ));
    }

    /// A fact.
    pub(super) fn say(&self, text: &str) {
        self.line("", &format!("      {text}"));
    }

    /// The fact that everything was about.
    pub(super) fn proved(&self, text: &str) {
        self.line(GREEN, &format!("      {text}"));
    }

    /// A command that runs now, or that the reader can try. A long one continues on further lines, as a shell takes it.
    pub(super) fn command(&self, words: &[String]) {
        let lines = fold(words, COMMAND_COLUMNS);
        self.line(CYAN, &format!("      $ {}", lines.join(" \\\n          ")));
    }

    /// What a command answered.
    pub(super) fn output(&self, text: &str) {
        for line in text.trim_end().lines() {
            self.line(DIM, &format!("        {line}"));
        }
    }

    fn line(&self, style: &str, text: &str) {
        if self.styled && !style.is_empty() {
            put(&format!("{style}{text}{RESET}\n"));
        } else {
            put(&format!("{text}\n"));
        }
    }
}

/// Lines of at most `columns` characters where that can be; a flag stays with its value.
fn fold(words: &[String], columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let mut part = word.clone();
        if word.starts_with("--")
            && let Some(value) = words.next_if(|next| !next.starts_with("--"))
        {
            part = format!("{part} {value}");
        }
        match lines.last_mut() {
            Some(line) if line.len() + 1 + part.len() <= columns => {
                line.push(' ');
                line.push_str(&part);
            }
            _ => lines.push(part),
        }
    }
    lines
}

fn put(text: &str) {
    let mut out = io::stdout().lock();
    // A reader who has closed the pipe has seen enough; the story still ends its processes.
    let _closed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_command_is_folded_between_its_flags() {
        let words = "revkeep restore demo --to-revision 12 --dry-run --vault file:///tmp/a/vault";
        let words: Vec<_> = words.split(' ').map(str::to_owned).collect();
        let lines = fold(&words, 38);
        assert_eq!(
            lines,
            [
                "revkeep restore demo --to-revision 12",
                "--dry-run --vault file:///tmp/a/vault"
            ]
        );
        assert_eq!(lines.join(" "), words.join(" "));
        assert_eq!(fold(&words, 200).len(), 1);
    }
}
