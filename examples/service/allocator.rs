//! What the service asks of the allocator that it runs on; `on_bandolier` and `on_system` answer, and `benches/peers` has more.

use tokio::runtime::Builder;

use crate::memory::{Heap, Reclaimed};

pub(crate) trait Allocator: Sync {
    /// Gives the runtime the hooks that the allocator has for its workers.
    fn hook(&'static self, _runtime: &mut Builder) {}

    /// Starts, within the runtime, what gives memory back while nobody asks for anything.
    fn drive(&'static self) {}

    /// Its own figures.
    fn heap(&self) -> Option<Heap> {
        None
    }

    /// Gives back all that it can spare.
    fn reclaim(&self) -> Reclaimed;
}
