//! What callgrind counted: its file, written without compression.
//!
//! ```text
//!   fn=NAME             what follows is NAME's own cost
//!   0 11999               a line of its source, instructions
//!   cfn=OTHER
//!   calls=999 0           NAME called OTHER 999 times ..
//!   0 11988               .. and so many instructions it all took, with what OTHER called
//! ```

/// Options with which callgrind writes what is read here.
pub(crate) const FORMAT: [&str; 4] =
    ["--compress-strings=no", "--compress-pos=no", "--dump-line=yes", "--dump-instr=no"];

/// What a function cost, in instructions.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Cost {
    pub(crate) calls: u64,
    /// Of the function itself.
    pub(crate) own: u64,
    /// With what it called.
    pub(crate) whole: u64,
}

impl Cost {
    /// Reads the cost of a function out of callgrind's file.
    pub(crate) fn of(function: &str, profile: &str) -> Result<Self, String> {
        for header in ["positions: line", "events: Ir"] {
            if !profile.lines().any(|line| line == header) {
                return Err(format!("callgrind's file has no line `{header}`"));
            }
        }
        let mut reader = Reader { function, ..Reader::default() };
        profile.lines().try_for_each(|line| reader.line(line))?;
        Ok(reader.cost)
    }

    /// What a longer run cost more.
    pub(crate) fn beyond(self, shorter: Self) -> Option<Self> {
        Some(Self {
            calls: self.calls.checked_sub(shorter.calls)?,
            own: self.own.checked_sub(shorter.own)?,
            whole: self.whole.checked_sub(shorter.whole)?,
        })
    }
}

#[derive(Default)]
struct Reader<'a> {
    function: &'a str,
    /// The costs that come are the function's own.
    inside: bool,
    /// The call that comes is one of the function.
    called: bool,
    /// The cost that comes is that of a call.
    call: bool,
    cost: Cost,
}

impl Reader<'_> {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(name) = line.strip_prefix("fn=") {
            self.inside = name == self.function;
        } else if let Some(name) = line.strip_prefix("cfn=") {
            self.called = name == self.function;
        } else if let Some(calls) = line.strip_prefix("calls=") {
            self.call = true;
            self.cost.calls += if self.called { number(calls, 0, line)? } else { 0 };
        } else if line.starts_with(|c: char| c.is_ascii_digit()) {
            self.cost(number(line, 1, line)?);
        }
        Ok(())
    }

    fn cost(&mut self, instructions: u64) {
        if core::mem::take(&mut self.call) {
            self.cost.whole += if self.called { instructions } else { 0 };
        } else if self.inside {
            self.cost.own += instructions;
        }
    }
}

fn number(words: &str, nth: usize, line: &str) -> Result<u64, String> {
    let word = words.split(' ').nth(nth);
    word.and_then(|word| word.parse().ok()).ok_or_else(|| format!("not a line of callgrind's file: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "\
# callgrind format
version: 1
positions: line
events: Ir
summary: 608470

ob=/fast_path
fl=???
fn=alloc
0 11999
cfn=alloc_slow
calls=1 0 
0 3655

fn=alloc_slow
0 3000
cfn=free
calls=2 0 
0 20
12 635

fn=main
0 999
cfn=alloc
calls=1 0 
0 3666
0 999
cob=/other
cfi=other.rs
cfn=alloc
calls=999 0 
0 11988
fe=main.rs
7 3000

fl=alloc.rs
fn=alloc
3 1
";

    #[test]
    fn own_costs_and_those_of_calls_are_kept_apart() {
        let cost = |name| Cost::of(name, PROFILE).unwrap();
        assert_eq!(cost("alloc"), Cost { calls: 1000, own: 12_000, whole: 15_654 });
        assert_eq!(cost("alloc_slow"), Cost { calls: 1, own: 3635, whole: 3655 });
        assert_eq!(cost("free"), Cost { calls: 2, own: 0, whole: 20 });
        assert_eq!(cost("main"), Cost { calls: 0, own: 4998, whole: 0 });
        assert_eq!(cost("allo"), Cost::default());
    }

    #[test]
    fn a_longer_run_is_read_beyond_a_shorter_one() {
        let (short, long) = (Cost { calls: 1, own: 11, whole: 90 }, Cost { calls: 3, own: 35, whole: 114 });
        assert_eq!(long.beyond(short), Some(Cost { calls: 2, own: 24, whole: 24 }));
        assert_eq!(short.beyond(long), None);
    }

    #[test]
    fn another_format_is_an_error() {
        assert!(Cost::of("alloc", &PROFILE.replace("positions: line", "positions: instr line")).is_err());
        assert!(Cost::of("alloc", &PROFILE.replace("events: Ir", "events: Cycles Ir")).is_err());
        assert!(Cost::of("alloc", &PROFILE.replace("calls=999 0", "calls=many 0")).is_err());
        assert!(Cost::of("alloc", &PROFILE.replace("0 11999", "0")).is_err());
    }
}
