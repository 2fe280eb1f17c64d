//! Resident memory over a run: a chart for each scenario on so many threads.

use super::{Plot, Result};
use crate::row::Row;
use crate::sheet::Sheet;
use bandolier_plots::over_time::{Line, OverTime};

/// More would not be seen.
const SAMPLES: usize = 400;

pub(super) fn plots(sheet: &Sheet) -> Result<Vec<Plot>> {
    let with_samples = sheet.plan.rows.iter().map(|&row| (row, lines(sheet, row)));
    let told = with_samples.filter(|(_, lines)| lines.iter().any(|(_, points)| points.len() > 1));
    told.map(|(row, lines)| plot(sheet, row, lines)).collect()
}

fn lines(sheet: &Sheet, row: Row) -> Vec<Line<'static>> {
    let samples = |name| sheet.series.typical(name, row).map_or(&[][..], |record| &record.trace.samples);
    sheet.names().map(|name| (name, thinned(samples(name)))).collect()
}

/// Every so many samples, and the last.
fn thinned(samples: &[(u64, u64)]) -> Vec<(f64, f64)> {
    let step = samples.len().div_ceil(SAMPLES).max(1);
    let last = samples.last().filter(|_| samples.len() % step != 1 && step > 1);
    let kept = samples.iter().step_by(step).chain(last);
    kept.map(|&(ms, kib)| (ms as f64 / 1e3, kib as f64 / 1024.0)).collect()
}

fn plot(sheet: &Sheet, row: Row, lines: Vec<Line<'static>>) -> Result<Plot> {
    let Row { workload, threads } = row;
    let plural = if threads == 1 { "thread" } else { "threads" };
    let profile = &sheet.plan.profile;
    let title = format!("Resident memory during {}, {threads} {plural}, profile {profile}", workload.name);
    let svg = OverTime { seconds: "seconds", lines, marks: Vec::new() }.drawn(&title)?;
    let file = format!("memory-{}-{}-{threads}.svg", sheet.stem(), workload.name);
    Ok(Plot { file, title, stem: sheet.stem(), svg })
}

#[cfg(test)]
mod tests {
    use super::{SAMPLES, thinned};

    #[test]
    fn the_first_and_the_last_sample_stay() {
        for many in [1, 2, 399, 400, 401, 1_000, 1_999, 2_000] {
            let samples: Vec<_> = (0..many).map(|ms| (ms * 1_000, 1_024)).collect();
            let thin = thinned(&samples);
            assert!(thin.len() <= SAMPLES + 1, "{many}");
            assert_eq!((thin.first(), thin.last()), (Some(&(0.0, 1.0)), Some(&((many - 1) as f64, 1.0))), "{many}");
            assert!(thin.windows(2).all(|pair| pair[0].0 < pair[1].0), "{many}");
        }
    }
}
