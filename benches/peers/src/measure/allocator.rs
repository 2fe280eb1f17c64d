//! The global allocator that this binary was built with.

/// Declares the allocator of one feature; two at once are refused by the compiler, as it should be.
macro_rules! peer {
    ($feature:literal, $type:ty, $value:expr) => {
        peer!($feature, $type, $value, None);
    };
    ($feature:literal, $type:ty, $value:expr, $fault:expr) => {
        #[cfg(feature = $feature)]
        mod chosen {
            #[global_allocator]
            static GLOBAL: $type = $value;
            pub(super) const NAME: &str = $feature;
            pub(super) fn fault() -> Option<&'static str> {
                $fault
            }
        }
    };
}

peer!("system", std::alloc::System, std::alloc::System);
peer!("bandolier", bandolier::Bandolier, bandolier::Bandolier::new());
peer!("bandolier-per-thread", bandolier::Bandolier, bandolier::Bandolier::new().per_thread());
peer!("bandolier-per-cpu", bandolier::Bandolier, bandolier::Bandolier::new().per_cpu());
peer!("bandolier-shared", bandolier::Bandolier, bandolier::Bandolier::new().without_thread_caches());
peer!("bandolier-hardened", bandolier::Bandolier, bandolier::Bandolier::new());
peer!("mimalloc", mimalloc::MiMalloc, mimalloc::MiMalloc);
peer!("mimalloc-v2", mimalloc::MiMalloc, mimalloc::MiMalloc);
peer!("mimalloc-secure", mimalloc::MiMalloc, mimalloc::MiMalloc);
peer!("jemalloc", tikv_jemallocator::Jemalloc, tikv_jemallocator::Jemalloc);
peer!("snmalloc", snmalloc_rs::SnMalloc, snmalloc_rs::SnMalloc);
peer!("snmalloc-check", snmalloc_rs::SnMalloc, snmalloc_rs::SnMalloc);
peer!("tcmalloc", tcmalloc_better::TCMalloc, tcmalloc_better::TCMalloc, crate::tcmalloc::fault());
peer!("rpmalloc", rpmalloc::RpMalloc, rpmalloc::RpMalloc);
peer!("rusty_alloc", rusty_alloc_api::RustyAlloc, rusty_alloc_api::RustyAlloc);
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
    feature = "bandolier-per-thread",
    feature = "bandolier-per-cpu",
    feature = "bandolier-shared",
    feature = "bandolier-hardened",
    feature = "mimalloc",
    feature = "mimalloc-v2",
    feature = "mimalloc-secure",
    feature = "jemalloc",
    feature = "snmalloc",
    feature = "snmalloc-check",
    feature = "tcmalloc",
    feature = "rpmalloc",
    feature = "rusty_alloc",
    feature = "talc",
    feature = "frusa"
)))]
mod chosen {
    /// What a Rust program has when it names no allocator.
    pub(super) const NAME: &str = "system";
    pub(super) fn fault() -> Option<&'static str> {
        None
    }
}

/// As its feature is called.
pub(crate) const NAME: &str = chosen::NAME;

/// Why figures from here would not be this allocator's.
pub(crate) fn fault() -> Option<&'static str> {
    chosen::fault()
}
