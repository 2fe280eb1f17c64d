//! What of a run is compared.

use crate::row::Row;
use bandolier_peers::record::Record;
use core::fmt::{self, Display};

const KIB_PER_MIB: f64 = 1024.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Aspect<'a> {
    /// The time by which the row is judged, in ns.
    Time,
    /// In ns, over all pairs.
    Cpu,
    /// In ns, over the pairs of one thread.
    Wall,
    /// The most memory that was resident, in MiB.
    Peak,
    /// What was resident when this phase ended, in MiB.
    Phase(&'a str),
}

impl Aspect<'_> {
    /// `None` where the run does not tell.
    pub(crate) fn value(self, row: Row, record: &Record) -> Option<f64> {
        match self {
            Self::Time if row.by_wall() => Some(record.wall_ns),
            Self::Time | Self::Cpu => Some(record.cpu_ns),
            Self::Wall => Some(record.wall_ns),
            Self::Peak => Some(record.peak_rss_kib as f64 / KIB_PER_MIB).filter(|&mib| mib > 0.0),
            Self::Phase(name) => record.at(name).map(|kib| kib / KIB_PER_MIB),
        }
    }

    /// Whether it is about memory.
    pub(crate) fn is_memory(self) -> bool {
        matches!(self, Self::Peak | Self::Phase(_))
    }
}

impl Display for Aspect<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time => out.write_str("time"),
            Self::Cpu => out.write_str("CPU time"),
            Self::Wall => out.write_str("wall time"),
            Self::Peak => out.write_str("peak RSS"),
            Self::Phase(name) => write!(out, "RSS after `{name}`"),
        }
    }
}
