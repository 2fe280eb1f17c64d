//! Free memory that is known to be zero: what a hardened heap wipes, and by what it finds out that somebody has written there.
//!
//! Zero rather than a pattern: fresh and purged pages are zero without being written, a block that is to be zero is so already,
//! and what is read after it was freed leads to null. (GrapheneOS' hardened_malloc does the same, for the same reasons.)

use core::hint::black_box;
use core::ptr::NonNull;

/// Makes memory zero.
///
/// # Safety
/// The bytes are the caller's to write.
pub(crate) unsafe fn wipe(start: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { start.write_bytes(0, bytes) };
    // A compiler that sees the block go to another allocator next would leave the writes out.
    black_box(start);
}

/// Whether memory is zero.
///
/// # Safety
/// The bytes are initialised, and nobody writes to them meanwhile who keeps to the rules.
pub(crate) unsafe fn is_wiped(start: NonNull<u8>, bytes: usize) -> bool {
    // SAFETY: the caller's promise.
    let bytes = unsafe { core::slice::from_raw_parts(start.as_ptr(), bytes) };
    // SAFETY: every pattern of bits is a number.
    let (before, words, behind) = unsafe { bytes.align_to::<u64>() };
    words.iter().fold(0, |all, word| all | word) == 0 && before.iter().chain(behind).all(|&byte| byte == 0)
}

/// The first byte that is not zero, of memory in which there is one.
///
/// # Safety
/// As for [`is_wiped`].
#[cold]
pub(crate) unsafe fn first_stain(start: NonNull<u8>, bytes: usize) -> NonNull<u8> {
    // SAFETY: inside, or the end, and so below by the caller's promise.
    let place = |offset| unsafe { start.add(offset) };
    // SAFETY: the caller's promise.
    (0..bytes).map(place).find(|byte| unsafe { byte.read() } != 0).unwrap_or(start)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_bit_anywhere_is_seen() {
        let mut bytes = [0_u8; 67];
        for (first, length) in [(0, 67), (1, 66), (3, 5), (8, 8), (9, 0)] {
            for place in 0..bytes.len() {
                bytes[place] = 0x10;
                let start = NonNull::from(&bytes[first..first + length]).cast();
                // SAFETY: so many bytes of the array.
                let wiped = unsafe { is_wiped(start, length) };
                assert_eq!(wiped, !(first..first + length).contains(&place));
                // SAFETY: as above.
                let stain = unsafe { first_stain(start, length) };
                assert!(wiped || stain == NonNull::from(&bytes[place]));
                bytes[place] = 0;
            }
        }
    }

    #[test]
    fn what_is_wiped_is_zero_and_the_rest_stays() {
        let mut bytes = [7_u8; 20];
        // SAFETY: so many bytes of the array.
        unsafe { wipe(NonNull::from(&mut bytes[3..12]).cast(), 9) };
        assert!(bytes.iter().enumerate().all(|(place, &byte)| byte == if (3..12).contains(&place) { 0 } else { 7 }));
    }
}
