//! A colour for each allocator, the same in every plot.

use crate::peer::{self, OURS, PEERS};
use plotters::style::RGBColor;

/// Of Bandolier, and then of its modes.
const OURS_ARE: [RGBColor; 5] = [
    RGBColor(0xd6, 0x00, 0x1c),
    RGBColor(0xff, 0x7a, 0x85),
    RGBColor(0x8c, 0x00, 0x3c),
    RGBColor(0xff, 0xb0, 0x9c),
    RGBColor(0xb3, 0x5a, 0x6a),
];

/// Of peers, by their place in [`PEERS`].
const THEIRS: [RGBColor; 12] = [
    RGBColor(0x22, 0x22, 0x22),
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0x6b, 0xb8, 0xe8),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xf2, 0x8e, 0x1c),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0x17, 0xbe, 0xcf),
    RGBColor(0xa8, 0xa8, 0x1c),
    RGBColor(0xe3, 0x77, 0xc2),
    RGBColor(0x8a, 0x8a, 0x8a),
    RGBColor(0x0b, 0x5d, 0x3b),
];

pub(super) fn colour(name: &str) -> RGBColor {
    let ours = peer::is_ours(name);
    let alike = PEERS.iter().filter(|peer| peer::is_ours(peer.name) == ours);
    let place = alike.map(|peer| peer.name).position(|other| other == name).unwrap_or(0);
    if ours { OURS_ARE[place % OURS_ARE.len()] } else { THEIRS[place % THEIRS.len()] }
}

/// Bandolier's line is the thick one.
pub(super) fn stroke(name: &str) -> u32 {
    if name == OURS { 4 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::colour;
    use crate::peer::PEERS;

    #[test]
    fn no_two_allocators_look_alike() {
        let colours: Vec<_> = PEERS.iter().map(|peer| colour(peer.name)).collect();
        let twice = colours.iter().enumerate().any(|(nth, one)| colours[..nth].contains(one));
        assert!(!twice, "{colours:?}");
    }
}
