//! Where it is not ahead: each workload in which a peer is faster or leaner, beside the reason.

use super::Report;
use super::table::Table;
use crate::figure::digits;
use crate::loss::{Kind, Loss, losses};
use core::fmt::{Result, Write};

pub(super) fn write(report: &Report<'_>, out: &mut String) -> Result {
    writeln!(out, "## Where it is not ahead\n")?;
    if !report.has_ours() {
        return writeln!(out, "Bandolier was not measured.\n");
    }
    let (unclear, clear): (Vec<_>, Vec<_>) =
        losses(report.sheets, report.start_up).into_iter().partition(|loss| matches!(loss.kind, Kind::Unclear(_)));
    let table = table(report, &clear);
    if table.is_empty() {
        writeln!(out, "In no row is a peer faster or leaner by more than the spread of the runs.\n")?;
    } else {
        writeln!(out, "A peer is faster or leaner, by more than the spread of the runs: Bandolier ÷ the best peer.\n")?;
        write!(out, "{table}")?;
    }
    within_the_spread(&unclear, out)
}

/// One line for each workload, aspect and profile; those of time first.
fn table(report: &Report<'_>, losses: &[Loss<'_>]) -> Table {
    let mut table = Table::new(5, ["workload", "in", "profile", "threads: ratio (peer)", "why"]);
    let mut groups: Vec<Vec<Loss<'_>>> = Vec::new();
    for &loss in losses {
        match groups.iter_mut().find(|group| is_of(&group[0], &loss)) {
            Some(group) => group.push(loss),
            None => groups.push(vec![loss]),
        }
    }
    groups.sort_by_key(|group| group[0].aspect.is_memory());
    for group in &groups {
        let Loss { workload, aspect, profile, .. } = group[0];
        let places = group.iter().map(place).collect::<Vec<_>>().join(", ");
        let why = report.reasons.of(workload, aspect).unwrap_or("–").to_owned();
        table.row([format!("`{workload}`"), aspect.to_string(), profile.to_owned(), places, why]);
    }
    table
}

fn is_of(one: &Loss<'_>, other: &Loss<'_>) -> bool {
    (one.workload, one.aspect, one.profile) == (other.workload, other.aspect, other.profile)
}

fn place(loss: &Loss<'_>) -> String {
    let Loss { threads, best, kind, .. } = loss;
    match kind {
        Kind::Failed => format!("{threads}: **failed**"),
        Kind::Clear(ratio) | Kind::Unclear(ratio) => {
            format!("{threads}: **{}** ({}{})", digits(*ratio), best.name, above(loss).unwrap_or_default())
        }
    }
}

/// Of memory, how much more it is: twice of little is little.
fn above(loss: &Loss<'_>) -> Option<String> {
    let ours = loss.ours.median().filter(|_| loss.aspect.is_memory())?;
    Some(format!(", +{} MiB", digits(ours - loss.best.spread.median)))
}

fn within_the_spread(losses: &[Loss<'_>], out: &mut String) -> Result {
    if losses.is_empty() {
        return Ok(());
    }
    let told = losses.iter().filter_map(|loss| match loss.kind {
        Kind::Unclear(ratio) => Some(format!(
            "- `{}`, {}, {}, {}: {} ({})",
            loss.workload,
            loss.threads,
            loss.aspect,
            loss.profile,
            digits(ratio),
            loss.best.name
        )),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    let summary = "Behind by less than the spread of the runs, so perhaps not behind";
    writeln!(out, "<details><summary>{summary}: {}</summary>\n\n{}\n\n</details>\n", told.len(), told.join("\n"))
}
