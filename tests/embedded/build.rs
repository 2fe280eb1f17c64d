//! The linker script of `cortex-m-rt`, which takes `memory.x` from this folder.

fn main() {
    println!("cargo::rustc-link-arg=-Tlink.x");
    println!("cargo::rustc-link-search={}", env!("CARGO_MANIFEST_DIR"));
}
