//! The plots, one kind per file, drawn with `bandolier_plots`.

mod axis;
mod chart;
mod growth;
mod heat;
mod memory;
mod throughput;

use crate::sheet::Sheet;
use bandolier_plots::Result;

/// A plot as it lies in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plot {
    pub(crate) file: String,
    pub(crate) title: String,
    /// Of which sheet.
    pub(crate) stem: String,
    pub(crate) svg: String,
}

/// Every plot of every sheet.
pub(crate) fn all(sheets: &[Sheet]) -> Result<Vec<Plot>> {
    let mut plots = Vec::new();
    for sheet in sheets {
        for kind in [heat::plots, growth::plots, throughput::plots, memory::plots] {
            plots.extend(kind(sheet)?);
        }
    }
    Ok(plots)
}

/// Behind a title, when there are several files of a kind.
fn part(nth: usize, many: usize) -> String {
    if many > 1 { format!(", {nth} of {many}") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::{Plot, all};
    use crate::fixture::{Figures, row, row_of, sheet, stories};
    use crate::peer::PEERS;
    use crate::set::SETS;
    use crate::sheet::Sheet;
    use bandolier_plots::palette::colour;

    const FIGURES: &[Figures] = &[("bandolier", 1.5, 2.0), ("system", 6.0, 2.1), ("talc", 350.0, 1.9)];
    const MOST: usize = 200 << 10;

    fn sheets() -> [Sheet; 2] {
        let mut first =
            sheet("fat", &[(row("pair", 1), FIGURES), (row("pair", 2), FIGURES), (row("prodcons", 2), FIGURES)]);
        first.series.add("talc", row("pair", 2), None);
        [first, stories("release", &[(row_of("frag", 1), FIGURES)])]
    }

    fn words(plot: &Plot) -> Vec<String> {
        let svg = roxmltree::Document::parse(&plot.svg).unwrap();
        let texts = svg.descendants().filter_map(|node| node.text()).map(|text| text.trim().to_owned());
        texts.filter(|text| !text.is_empty()).collect()
    }

    #[test]
    fn every_plot_names_what_it_shows() {
        let plots = all(&sheets()).unwrap();
        let files: Vec<_> = plots.iter().map(|plot| plot.file.as_str()).collect();
        let expected = [
            "heat-main-fat-1.svg",
            "throughput-main-fat-1.svg",
            "heat-main-release-1.svg",
            "memory-main-release-frag-1.svg",
        ];
        assert_eq!(files, expected);
        let needed: [&[&str]; 4] =
            [&["pair", "prodcons †", "failed", "0.25"], &["pair", "prodcons", "2"], &["frag"], &["seconds", "MiB"]];
        for (plot, needed) in plots.iter().zip(needed) {
            let words = words(plot);
            for word in [needed, &["bandolier", "system", "talc", &plot.title]].concat() {
                assert!(words.iter().any(|found| found == word), "{word}: {words:?}");
            }
        }
    }

    #[test]
    fn what_grows_is_drawn_by_its_size() {
        let rows = ["live-1k", "live-10k", "live-1m"].map(|name| (row(name, 4), FIGURES));
        let mut sheet = sheet("fat", &rows);
        sheet.plan.set = SETS.iter().find(|set| set.grows.is_some()).unwrap();
        let plots = all(&[sheet]).unwrap();
        let growth = plots.iter().find(|plot| plot.file == "growth-live-fat-1.svg").unwrap();
        let words = words(growth);
        for word in ["time in ns on 4 threads", "peak RSS in MiB on 4 threads", "1k", "10k", "1M", "talc"] {
            assert!(words.iter().any(|found| found == word), "{word}: {words:?}");
        }
    }

    #[test]
    fn the_same_figures_make_the_same_bytes() {
        assert_eq!(all(&sheets()).unwrap(), all(&sheets()).unwrap());
    }

    #[test]
    fn no_two_allocators_look_alike() {
        let colours: Vec<_> = PEERS.iter().map(|peer| colour(peer.name)).collect();
        let twice = colours.iter().enumerate().any(|(nth, one)| colours[..nth].contains(one));
        assert!(!twice, "{colours:?}");
    }

    #[test]
    fn plots_stay_small() {
        let names = [
            "bandolier",
            "system",
            "mimalloc",
            "mimalloc-v2",
            "jemalloc",
            "snmalloc",
            "talc",
            "frusa",
            "a",
            "b",
            "c",
            "d",
        ];
        let figures = names.map(|name| (name, 3.0, 50.0));
        let rows = (0..30).flat_map(|nth| {
            let name: &'static str = Box::leak(format!("workload-{nth}").into());
            [1, 2, 4, 8].map(|threads| (row_of(name, threads), &figures[..]))
        });
        let sheets = [sheet("fat", &rows.collect::<Vec<_>>()), stories("release", &[(row_of("frag", 1), &figures)])];
        for plot in all(&sheets).unwrap() {
            assert!(plot.svg.len() < MOST, "{}: {} KiB", plot.file, plot.svg.len() >> 10);
        }
    }
}
