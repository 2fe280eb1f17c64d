//! As `pair`, but the class has to be computed: what a `Vec` or a `String` asks for.

use super::Workload;
use crate::block::{Varied, hide};

pub(super) struct PairVar;

impl Workload for PairVar {
    type Hand = ();

    fn new(_threads: usize) -> Self {
        Self
    }

    fn hand(&self, _thread: usize) {}

    fn run(&self, _hand: &mut (), pairs: u64) {
        for _ in 0..pairs {
            drop(Varied::take(hide(64)));
        }
    }
}
