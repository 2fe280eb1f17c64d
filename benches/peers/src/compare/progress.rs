//! How far it is and how long is left: a bar on a terminal, a line now and then elsewhere.

use core::time::Duration;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use std::time::Instant;

const STYLE: &str = "{prefix} {bar:30} {pos}/{len} {msg}  {elapsed_precise}, {eta} left";
const BETWEEN_LINES: Duration = Duration::from_secs(10);

pub(crate) struct Progress {
    bar: ProgressBar,
    began: Instant,
    said: Instant,
}

impl Progress {
    pub(crate) fn new(what: &'static str, total: usize) -> Self {
        let bar = ProgressBar::new(total as u64).with_prefix(what);
        bar.set_style(ProgressStyle::with_template(STYLE).expect("the template is fixed"));
        bar.enable_steady_tick(Duration::from_secs(1));
        let now = Instant::now();
        Self { bar, began: now, said: now }
    }

    /// What is being done now.
    pub(crate) fn at(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// One more is done.
    pub(crate) fn step(&mut self) {
        self.steps(1);
    }

    /// So many more are done.
    pub(crate) fn steps(&mut self, many: usize) {
        self.bar.inc(many as u64);
        if self.bar.is_hidden() && self.said.elapsed() >= BETWEEN_LINES {
            self.said = Instant::now();
            eprintln!("{}: {}", self.bar.prefix(), self.state());
        }
    }

    /// Says something that stays on the screen.
    pub(crate) fn say(&self, what: &str) {
        self.bar.suspend(|| eprintln!("{what}"));
    }

    fn state(&self) -> String {
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let left = self.began.elapsed().mul_f64((total - done) as f64 / done.max(1) as f64);
        format!("{done} of {total} ({}), about {} left", self.bar.message(), HumanDuration(left))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
