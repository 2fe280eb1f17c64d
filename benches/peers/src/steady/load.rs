//! A load that breathes: how many blocks a thread has at a time, and when it rests.
//!
//! ```text
//!   blocks │  ╭─╮       ╭─╮        + wave %
//!          │ ╱   ╲     ╱   ╲       live
//!          │╱     ╲   ╱     ╲
//!          │       ╰─╯       ╰─    − wave %
//!          └────────────────────▶ time        one period from top to top
//!           ███░░░███░░░███░░░               at work, and resting: `SLICE` together
//! ```

use core::f64::consts::TAU;
use core::time::Duration;

/// A time of work and the rest behind it.
const SLICE: Duration = Duration::from_millis(200);

/// What each thread has to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Load {
    /// Blocks alive, on average.
    pub(crate) live: usize,
    /// By how many hundredths of that they grow more and fewer.
    pub(crate) wave: u32,
    pub(crate) period: Duration,
    /// Of each slice so many hundredths are work.
    pub(crate) busy: u32,
}

impl Load {
    pub(crate) fn is_sound(&self) -> bool {
        self.live > 0 && self.wave < 100 && !self.period.is_zero() && (1..=100).contains(&self.busy)
    }

    /// Most blocks at a time.
    pub(crate) fn most(&self) -> usize {
        self.live + self.live * self.wave as usize / 100 + 1
    }

    /// Blocks alive at that time.
    pub(crate) fn live_at(&self, at: Duration) -> usize {
        let turns = at.as_secs_f64() / self.period.as_secs_f64();
        let part = 1.0 + f64::from(self.wave) / 100.0 * (TAU * turns).sin();
        (self.live as f64 * part).round() as usize
    }

    /// How long to rest from that time on; `None` while there is work.
    pub(crate) fn rest_at(&self, at: Duration) -> Option<Duration> {
        let within = Duration::from_nanos((at.as_nanos() % SLICE.as_nanos()) as u64);
        (within >= SLICE * self.busy / 100).then(|| SLICE - within)
    }
}

#[cfg(test)]
mod tests {
    use super::Load;
    use core::time::Duration;

    const LOAD: Load = Load { live: 1000, wave: 20, period: Duration::from_secs(1), busy: 50 };

    #[test]
    fn it_breathes() {
        let live = |millis| LOAD.live_at(Duration::from_millis(millis));
        assert_eq!([live(0), live(250), live(500), live(750), live(1250)], [1000, 1200, 1000, 800, 1200]);
        assert!(LOAD.most() >= live(250));
    }

    #[test]
    fn it_rests_for_the_other_part_of_a_slice() {
        let rest = |millis| LOAD.rest_at(Duration::from_millis(millis)).map(|rest| rest.as_millis());
        assert_eq!([rest(0), rest(99), rest(100), rest(150), rest(201)], [None, None, Some(100), Some(50), None]);
        let busy = Load { busy: 100, ..LOAD };
        assert_eq!(busy.rest_at(Duration::from_millis(199)), None);
    }
}
