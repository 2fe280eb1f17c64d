//! A live block, every byte of which is known.

use crate::subject::Subject;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

/// A block filled from end to end with a pattern that no other block has.
#[derive(Debug)]
#[must_use = "a block is freed by `free`"]
pub struct Block {
    start: NonNull<u8>,
    layout: Layout,
    stamp: u64,
}

// SAFETY: the block is this value's alone, wherever that is.
unsafe impl Send for Block {}

const WORD: usize = size_of::<u64>();
/// What one word of the pattern differs by from the one before.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// How a block came to be refused a new size.
#[derive(Debug)]
pub struct Unchanged(pub Block);

impl Block {
    /// A new block, filled; `None` when the heap has no memory. Of a zeroed one every byte is looked at first.
    pub fn new(heap: &dyn Subject, layout: Layout, zeroed: bool, stamp: u64) -> Option<Self> {
        let ask = if zeroed { GlobalAlloc::alloc_zeroed } else { GlobalAlloc::alloc };
        // SAFETY: no size here is zero.
        let start = unsafe { ask(heap, layout) };
        let block = Self::adopt(NonNull::new(start)?, layout, stamp);
        if zeroed {
            let dirt = block.bytes().iter().position(|&byte| byte != 0);
            assert_eq!(dirt, None, "{block:?} was to be zero, and is not there");
        }
        block.fill();
        Some(block)
    }

    fn adopt(start: NonNull<u8>, layout: Layout, stamp: u64) -> Self {
        assert_eq!(start.addr().get() & (layout.align() - 1), 0, "{start:?} is misaligned for {layout:?}");
        Self { start, layout, stamp }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the block is ours; where it was not written yet, it is memory of another allocator's that was, or of the
        // operating system: a byte may be anything.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.layout.size()) }
    }

    fn fill(&self) {
        // SAFETY: the block is ours, and nobody else refers to it.
        let bytes = unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.layout.size()) };
        let (words, rest) = bytes.as_chunks_mut::<WORD>();
        let mut word = self.stamp;
        for place in words {
            *place = word.to_ne_bytes();
            word = word.wrapping_add(STEP);
        }
        rest.copy_from_slice(&word.to_ne_bytes()[..rest.len()]);
    }

    /// Whether these are the first bytes of the pattern.
    fn begins(&self, bytes: &[u8]) -> bool {
        let (words, rest) = bytes.as_chunks::<WORD>();
        let pattern = |n: usize| self.stamp.wrapping_add(STEP.wrapping_mul(n as u64)).to_ne_bytes();
        words.iter().enumerate().all(|(n, word)| *word == pattern(n)) && *rest == pattern(words.len())[..rest.len()]
    }

    /// Reads every byte back.
    ///
    /// # Panics
    /// When one has changed.
    pub fn check(&self) {
        assert!(self.begins(self.bytes()), "{self:?} is damaged: {:x?}", &self.bytes()[..self.layout.size().min(64)]);
    }

    /// Whether every byte is as it was, for who must not panic.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.begins(self.bytes())
    }

    /// Checks the contents, and frees the block.
    pub fn free(self, heap: &dyn Subject) {
        self.check();
        // SAFETY: live, of this layout, and given up.
        unsafe { heap.dealloc(self.start.as_ptr(), self.layout) };
    }

    /// Gives the block another size, checks that its contents were kept, and fills it anew.
    ///
    /// # Errors
    /// The old block, intact, when the heap has no memory.
    pub fn resize(self, heap: &dyn Subject, size: usize, stamp: u64) -> Result<Self, Unchanged> {
        self.check();
        let layout = Layout::from_size_align(size, self.layout.align()).expect("sizes are decoded to be small enough");
        // SAFETY: live and of this layout; the new size is not zero and fits the alignment.
        let start = unsafe { heap.realloc(self.start.as_ptr(), self.layout, size) };
        let Some(start) = NonNull::new(start) else {
            self.check();
            return Err(Unchanged(self));
        };
        let resized = Self::adopt(start, layout, stamp);
        let kept = size.min(self.layout.size());
        assert!(self.begins(&resized.bytes()[..kept]), "{self:?} lost contents when it became {resized:?}");
        resized.fill();
        Ok(resized)
    }

    /// Where it lies.
    #[must_use]
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// What was asked for.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }
}
