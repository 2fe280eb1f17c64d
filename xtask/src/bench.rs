//! The comparison with other allocators, and the document that comes of it.
//!
//! ```text
//!   bench            ─▶ compare, both profiles ─▶ docs/BENCHMARKS.md, docs/plots/
//!   bench --growing  ─▶ compare, growing sizes ─▶ docs/scaling/SCALING.md, docs/scaling/plots/
//!   bench --full     ─▶ both in one report, more of it
//!   bench --quick, a filter, or what else compare takes ─▶ target/bench/, and on the screen
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use crate::cargo::{self, Call};

const REPORT: &str = "docs/BENCHMARKS.md";
const GROWTH: &str = "docs/scaling/SCALING.md";
/// Beside the report.
const PLOTS: &str = "plots";
/// Among them, and written by `examples/service`.
const SERVICE: &str = "service.svg";
const COMPARE: &[&str] = &["run", "--release", "--package", "bandolier-peers", "--bin", "compare", "--"];
const BOTH_PROFILES: &[&str] = &["--profile", "fat,release"];

pub(crate) fn run(root: &Path, args: &[String]) -> Result<(), String> {
    let out = out(root, args);
    let shown = out.to_str().ok_or("bench: the path of the report is no text")?;
    let own: Vec<&str> = args.iter().map(String::as_str).collect();
    let call = Call::cargo(root, &[COMPARE, profiles(args), &["--out", shown], &own].concat());
    let file = root.join(&out);
    let folder = file.parent().ok_or("bench: the report lies nowhere")?;
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    call.run()?;
    let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    sweep(&folder.join(PLOTS), &text)?;
    match document(args) {
        Some(document) => println!("bench: {document} is written"),
        None => println!("{text}\nbench: the same with its plots is {}", file.display()),
    }
    Ok(())
}

/// The document that the report is, if it is about everything.
fn document(args: &[String]) -> Option<&'static str> {
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    match args[..] {
        [] | ["--full"] => Some(REPORT),
        ["--growing"] => Some(GROWTH),
        _ => None,
    }
}

fn out(root: &Path, args: &[String]) -> PathBuf {
    document(args).map_or_else(|| cargo::target(root, "bench").join("BENCHMARKS.md"), PathBuf::from)
}

/// Both, unless the caller chose, is in a hurry, as to build takes longer than to measure, or the second would say nothing.
fn profiles(args: &[String]) -> &'static [&'static str] {
    let one = ["--profile", "--quick", "--growing"];
    if args.iter().any(|arg| one.contains(&arg.as_str())) { &[] } else { BOTH_PROFILES }
}

/// Removes plots of earlier reports that this one does not show; the example service's is in none.
fn sweep(folder: &Path, report: &str) -> Result<(), String> {
    let describe = |e: std::io::Error| format!("{}: {e}", folder.display());
    for entry in fs::read_dir(folder).map_err(describe)? {
        let path = entry.map_err(describe)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".svg") && name != SERVICE && !report.contains(&format!("({PLOTS}/{name})")) {
            fs::remove_file(&path).map_err(describe)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn only_a_whole_report_goes_into_the_documents() {
        let root = Path::new("/r");
        for (line, document) in [("", REPORT), ("--full", REPORT), ("--growing", GROWTH)] {
            assert_eq!(out(root, &words(line)), Path::new(document), "{line}");
        }
        for line in
            ["--quick", "pair", "--full churn", "--growing live", "--threads 1", "--allocators bandolier,system"]
        {
            assert!(out(root, &words(line)).ends_with("bench/BENCHMARKS.md"), "{line}");
        }
    }

    #[test]
    fn both_profiles_are_measured_when_there_is_time() {
        let counts = ["", "--full", "pair", "--quick", "--growing", "--profile release"]
            .map(|line| profiles(&words(line)).len());
        assert_eq!(counts, [2, 2, 2, 0, 0, 0]);
    }

    #[test]
    fn plots_that_nobody_shows_are_removed() {
        let folder = std::env::temp_dir().join(format!("xtask-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        ["old.svg", "new.svg", "note.txt", SERVICE].iter().for_each(|name| fs::write(folder.join(name), "").unwrap());
        sweep(&folder, "![a plot](plots/new.svg)").unwrap();
        let mut left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(left, ["new.svg", "note.txt", SERVICE]);
    }
}
