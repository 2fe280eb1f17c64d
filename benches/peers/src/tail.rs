//! A long tail of sizes: doublings from 16 B to 32 KiB, each 0.6 times as likely as the one before it, and rolled with
//! one look into one cache line.
//!
//! ```text
//!            0      1      2    ..    15     columns, each as likely
//!         ┌──────┬──────┬──────┬────┬──────┐
//!         │other │ own  │other │    │other │   Within a column, `share` of 65,536 numbers are its own doubling's,
//!         │ own  │      │ own  │    │      │   and the others those of another doubling.
//!         └──────┴──────┴──────┴────┴──────┘
//! ```

/// From 16 B to below 32 KiB.
const DOUBLINGS: usize = 11;
/// How likely a doubling is, the one before it being 1.
const RATIO: f64 = 0.6;
/// A power of two, and no fewer than doublings.
const COLUMNS: usize = 16;

static TABLE: [Column; COLUMNS] = table();

#[derive(Clone, Copy)]
struct Column {
    share: u16,
    own: u8,
    other: u8,
}

/// The size that a random number stands for; any size within a doubling is as likely.
#[inline(always)]
pub(crate) fn size(roll: u64) -> usize {
    let column = TABLE[(roll >> 60) as usize];
    let within = (roll >> 44) as u16;
    let base = 16 << if within < column.share { column.own } else { column.other };
    base + (roll as usize & (base - 1))
}

/// The least likely doubling is given a column, which the likeliest one fills up, and so on with what is left.
const fn table() -> [Column; COLUMNS] {
    let mut table = [Column { share: 0, own: 0, other: 0 }; COLUMNS];
    let (mut weights, mut left) = (weights(), [true; COLUMNS]);
    let mut place = 0;
    while place < COLUMNS {
        let (least, most) = extremes(&weights, &left);
        table[place] = Column { share: (weights[least] * 65_536.0) as u16, own: least as u8, other: most as u8 };
        weights[most] -= 1.0 - weights[least];
        left[least] = false;
        place += 1;
    }
    table
}

/// Of each doubling, in columns; zero of what is no doubling.
const fn weights() -> [f64; COLUMNS] {
    let mut weights = [0.0; COLUMNS];
    let (mut weight, mut sum, mut place) = (1.0, 0.0, 0);
    while place < DOUBLINGS {
        weights[place] = weight;
        sum += weight;
        weight *= RATIO;
        place += 1;
    }
    while place > 0 {
        place -= 1;
        weights[place] *= COLUMNS as f64 / sum;
    }
    weights
}

/// The places of the least and of the most weight that is left.
const fn extremes(weights: &[f64; COLUMNS], left: &[bool; COLUMNS]) -> (usize, usize) {
    let (mut least, mut most) = (None, None);
    let mut place = 0;
    while place < COLUMNS {
        if left[place] {
            least = match least {
                Some(least) if weights[least] <= weights[place] => Some(least),
                _ => Some(place),
            };
            most = match most {
                Some(most) if weights[most] >= weights[place] => Some(most),
                _ => Some(place),
            };
        }
        place += 1;
    }
    match (least, most) {
        (Some(least), Some(most)) => (least, most),
        _ => panic!("something is left"),
    }
}

#[cfg(test)]
mod tests {
    use super::DOUBLINGS;
    use crate::dice::Dice;

    #[test]
    fn a_doubling_is_rolled_six_tenths_as_often_as_the_one_before() {
        const ROLLS: usize = 4_000_000;
        let mut dice = Dice::of(3);
        let mut halves = [[0_usize; 2]; DOUBLINGS];
        for _ in 0..ROLLS {
            let size = dice.long_tailed();
            let doubling = size.ilog2() as usize - 4;
            halves[doubling][(size >> (doubling + 3)) & 1] += 1;
        }
        let weight = |doubling: usize| 0.6_f64.powi(doubling as i32);
        let sum: f64 = (0..DOUBLINGS).map(weight).sum();
        for (doubling, halves) in halves.into_iter().enumerate() {
            let expected = ROLLS as f64 * weight(doubling) / sum / 2.0;
            for half in halves {
                assert!((half as f64 / expected - 1.0).abs() < 0.05, "{doubling}: {half} of {expected}");
            }
        }
    }
}
