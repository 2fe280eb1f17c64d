//! What gives memory back beside the program, where the allocator has such a thing that has to be started: Bandolier's
//! `Reclaimer`.

#[cfg(any(feature = "bandolier", feature = "bandolier-per-thread", feature = "bandolier-per-cpu"))]
#[path = "ours.rs"]
mod imp;
#[cfg(not(any(feature = "bandolier", feature = "bandolier-per-thread", feature = "bandolier-per-cpu")))]
#[path = "none.rs"]
mod imp;

/// A driver at work, until it is dropped.
#[derive(Debug)]
pub struct Driver(imp::Running);

impl Driver {
    /// `None` where the allocator has none, or the system gives no thread.
    pub fn start() -> Option<Self> {
        imp::start().map(Self)
    }

    /// Ends it; the bytes that it gave back.
    pub fn stop(self) -> usize {
        imp::stop(self.0)
    }
}

/// Gives back all that is free, whoever has it; whether the allocator can, and could.
pub fn drain() -> bool {
    imp::drain()
}
