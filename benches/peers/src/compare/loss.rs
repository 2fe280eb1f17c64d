//! A row in which some peer is faster than Bandolier, or leaner.

use crate::aspect::Aspect;
use crate::figure::Figure;
use crate::peer::OURS;
use crate::row::Row;
use crate::sheet::{Best, Sheet};
use crate::start_up::{self, StartUp};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Loss<'a> {
    pub(crate) profile: &'a str,
    pub(crate) workload: &'static str,
    pub(crate) threads: usize,
    pub(crate) aspect: Aspect<'a>,
    /// Bandolier's.
    pub(crate) ours: Figure,
    pub(crate) best: Best,
    pub(crate) kind: Kind,
}

/// How sure a loss is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Bandolier failed where the peer did not.
    Failed,
    /// So many times the peer's figure, and all runs of one are above all of the other.
    Clear(f64),
    /// The ranges overlap.
    Unclear(f64),
}

/// Every loss of every sheet, in the order of their rows, and those of empty programs.
pub(crate) fn losses<'a>(sheets: &'a [Sheet], start_up: &StartUp) -> Vec<Loss<'a>> {
    let with_ours = sheets.iter().filter(|sheet| sheet.has_ours());
    let rows = with_ours.flat_map(|sheet| sheet.plan.rows.iter().map(move |&row| (sheet, row)));
    let aspects = rows.flat_map(|(sheet, row)| sheet.aspects(row).into_iter().map(move |aspect| (sheet, row, aspect)));
    aspects.filter_map(|(sheet, row, aspect)| of_row(sheet, row, aspect)).chain(of_start(sheets, start_up)).collect()
}

fn of_row<'a>(sheet: &'a Sheet, row: Row, aspect: Aspect<'a>) -> Option<Loss<'a>> {
    let (ours, best) = (sheet.figure(OURS, row, aspect), sheet.best_peer(row, aspect)?);
    let Row { workload, threads } = row;
    let kind = kind(ours, best)?;
    Some(Loss { profile: &sheet.plan.profile, workload: workload.name, threads, aspect, ours, best, kind })
}

fn of_start<'a>(sheets: &'a [Sheet], start_up: &StartUp) -> Vec<Loss<'a>> {
    let profile = sheets.first().map_or("", |sheet| &sheet.plan.profile);
    let of = |(aspect, value)| {
        let (ours, best) = (start_up.figure(OURS, value), start_up.best_peer(value)?);
        let kind = kind(ours, best)?;
        Some(Loss { profile, workload: start_up::NAME, threads: 1, aspect, ours, best, kind })
    };
    [(Aspect::Time, start_up::ms as fn(&_) -> _), (Aspect::Peak, start_up::peak_mib)]
        .into_iter()
        .filter_map(of)
        .collect()
}

/// `None` where Bandolier is not behind.
fn kind(ours: Figure, best: Best) -> Option<Kind> {
    let ours = match ours {
        Figure::NotRun => return None,
        Figure::Failed => return Some(Kind::Failed),
        Figure::Is(spread) => spread,
    };
    let ratio = ours.median / best.spread.median;
    let kind = if ours.clears(best.spread) { Kind::Clear(ratio) } else { Kind::Unclear(ratio) };
    (ratio > 1.0).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::{Kind, losses};
    use crate::aspect::Aspect;
    use crate::fixture::{row, row_of, sheet, stories};
    use crate::start_up::{Empty, StartUp};

    #[test]
    fn who_is_behind_in_either_has_lost() {
        let (pair, churn) = (row("pair", 1), row("churn", 2));
        let sheets = [sheet(
            "fat",
            &[
                (pair, &[("bandolier", 1.0, 4.0), ("system", 8.0, 2.0), ("talc", 9.0, 3.0)]),
                (churn, &[("bandolier", 2.02, 1.0), ("system", 4.0, 2.0), ("talc", 2.0, 3.0)]),
            ],
        )];
        let found: Vec<_> = losses(&sheets, &StartUp::default())
            .into_iter()
            .map(|loss| (loss.workload, loss.aspect, loss.best.name, loss.kind))
            .collect();
        let expected =
            [("pair", Aspect::Peak, "system", Kind::Clear(2.0)), ("churn", Aspect::Time, "talc", Kind::Unclear(1.01))];
        assert_eq!(found, expected);
    }

    #[test]
    fn to_fail_is_to_lose() {
        let pair = row("pair", 1);
        let mut sheet = sheet("fat", &[(pair, &[("bandolier", 1.0, 1.0), ("system", 8.0, 2.0)])]);
        sheet.series.add("bandolier", pair, None);
        let sheets = [sheet];
        let kinds: Vec<_> = losses(&sheets, &StartUp::default()).into_iter().map(|loss| loss.kind).collect();
        assert_eq!(kinds, [Kind::Failed, Kind::Failed]);
    }

    #[test]
    fn what_a_phase_leaves_counts_too() {
        let sheets = [stories("fat", &[(row_of("frag", 1), &[("bandolier", 1.0, 4.0), ("talc", 2.0, 2.0)])])];
        let aspects: Vec<_> =
            losses(&sheets, &StartUp::default()).into_iter().map(|loss| loss.aspect.to_string()).collect();
        assert_eq!(aspects, ["peak RSS", "RSS after `filled`", "RSS after `freed`"]);
    }

    #[test]
    fn an_empty_program_can_lose_too() {
        let mut start_up = StartUp::default();
        start_up.add("bandolier", Some(Empty { ms: 3.0, peak_mib: 1.0 }));
        start_up.add("bandolier-shared", Some(Empty { ms: 1.0, peak_mib: 0.5 }));
        start_up.add("system", Some(Empty { ms: 2.0, peak_mib: 2.0 }));
        let found = losses(&[], &start_up);
        let told: Vec<_> = found.iter().map(|loss| (loss.workload, loss.aspect, loss.best.name, loss.kind)).collect();
        assert_eq!(told, [("start-up", Aspect::Time, "system", Kind::Clear(1.5))]);
    }
}
