//! A service on Bandolier: hooks for the workers, a task that gives back, and `reclaim`.

use bandolier::{Bandolier, Bounds, Reclaimer};
use bandolier_tokio::BuilderExt as _;
use tokio::runtime::Builder;

use crate::allocator::Allocator;
use crate::memory::{Bytes, Heap, Reclaimed};

/// Of one step of the task, in bytes: it runs on a worker, and requests wait for it.
const STEP: usize = 8 << 20;

impl Allocator for Bandolier {
    fn hook(&'static self, runtime: &mut Builder) {
        runtime.bandolier(self);
    }

    fn drive(&'static self) {
        tokio::spawn(bandolier_tokio::drive(Reclaimer::new(self).bounds(Bounds::NONE.bytes(STEP))));
    }

    fn heap(&self) -> Option<Heap> {
        let stats = self.stats();
        Some(Heap { from_backend: stats.from_backend, in_use: stats.in_use })
    }

    fn reclaim(&self) -> Reclaimed {
        let reclaimed = self.reclaim();
        let bytes = Bytes { released: reclaimed.released, purged: reclaimed.purged() };
        Reclaimed { call: "Bandolier::reclaim()".into(), bytes: Some(bytes) }
    }
}
