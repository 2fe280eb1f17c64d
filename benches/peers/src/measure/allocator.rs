//! The global allocator that this binary was built with.

/// Declares the allocator of one feature; two at once are refused by the compiler, as it should be.
macro_rules! peer {
    ($feature:literal, $type:ty, $value:expr) => {
        #[cfg(feature = $feature)]
        mod chosen {
            #[global_allocator]
            static GLOBAL: $type = $value;
            pub(super) const NAME: &str = $feature;
        }
    };
}

peer!("system", std::alloc::System, std::alloc::System);
peer!("bandolier", bandolier::Bandolier, bandolier::Bandolier::new());
peer!("mimalloc", mimalloc::MiMalloc, mimalloc::MiMalloc);
peer!("mimalloc-v2", mimalloc::MiMalloc, mimalloc::MiMalloc);
peer!("jemalloc", tikv_jemallocator::Jemalloc, tikv_jemallocator::Jemalloc);
peer!("snmalloc", snmalloc_rs::SnMalloc, snmalloc_rs::SnMalloc);
// Behind the lock and on the source that its own example has; of the classes ("binnings") the default.
peer!(
    "talc",
    talc::TalcLock<spinning_top::RawSpinlock, talc::source::GlobalAllocSource<std::alloc::System>>,
    talc::TalcLock::new(talc::source::GlobalAllocSource::new(std::alloc::System))
);
peer!("frusa", frusa::Frusa4K, frusa::Frusa4K::new(&std::alloc::System));

#[cfg(not(any(
    feature = "system",
    feature = "bandolier",
    feature = "mimalloc",
    feature = "mimalloc-v2",
    feature = "jemalloc",
    feature = "snmalloc",
    feature = "talc",
    feature = "frusa"
)))]
mod chosen {
    /// What a Rust program has when it names no allocator.
    pub(super) const NAME: &str = "system";
}

/// As its feature is called.
pub(crate) const NAME: &str = chosen::NAME;
