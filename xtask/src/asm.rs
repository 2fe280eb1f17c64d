//! What the compiler makes of the fast path.
//!
//! Reads the functions of `examples/fast_path.rs` back with objdump.
//! None of them may lock the bus, and none may lead to a panic; what is slow is behind a call.

use std::path::Path;

use crate::cargo::Call;
use crate::fast_path::{self, SYMBOLS};

pub(crate) fn run(root: &Path) -> Result<(), String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("asm: only the instructions of x86-64 are known".into());
    }
    let binary = fast_path::build(root)?;
    let listing = Call::new(root, "objdump", &["--disassemble", "--no-show-raw-insn", "--demangle", &binary]);
    let listing = listing.output().map_err(|e| format!("asm: {e} (objdump is part of binutils)"))?;
    let mut faults = Vec::new();
    for symbol in SYMBOLS {
        match function(&listing, symbol) {
            Some(lines) => faults.extend(show(symbol, &lines).into_iter().map(|f| format!("{symbol}: {f}"))),
            None => {
                faults.push(format!("{symbol} is not in the example: not there, inlined, or dropped by the linker"))
            }
        }
    }
    faults.iter().for_each(|f| println!("{f}"));
    if faults.is_empty() { Ok(()) } else { Err(format!("asm: {} faults", faults.len())) }
}

/// Prints one function; returns what it should not do.
fn show(symbol: &str, lines: &[&str]) -> Vec<String> {
    let code: Vec<&str> = lines.iter().map(|l| instruction(l)).collect();
    let branches = code.iter().filter(|i| is_conditional(i)).count();
    println!("\n{symbol}: {} instructions, {branches} conditional branches", code.len());
    lines.iter().for_each(|line| println!("  {}", line.trim()));
    code.iter().filter_map(|i| leaves_for(i, symbol)).for_each(|name| println!("  leaves for {name}"));
    code.iter().filter_map(|i| fault(i)).collect()
}

/// The lines of one function, without the padding behind it.
fn function<'a>(listing: &'a str, symbol: &str) -> Option<Vec<&'a str>> {
    let head = format!("<{symbol}>:");
    let body = listing.lines().skip_while(|l| !l.ends_with(&head)).skip(1);
    let mut lines: Vec<&str> = body.take_while(|l| l.starts_with(char::is_whitespace)).collect();
    while lines.last().is_some_and(|l| is_padding(instruction(l))) {
        lines.pop();
    }
    (!lines.is_empty()).then_some(lines)
}

/// `4011d6: <tab> mov %rax,%rbx` without its address.
fn instruction(line: &str) -> &str {
    line.split_once(':').map_or(line, |(_, rest)| rest).trim()
}

fn is_padding(instruction: &str) -> bool {
    let names = ["nop", "int3", "data16", "cs nop", "xchg   %ax,%ax"];
    names.iter().any(|name| instruction.starts_with(name))
}

fn is_conditional(instruction: &str) -> bool {
    instruction.starts_with('j') && !instruction.starts_with("jmp")
}

/// Where a call or jump goes that leaves the function.
fn leaves_for<'a>(instruction: &'a str, symbol: &str) -> Option<&'a str> {
    let (name, operand) = instruction.split_once(' ')?;
    if !name.starts_with('j') && !name.starts_with("call") {
        return None;
    }
    let operand = operand.trim();
    let to = operand.split_once('<').map_or(operand, |(_, to)| to.trim_end_matches('>'));
    let inside = to == symbol || to.strip_prefix(symbol).is_some_and(|rest| rest.starts_with('+'));
    (!inside).then_some(to)
}

fn fault(instruction: &str) -> Option<String> {
    let name = instruction.split_whitespace().next()?;
    if instruction.split_whitespace().any(|word| word == "lock") {
        return Some(format!("locks the bus: {instruction}"));
    }
    if name.starts_with("xchg") && instruction.contains('(') {
        return Some(format!("locks the bus without saying so: {instruction}"));
    }
    let panics = (name.starts_with("call") || name.starts_with('j')) && instruction.contains("panic");
    panics.then(|| format!("can panic: {instruction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "
0000000000001000 <before>:
    1000:\tlock incl (%rdi)
    1004:\tret

0000000000001010 <bandolier_alloc>:
    1010:\tmov    %fs:0xfffffffffffffff8,%rax
    1019:\ttest   $0x3f,%al
    101b:\tje     1020 <bandolier_alloc+0x10>
    101d:\tret
    1020:\tjmp    2000 <bandolier::cache::alloc_slow>
    1025:\tcs nopw 0x0(%rax,%rax,1)
    102f:\txchg   %ax,%ax

0000000000001030 <bandolier_alloc_64>:
    1030:\tret
";

    #[test]
    fn a_function_is_cut_out_without_its_padding() {
        let lines = function(LISTING, "bandolier_alloc").unwrap();
        assert_eq!((lines.len(), instruction(lines[3])), (5, "ret"));
        assert_eq!(function(LISTING, "bandolier_alloc_64").unwrap().len(), 1);
        assert!(function(LISTING, "bandolier_dealloc").is_none());
        assert!(show("bandolier_alloc", &lines).is_empty());
    }

    #[test]
    fn ways_out_are_named() {
        let out = |i| leaves_for(i, "f");
        assert_eq!(out("jmp    2000 <a::alloc_slow>"), Some("a::alloc_slow"));
        assert_eq!(
            out("call   *0x2fa2(%rip)        # 4fd0 <_GLOBAL_OFFSET_TABLE_+0x8>"),
            Some("_GLOBAL_OFFSET_TABLE_+0x8")
        );
        assert_eq!(out("jne    10 <f+0x10>"), None);
        assert_eq!(out("mov    10 <g>"), None);
    }

    #[test]
    fn locks_and_panics_are_faults() {
        for bad in [
            "lock cmpxchg %rcx,(%rdi)",
            "xchg   %rax,(%rdi)",
            "xchgq  %rax,0x8(%rdi)",
            "call   10 <core::panicking::panic_bounds_check>",
            "jmp    10 <core::panicking::panic>",
            "jne    10 <core::panicking::panic>",
        ] {
            assert!(fault(bad).is_some(), "{bad}");
        }
        for good in ["xchg   %ax,%ax", "mov    %rax,(%rdi)", "cmpxchg %ecx,(%rdi)", "call   10 <alloc_slow>", "ret"] {
            assert!(fault(good).is_none(), "{good}");
        }
    }
}
