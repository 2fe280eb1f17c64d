//! One line of output per measurement: tab-separated, in the order of [`Record::HEADER`].

use crate::trace::Trace;
use crate::workloads::Outcome;
use core::fmt::{self, Display};
use core::str::FromStr;

/// What one allocator took for one workload on some threads.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// As the features of this package are called.
    pub allocator: String,
    /// As the modules of `workloads` are called.
    pub workload: String,
    /// How many ran at once.
    pub threads: usize,
    /// CPU time of all threads over all pairs, in ns.
    pub cpu_ns: f64,
    /// Wall time over the pairs of one thread, in ns: what that thread waits for a pair.
    pub wall_ns: f64,
    /// Allocations with their frees, over all threads.
    pub pairs: u64,
    /// Done by each thread that allocates.
    pub each: u64,
    /// The process' so far; zero where the system does not tell.
    pub peak_rss_kib: u64,
    /// Resident memory at the ends of its phases and over time, of workloads that are about memory.
    pub trace: Trace,
}

impl Record {
    /// The names of the columns.
    pub const HEADER: &str = "allocator\tworkload\tthreads\tcpu_ns\twall_ns\tpairs\teach\tpeak_rss_kib\ttrace";

    /// The record of a run that had this cost and left this trace.
    pub fn of(allocator: &str, workload: &str, threads: usize, outcome: Outcome, peak_rss_kib: u64) -> Self {
        let Outcome { cost, trace } = outcome;
        Self {
            allocator: allocator.to_owned(),
            workload: workload.to_owned(),
            threads,
            cpu_ns: cost.cpu.as_secs_f64() * 1e9 / cost.pairs as f64,
            wall_ns: cost.wall.as_secs_f64() * 1e9 / cost.each as f64,
            pairs: cost.pairs,
            each: cost.each,
            peak_rss_kib,
            trace,
        }
    }

    /// Millions of pairs per second, by all threads together.
    pub fn throughput(&self) -> f64 {
        self.pairs as f64 / self.each as f64 / self.wall_ns * 1e3
    }

    /// Resident memory at the end of the phase of that name, in KiB.
    pub fn at(&self, phase: &str) -> Option<f64> {
        self.trace.points.iter().find(|point| point.name == phase).map(|point| point.rss_kib as f64)
    }
}

impl Display for Record {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { allocator, workload, threads, cpu_ns, wall_ns, pairs, each, peak_rss_kib, trace } = self;
        write!(out, "{allocator}\t{workload}\t{threads}\t{cpu_ns:.3}\t{wall_ns:.3}\t{pairs}\t{each}\t")?;
        write!(out, "{peak_rss_kib}\t{trace}")
    }
}

/// A line that is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRecord;

impl Display for NoRecord {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("not a record")
    }
}

impl core::error::Error for NoRecord {}

impl FromStr for Record {
    type Err = NoRecord;

    fn from_str(line: &str) -> Result<Self, NoRecord> {
        let mut fields = line.trim_end_matches('\n').split('\t');
        Ok(Self {
            allocator: next(&mut fields)?,
            workload: next(&mut fields)?,
            threads: next(&mut fields)?,
            cpu_ns: next(&mut fields)?,
            wall_ns: next(&mut fields)?,
            pairs: next(&mut fields)?,
            each: next(&mut fields)?,
            peak_rss_kib: next(&mut fields)?,
            trace: next(&mut fields)?,
        })
    }
}

fn next<'a, T: FromStr>(fields: &mut impl Iterator<Item = &'a str>) -> Result<T, NoRecord> {
    fields.next().and_then(|field| field.parse().ok()).ok_or(NoRecord)
}

#[cfg(test)]
mod tests {
    use super::{NoRecord, Record};
    use crate::trace::{Point, Trace};

    #[test]
    fn a_record_comes_back_from_its_line() {
        let record = Record {
            allocator: "system".to_owned(),
            workload: "pair".to_owned(),
            threads: 2,
            cpu_ns: 7.5,
            wall_ns: 8.25,
            pairs: 4_000,
            each: 2_000,
            peak_rss_kib: 2_048,
            trace: Trace {
                points: vec![
                    Point { name: "filled".to_owned(), rss_kib: 9 },
                    Point { name: "idle".to_owned(), rss_kib: 1 },
                ],
                samples: vec![(0, 7), (20, 9)],
            },
        };
        assert_eq!(record.at("idle"), Some(1.0));
        // Two pairs in 8.25 ns.
        assert!((record.throughput() - 2e3 / 8.25).abs() < 1e-9);
        let plain = Record { trace: Trace::default(), ..record.clone() };
        assert_eq!(record.to_string().parse(), Ok(record));
        assert_eq!(plain.to_string().parse(), Ok(plain));
        assert_eq!(Record::HEADER.parse::<Record>(), Err(NoRecord));
    }
}
