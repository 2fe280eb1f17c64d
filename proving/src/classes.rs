//! Any layout: the class that it gets, and what a block of it takes in every heap.

use crate::stand::{BEDS, Caches};
use crate::subject::Subject;
use arbitrary::{Result, Unstructured};
use bandolier::SizeClass;
use core::alloc::Layout;

/// Sizes of chunks are multiples of it.
const STEP: usize = 16;

/// Checks the classes of all steps with one alignment, and each of the layouts that the bytes are of.
///
/// # Panics
/// When one gets too little, or too much.
pub(crate) fn run(bytes: &[u8]) {
    let u = &mut Unstructured::new(bytes);
    let Ok((caches, align)) = u.arbitrary::<(u8, u8)>() else { return };
    check_steps(1 << (align % 16));
    let heaps: Vec<_> = BEDS.iter().map(|bed| bed.heap(Caches::ALL[usize::from(caches) % 4])).collect();
    while !u.is_empty() {
        let Ok(layout) = layout(u) else { return };
        check_class(layout);
        heaps.iter().for_each(|heap| check_block(&**heap, layout));
    }
}

/// Where one class ends and the next begins, if that is right.
fn check_steps(align: usize) {
    let sizes = (STEP..=SizeClass::MAX_BYTES + STEP).step_by(STEP).flat_map(|step| [step - 1, step, step + 1]);
    sizes.filter_map(|size| Layout::from_size_align(size, align).ok()).for_each(check_class);
}

/// As many of a few bytes as of a few million, most of them at the end of a class or a step, or a byte or two beside it. Half of them
/// have a usual alignment.
fn layout(u: &mut Unstructured<'_>) -> Result<Layout> {
    let log = u.arbitrary::<u8>()?;
    let log = if log % 2 == 0 { log / 2 % 5 } else { log / 2 % 22 };
    let doubling = u.arbitrary::<u8>()? % 32;
    let doubling = 1_usize << if doubling < 23 { doubling } else { doubling - 16 };
    let more = (usize::from(u.arbitrary::<u16>()?) * doubling) >> 16;
    let end = match u.arbitrary::<u8>()? % 3 {
        0 => more,
        1 => more & !(STEP - 1),
        _ => more & !((doubling / 4).max(1) - 1),
    };
    let size = (doubling + end + usize::from(u.arbitrary::<u8>()? % 4)).saturating_sub(2).max(1);
    Layout::from_size_align(size, 1 << log).map_err(|_| arbitrary::Error::IncorrectFormat)
}

fn check_class(layout: Layout) {
    let padded = layout.pad_to_align().size();
    let Some(class) = SizeClass::of(layout) else {
        assert!(padded > SizeClass::MAX_BYTES, "{layout:?} has no class");
        return;
    };
    let naive = SizeClass::all().find(|class| class.bytes() >= padded);
    assert_eq!(Some(class), naive, "{layout:?}");
    assert!(class.bytes() % layout.align() == 0, "chunks of {} for {layout:?}", class.bytes());
    let waste = class.bytes() - padded;
    assert!(waste < 16 || (padded > 128 && waste * 5 < class.bytes()), "{waste} of {} for {layout:?}", class.bytes());
    let next = Layout::from_size_align(layout.size() + 1, layout.align()).ok().and_then(SizeClass::of);
    assert!(next.is_none_or(|next| next >= class), "{layout:?} and a byte more");
}

/// What a block takes is what `stats` say, no less than was asked, and usable to its end.
fn check_block(heap: &dyn Subject, layout: Layout) {
    let (before, rounded) = (heap.stats().in_use, heap.rounded(layout));
    assert!(rounded >= layout.size());
    // SAFETY: the size is not zero.
    let block = unsafe { heap.alloc(layout) };
    if block.is_null() {
        assert!(!heap.is_ample(), "{layout:?} refused");
        return;
    }
    assert_eq!(block.addr() & (layout.align() - 1), 0, "{block:?} is misaligned for {layout:?}");
    assert_eq!(heap.stats().in_use - before, rounded, "{layout:?}");
    let whole = Layout::from_size_align(rounded, layout.align()).ok().filter(|&whole| heap.rounded(whole) == rounded);
    let whole = whole.unwrap_or(layout);
    // SAFETY: live, of this layout; the size is not zero and fits the alignment.
    let same = unsafe { heap.realloc(block, layout, whole.size()) };
    if same.is_null() {
        assert!(!heap.is_ample(), "{layout:?} could not become {whole:?}");
        // SAFETY: live still, of this layout.
        return unsafe { heap.dealloc(block, layout) };
    }
    assert!(same == block || heap.is_large(layout), "{layout:?} moved to become {whole:?}");
    // SAFETY: ours, of that size.
    unsafe { same.write_bytes(0xee, whole.size()) };
    // SAFETY: live, of this layout.
    unsafe { heap.dealloc(same, whole) };
    assert_eq!(heap.stats().in_use, before, "{layout:?} freed");
}
