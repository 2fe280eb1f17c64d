//! A colour for each allocator, the same in every plot.

use plotters::style::RGBColor;

/// By the allocator's feature of `benches/peers`; Bandolier comes first, then its modes.
const COLOURS: [(&str, RGBColor); 14] = [
    ("bandolier", RGBColor(0xd6, 0x00, 0x1c)),
    ("bandolier-per-thread", RGBColor(0xff, 0x7a, 0x85)),
    ("bandolier-per-cpu", RGBColor(0x8c, 0x00, 0x3c)),
    ("bandolier-shared", RGBColor(0xff, 0xb0, 0x9c)),
    ("system", RGBColor(0x22, 0x22, 0x22)),
    ("mimalloc", RGBColor(0x1f, 0x77, 0xb4)),
    ("mimalloc-v2", RGBColor(0x6b, 0xb8, 0xe8)),
    ("jemalloc", RGBColor(0x2c, 0xa0, 0x2c)),
    ("snmalloc", RGBColor(0xf2, 0x8e, 0x1c)),
    ("tcmalloc", RGBColor(0x94, 0x67, 0xbd)),
    ("rpmalloc", RGBColor(0x8c, 0x56, 0x4b)),
    ("rusty_alloc", RGBColor(0x17, 0xbe, 0xcf)),
    ("talc", RGBColor(0xa8, 0xa8, 0x1c)),
    ("frusa", RGBColor(0xe3, 0x77, 0xc2)),
];

/// Of who has none.
const UNKNOWN: RGBColor = RGBColor(0x8a, 0x8a, 0x8a);

/// Of its line.
#[must_use]
pub fn colour(name: &str) -> RGBColor {
    COLOURS.iter().find(|(of, _)| *of == name).map_or(UNKNOWN, |&(_, colour)| colour)
}

/// Bandolier's line is the thick one.
#[must_use]
pub fn stroke(name: &str) -> u32 {
    if name == COLOURS[0].0 { 4 } else { 2 }
}
