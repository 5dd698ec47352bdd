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

    /// A command that runs now, or that the reader can try.
    pub(super) fn command(&self, text: &str) {
        self.line(CYAN, &format!("      $ {text}"));
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

fn put(text: &str) {
    let mut out = io::stdout().lock();
    // A reader who has closed the pipe has seen enough; the story still ends its processes.
    let _closed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
