//! How far the run is: a bar on a terminal, a line for each phase elsewhere. On stderr, both.

use core::time::Duration;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use crate::options::Plan;
use crate::round::PHASES;

const TEMPLATE: &str = "{spinner} [{elapsed}] {bar:30} {percent:>3} %  {msg}";
const TICK: Duration = Duration::from_millis(100);

pub(crate) struct Progress {
    bar: ProgressBar,
    rounds: usize,
}

impl Progress {
    pub(crate) fn new(plan: &Plan, services: usize) -> Self {
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is a constant, and right");
        let steps = plan.rounds * services * PHASES;
        let bar = ProgressBar::new(steps as u64).with_style(style).with_finish(ProgressFinish::AndClear);
        bar.enable_steady_tick(TICK);
        Self { bar, rounds: plan.rounds }
    }

    /// A phase begins.
    pub(crate) fn begin(&self, round: usize, service: &str, phase: &str) {
        let message = format!("round {round} of {}, {service}: {phase}", self.rounds);
        if self.bar.is_hidden() {
            eprintln!("{message}");
        }
        self.bar.set_message(message);
    }

    /// It ends.
    pub(crate) fn end(&self) {
        self.bar.inc(1);
    }
}
