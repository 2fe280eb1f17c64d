//! What the line says.

use crate::load::Load;
use core::str::FromStr;
use core::time::Duration;

pub(crate) const USAGE: &str = "usage: steady [--driver] [--threads 2] [--live 8000] [--wave 20] [--period 1000] [--busy 100] \
    [--warm-up 1500] [--millis 3000]";

#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) driven: bool,
    pub(crate) threads: usize,
    pub(crate) load: Load,
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let load = Load { live: 8000, wave: 20, period: Duration::from_secs(1), busy: 100 };
        Self { driven: false, threads: 2, load, warm_up: Duration::from_millis(1500), window: Duration::from_secs(3) }
    }
}

impl Options {
    /// `None` when a word is not one of ours, or its number no good.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--driver" => options.driven = true,
                "--threads" => options.threads = number(words.next())?,
                "--live" => options.load.live = number(words.next())?,
                "--wave" => options.load.wave = number(words.next())?,
                "--period" => options.load.period = millis(words.next())?,
                "--busy" => options.load.busy = number(words.next())?,
                "--warm-up" => options.warm_up = millis(words.next())?,
                "--millis" => options.window = millis(words.next())?,
                _ => return None,
            }
        }
        let sound = options.threads > 0 && options.load.is_sound() && !options.window.is_zero();
        sound.then_some(options)
    }
}

fn number<N: FromStr>(word: Option<String>) -> Option<N> {
    word?.parse().ok()
}

fn millis(word: Option<String>) -> Option<Duration> {
    number(word).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::Options;
    use core::time::Duration;

    fn parsed(line: &str) -> Option<Options> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_is_not_said_stays() {
        assert_eq!(parsed(""), Some(Options::default()));
        let half = parsed("--driver --busy 50 --millis 10").unwrap();
        assert!(half.driven && half.load.busy == 50 && half.window == Duration::from_millis(10));
        assert_eq!(half.threads, Options::default().threads);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in
            ["--threads 0", "--threads", "--busy 101", "--busy 0", "--wave 100", "--period 0", "--live x", "--what"]
        {
            assert_eq!(parsed(line), None, "{line}");
        }
    }
}
