//! A document: what the service stores, and what its clients send.
//!
//! Strings, vectors and maps of varied sizes. About as many documents are near 128 bytes as near 256, 512, .. or 16 KiB.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(crate) struct Document {
    number: u32,
    title: String,
    summary: Option<String>,
    tags: Vec<String>,
    attributes: BTreeMap<String, String>,
    samples: Vec<f64>,
    sections: Vec<Section>,
}

#[derive(Serialize, Deserialize)]
struct Section {
    heading: String,
    text: String,
}

impl Document {
    pub(crate) fn generate(number: u32, rng: &mut Rng) -> Self {
        let size = 1_usize << rng.u32(7..14);
        Self {
            number,
            title: words(rng, 24),
            summary: rng.bool().then(|| words(rng, 80)),
            tags: (0..rng.usize(0..6)).map(|_| words(rng, 8)).collect(),
            attributes: (0..size / 512).map(|_| (words(rng, 12), words(rng, 20))).collect(),
            samples: (0..size / 64).map(|_| quarter(rng)).collect(),
            sections: (0..rng.usize(1..5)).map(|_| Section::generate(rng, size / 4)).collect(),
        }
    }
}

impl Section {
    fn generate(rng: &mut Rng, size: usize) -> Self {
        Self { heading: words(rng, 16), text: words(rng, size) }
    }
}

/// Letters and spaces, from half of `typical` to one and a half of it.
fn words(rng: &mut Rng, typical: usize) -> String {
    let length = rng.usize(typical / 2..=typical * 3 / 2);
    (0..length).map(|_| if rng.u8(..6) == 0 { ' ' } else { rng.lowercase() }).collect()
}

/// A number that JSON carries there and back without rounding.
fn quarter(rng: &mut Rng) -> f64 {
    f64::from(rng.i32(-4_000..4_000)) / 4.0
}
