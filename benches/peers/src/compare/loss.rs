//! A row in which some peer is faster than Bandolier, or leaner.

use crate::aspect::Aspect;
use crate::figure::Figure;
use crate::peer::OURS;
use crate::row::Row;
use crate::sheet::{Best, Sheet};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Loss<'a> {
    pub(crate) profile: &'a str,
    pub(crate) workload: &'static str,
    pub(crate) threads: usize,
    pub(crate) aspect: Aspect<'a>,
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

/// Every loss of every sheet, in the order of their rows.
pub(crate) fn losses(sheets: &[Sheet]) -> Vec<Loss<'_>> {
    let with_ours = sheets.iter().filter(|sheet| sheet.has_ours());
    let rows = with_ours.flat_map(|sheet| sheet.plan.rows.iter().map(move |&row| (sheet, row)));
    let aspects = rows.flat_map(|(sheet, row)| sheet.aspects(row).into_iter().map(move |aspect| (sheet, row, aspect)));
    aspects.filter_map(|(sheet, row, aspect)| loss(sheet, row, aspect)).collect()
}

fn loss<'a>(sheet: &'a Sheet, row: Row, aspect: Aspect<'a>) -> Option<Loss<'a>> {
    let best = sheet.best_peer(row, aspect)?;
    let kind = kind(sheet.figure(OURS, row, aspect), best)?;
    let Row { workload, threads } = row;
    Some(Loss { profile: &sheet.plan.profile, workload: workload.name, threads, aspect, best, kind })
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
        let found: Vec<_> =
            losses(&sheets).into_iter().map(|loss| (loss.workload, loss.aspect, loss.best.name, loss.kind)).collect();
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
        let kinds: Vec<_> = losses(&sheets).into_iter().map(|loss| loss.kind).collect();
        assert_eq!(kinds, [Kind::Failed, Kind::Failed]);
    }

    #[test]
    fn what_a_phase_leaves_counts_too() {
        let sheets = [stories("fat", &[(row_of("frag", 1), &[("bandolier", 1.0, 4.0), ("talc", 2.0, 2.0)])])];
        let aspects: Vec<_> = losses(&sheets).into_iter().map(|loss| loss.aspect.to_string()).collect();
        assert_eq!(aspects, ["peak RSS", "RSS after `filled`", "RSS after `freed`"]);
    }
}
