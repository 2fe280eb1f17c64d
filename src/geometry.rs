//! The sizes that are the same in every heap, and their tiny twins for models.
//!
//! What depends on the back-end (unit bytes, address width) are constants of the trait [`Backend`]; what a layer
//! derives from these stays in that layer. A model shrinks the numbers here, never the code.
//!
//! [`Backend`]: crate::Backend

/// `real` in a build, `tiny` in a loom model.
macro_rules! sized {
    ($($(#[$attr:meta])* $name:ident: $type:ty = $real:expr, tiny $tiny:expr;)*) => {$(
        $(#[$attr])*
        pub(crate) const $name: $type = if cfg!(all(test, loom)) { $tiny } else { $real };
    )*};
}

sized! {
    /// Units in a segment: the bits of one word.
    UNITS: u32 = 64, tiny 4;
    /// Segments in a group, found through one word of hints.
    SEGMENTS: u32 = 64, tiny 2;
    /// Chunks that one word of a slab's bitmap stands for.
    WORD_BITS: u32 = 64, tiny 2;
    /// Bitmap words of a slab of many small chunks.
    WIDE_WORDS: usize = 64, tiny 2;
    /// Bitmap words of every other slab.
    NARROW_WORDS: usize = 16, tiny 2;
    /// Most rounds in a magazine; the block has room for this many beside its header and its mark.
    MOST_ROUNDS: usize = 125, tiny 2;
    /// Bytes of chunks that a magazine starts out to hold at most.
    MAGAZINE_BYTES: usize = 16 << 10, tiny 64 << 10;
    /// Bytes of chunks up to which contention may grow a magazine.
    MAGAZINE_BYTES_GROWN: usize = 64 << 10, tiny 64 << 10;
    /// Corners of the depot.
    CORNERS: usize = 4, tiny 1;
    /// Bytes of chunks of one class that a shelf keeps; what comes beyond goes back to the slabs.
    DEPOT_BYTES: usize = 512 << 10, tiny 128;
    /// Magazines of one class that a shelf keeps.
    DEPOT_MAGAZINES: usize = 64, tiny 8;
    /// Bytes that a heap keeps though nobody uses them, unless it is asked for them.
    KEEP: usize = 8 << 20, tiny 16 << 20;
    /// Bytes freed between two looks at what is kept.
    LOOK: usize = 2 << 20, tiny 4 << 20;
    /// Bytes in magazines that the first thread frees before it says so; the later ones say so earlier.
    NOTE: usize = 256 << 10, tiny 4 << 20;
    /// Bytes given back at one time by a heap that was not asked.
    STRIDE: usize = 32 << 20, tiny 32 << 20;
    /// Empty magazines that a rack keeps.
    EMPTY_MAGAZINES: usize = 32, tiny 8;
    /// CPUs: more than Linux can be built for.
    CPUS: usize = 8192, tiny 2;
    /// Empty magazines that a thread keeps.
    #[cfg_attr(not(feature = "std"), expect(dead_code, reason = "there are no thread caches"))]
    SPARES: usize = 8, tiny 1;
    /// Bytes of chunks that the magazines hold at most which a thread has earned.
    #[cfg_attr(not(feature = "std"), expect(dead_code, reason = "there are no thread caches"))]
    #[cfg_attr(all(test, loom), allow(dead_code, reason = "models use what is a protocol of it"))]
    WORN_BYTES: usize = 1 << 20, tiny 1 << 20;
    /// Slots that threads without a cache of their own share.
    SHARDS: usize = 8, tiny 2;
    /// Size classes.
    CLASSES: usize = 40, tiny 2;
    /// Bytes of the largest chunk.
    CHUNK_BYTES: usize = 32 << 10, tiny 32;
    /// Blocks of records in a pool: enough that indices run out first.
    POOL_BLOCKS: usize = 28, tiny 5;
    /// Widest node of the unit map, as a power of two.
    NODE_BITS: u32 = 11, tiny 2;
}

/// Whether blocks are checked, wiped and guarded, at a price (the feature `hardened`). Models are of protocols, and those stay as
/// they are.
pub(crate) const HARDENED: bool = cfg!(feature = "hardened") && !cfg!(all(test, loom));

/// Whether what is free is zero, and looked at. Not beside a tool that is told what is free (the feature `annotate`): it sees more,
/// and nobody may touch what it was told of.
pub(crate) const WIPED: bool = HARDENED && !cfg!(feature = "annotate");

/// Whether the program's hold on each chunk is noted: in debug builds, and where blocks are checked.
pub(crate) const CHECKED: bool = (cfg!(debug_assertions) || HARDENED) && !cfg!(all(test, loom));

/// Bytes of a magazine block, and its alignment: an address whose low bits are zero is the end of one.
pub(crate) const BLOCK: usize = 1024;
