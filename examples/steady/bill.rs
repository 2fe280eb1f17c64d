//! What one run has cost, and the figures that are made of several.

/// The fields of the line that a run prints.
#[derive(Clone, Copy)]
pub(crate) struct Bill {
    seconds: f64,
    operations: f64,
    cpu: f64,
    others: f64,
    faults: f64,
    kib: f64,
    given_back: f64,
}

impl Bill {
    /// `None` when these are no such fields.
    pub(crate) fn parse(fields: &[String]) -> Option<Self> {
        // No driver, no bytes.
        let numbers = fields.iter().map(|field| if field == "-" { Some(0.0) } else { field.parse().ok() });
        let numbers: Vec<f64> = numbers.collect::<Option<_>>()?;
        let &[seconds, operations, cpu, others, faults, kib, given_back] = &numbers[..] else { return None };
        Some(Self { seconds, operations, cpu, others, faults, kib, given_back })
    }
}

/// A column of the table.
#[derive(Clone, Copy)]
pub(crate) enum Figure {
    /// Millions of operations for a CPU second, whichever thread ran it.
    Rate,
    /// Per cent of the CPU time that threads ran which are no workers.
    Others,
    FaultsPerSecond,
    FaultsPerMillion,
    /// MiB.
    Resident,
    /// MiB per second.
    GivenBack,
}

impl Figure {
    fn of(self, bill: &Bill) -> f64 {
        match self {
            Self::Rate => bill.operations / bill.cpu / 1e6,
            Self::Others => 100.0 * bill.others / bill.cpu,
            Self::FaultsPerSecond => bill.faults / bill.seconds,
            Self::FaultsPerMillion => bill.faults / bill.operations * 1e6,
            Self::Resident => bill.kib / 1024.0,
            Self::GivenBack => bill.given_back / bill.seconds / f64::from(1 << 20),
        }
    }

    /// Over the rounds; `None` if there were none.
    pub(crate) fn median(self, bills: &[Bill]) -> Option<f64> {
        Some(Spread::of(bills.iter().map(|bill| self.of(bill)))?.median)
    }

    /// How many times that of the base it is, by what each round says.
    pub(crate) fn ratio(self, own: &[Bill], base: &[Bill]) -> Option<Spread> {
        Spread::of(own.iter().zip(base).map(|(own, base)| self.of(own) / self.of(base)))
    }
}

/// What several rounds say.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_unstable_by(f64::total_cmp);
        let upper = figures.len() / 2;
        let lower = figures.len().checked_sub(1)? / 2;
        let median = f64::midpoint(figures[lower], figures[upper]);
        Some(Self { least: *figures.first()?, median, most: *figures.last()? })
    }
}
