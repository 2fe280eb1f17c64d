//! A block of the global allocator: the one place that calls it.
//!
//! [`Fixed`] has its size in its type, so the allocator sees a constant layout. [`Varied`] carries its size, and
//! [`hide`] keeps it from the optimiser. Every address goes through `black_box`, or the pair would be removed.

use core::alloc::Layout;
use core::hint::black_box;
use core::ptr::NonNull;
use std::alloc::{alloc, dealloc, handle_alloc_error};

/// Of every block; frusa's benchmark has the same.
const ALIGN: usize = 8;

/// # Safety
///
/// `layout` is not of size zero.
#[inline(always)]
unsafe fn take(layout: Layout) -> NonNull<u8> {
    // SAFETY: the caller promises a size above zero.
    let address = black_box(unsafe { alloc(layout) });
    NonNull::new(address).unwrap_or_else(|| handle_alloc_error(layout))
}

/// A size that the optimiser does not know.
#[inline(always)]
pub fn hide(size: usize) -> usize {
    black_box(size)
}

/// A block of `SIZE` bytes.
///
/// # Invariants
///
/// The address came from the global allocator with `Self::LAYOUT`, and this value alone owns the block.
#[derive(Debug)]
pub struct Fixed<const SIZE: usize>(NonNull<u8>);

// SAFETY: the block is owned by this value alone (type invariant), and an allocator takes back a block on any thread.
unsafe impl<const SIZE: usize> Send for Fixed<SIZE> {}

impl<const SIZE: usize> Fixed<SIZE> {
    const LAYOUT: Layout = {
        assert!(SIZE > 0);
        match Layout::from_size_align(SIZE, ALIGN) {
            Ok(layout) => layout,
            Err(_) => panic!("SIZE is too large"),
        }
    };

    /// Takes a block.
    #[inline(always)]
    pub fn take() -> Self {
        // INVARIANT: fresh from the allocator with LAYOUT.
        // SAFETY: LAYOUT is not of size zero, by its assertion.
        Self(unsafe { take(Self::LAYOUT) })
    }
}

impl<const SIZE: usize> Drop for Fixed<SIZE> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: by the type invariant the block is ours and of LAYOUT.
        unsafe { dealloc(self.0.as_ptr(), Self::LAYOUT) }
    }
}

/// A block of `SIZE` bytes, the first of which has been written.
///
/// # Invariants
///
/// The first byte of the block is initialised.
#[derive(Debug)]
pub struct Written<const SIZE: usize>(Fixed<SIZE>);

impl<const SIZE: usize> Written<SIZE> {
    /// Takes a block and writes its first byte.
    #[inline(always)]
    pub fn take(first: u8) -> Self {
        let block = Fixed::take();
        // INVARIANT: the first byte is initialised here.
        // SAFETY: a block that its value owns has at least one byte, by the assertion in LAYOUT.
        unsafe { block.0.write(first) };
        Self(block)
    }

    /// Reads the first byte, and makes the optimiser believe that it is used.
    #[inline(always)]
    pub fn read(&self) -> u8 {
        let block = &self.0;
        // SAFETY: the byte is in a block of ours, and initialised by the type invariant.
        black_box(unsafe { block.0.read() })
    }
}

/// A block of a size known at run time.
///
/// # Invariants
///
/// The address came from the global allocator with `Self::layout(size)`, `size > 0`, and this value alone owns the
/// block.
#[derive(Debug)]
pub struct Varied {
    address: NonNull<u8>,
    size: usize,
}

// SAFETY: the block is owned by this value alone (type invariant), and an allocator takes back a block on any thread.
unsafe impl Send for Varied {}

impl Varied {
    #[inline(always)]
    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, ALIGN).expect("a workload asks for little")
    }

    /// Takes a block of `size` bytes.
    ///
    /// # Panics
    ///
    /// When `size` is zero.
    #[inline(always)]
    pub fn take(size: usize) -> Self {
        assert!(size > 0);
        // INVARIANT: fresh from the allocator with the layout of `size`, which is above zero.
        // SAFETY: as asserted, the size is above zero.
        let address = unsafe { take(Self::layout(size)) };
        Self { address, size }
    }

    /// Writes the block's first byte, as whoever asked for the block would.
    #[inline(always)]
    pub fn mark(&mut self, with: u8) {
        // SAFETY: the block is ours, by the type invariant, and has at least one byte.
        unsafe { self.address.write(with) }
    }

    /// Writes the block's first and last byte.
    #[inline(always)]
    pub fn mark_ends(&mut self, with: u8) {
        self.mark(with);
        // SAFETY: `size` is above zero, so the last byte lies in the block, which is ours by the type invariant.
        let last = unsafe { self.address.add(self.size - 1) };
        // SAFETY: as before.
        unsafe { last.write(with) }
    }
}

impl Drop for Varied {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: by the type invariant the block is ours and has this layout.
        unsafe { dealloc(self.address.as_ptr(), Self::layout(self.size)) }
    }
}

/// A block that is written all over, and carries its size itself: a table of many costs 8 bytes each.
///
/// # Invariants
///
/// The address came from the global allocator with `Varied::layout(size)`, its first four bytes hold `size`, and this
/// value alone owns the block.
#[derive(Debug)]
pub struct Labelled(NonNull<u8>);

// SAFETY: the block is owned by this value alone (type invariant), and an allocator takes back a block on any thread.
unsafe impl Send for Labelled {}

impl Labelled {
    /// Takes a block of `size` bytes, 4 at least, and writes all of them.
    ///
    /// # Panics
    ///
    /// When `size` is below 4, or above 4 GiB.
    pub fn take(size: usize) -> Self {
        let label = u32::try_from(size).expect("a workload asks for little");
        assert!(size >= size_of::<u32>());
        // SAFETY: as asserted, the size is above zero.
        let address = unsafe { take(Varied::layout(size)) };
        // SAFETY: the block is ours and has `size` bytes.
        unsafe { address.write_bytes(size as u8, size) };
        // SAFETY: as above, 4 bytes at least, and `ALIGN` is a multiple of 4.
        unsafe { address.cast().write(label) };
        // INVARIANT: fresh from the allocator, and labelled.
        Self(address)
    }
}

impl Drop for Labelled {
    fn drop(&mut self) {
        // SAFETY: the block is ours, and labelled, by the type invariant.
        let size = unsafe { self.0.cast::<u32>().read() } as usize;
        // SAFETY: by the type invariant the block is ours and has this layout.
        unsafe { dealloc(self.0.as_ptr(), Varied::layout(size)) }
    }
}

#[cfg(test)]
mod tests {
    use super::Written;

    #[test]
    fn what_was_written_is_read() {
        let blocks = [7, 0, 255].map(Written::<64>::take);
        assert_eq!(blocks.map(|block| block.read()), [7, 0, 255]);
    }
}
