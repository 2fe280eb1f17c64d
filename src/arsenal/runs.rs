//! Runs of units as blocks.
//!
//! ```text
//!   plain               │ unit │ unit │ …            the map knows the first unit
//!   hardened   │ guard │ unit │ unit │ … │ guard │   and the others as its rest; guards fault, where the back-end has them
//!                                   │◀──▶│ brink: zero behind the bytes that were asked for
//! ```

use super::Arsenal;
use super::owner::Owner;
use crate::backend::Backend;
use crate::geometry::{HARDENED, UNITS, WIPED};
use crate::home::Home;
use crate::segment::{Contents, Run, Wish, guards};
use crate::wipe::{first_stain, is_wiped, wipe};
use core::ptr::NonNull;

/// Bytes behind a block that are looked at when it is freed.
const BRINK: usize = 64;

/// From so many bytes on it is less work to have the back-end replace pages than to write to them.
const PAGES: usize = 128 << 10;

/// What is free and still to be looked at, behind `bytes` of a block that has its last unit to itself.
fn brink<B: Backend>(block: NonNull<u8>, bytes: usize) -> (NonNull<u8>, usize) {
    // SAFETY: at most the end of the unit that the last byte is in.
    (unsafe { block.add(bytes) }, BRINK.min(bytes.next_multiple_of(B::UNIT) - bytes))
}

impl Run {
    /// The address of its unit `number`, or of its end.
    fn unit<B: Backend>(self, number: u32) -> NonNull<u8> {
        debug_assert!(number <= self.units);
        // SAFETY: inside the segment, or its end.
        unsafe { self.start.add(number as usize * B::UNIT) }
    }

    /// What lies between the guards.
    fn inside<B: Backend>(self) -> Self {
        let edge = guards::<B>();
        Self { start: self.unit::<B>(edge), first: self.first + edge, units: self.units - 2 * edge, ..self }
    }

    /// The same with its guards.
    fn around<B: Backend>(self) -> Self {
        let edge = guards::<B>();
        // SAFETY: a guard lies before every run.
        let start = unsafe { self.start.sub(edge as usize * B::UNIT) };
        Self { start, first: self.first - edge, units: self.units + 2 * edge, ..self }
    }

    /// Its units from `number` on.
    fn tail<B: Backend>(self, number: u32) -> Self {
        Self { start: self.unit::<B>(number), first: self.first + number, units: self.units - number, ..self }
    }

    fn bytes<B: Backend>(self) -> usize {
        self.units as usize * B::UNIT
    }
}

/// Makes units of the caller's read as zero; whether they are without pages now.
///
/// # Safety
/// The units are the caller's, and nothing uses their contents any more.
unsafe fn scrub<B: Backend>(backend: &B, start: NonNull<u8>, bytes: usize) -> bool {
    // SAFETY: the caller's promise; whole units are whole granules.
    if B::PURGES && bytes >= PAGES && bytes % B::UNIT == 0 && unsafe { backend.purge(start, bytes) } {
        return true;
    }
    // SAFETY: the caller's promise.
    unsafe { wipe(start, bytes) };
    false
}

impl Arsenal {
    fn units<B: Backend>(bytes: usize) -> u32 {
        bytes.div_ceil(B::UNIT) as u32
    }

    /// A run for a block of `bytes`, at most a segment, with room to grow to `room` bytes if that can be had.
    pub(crate) fn take_run<B: Backend>(
        &self,
        backend: &B,
        bytes: usize,
        room: usize,
        home: Home,
    ) -> Option<(NonNull<u8>, Contents)> {
        let with_guards = |bytes| Self::units::<B>(bytes) + 2 * guards::<B>();
        let wish = Wish { units: with_guards(bytes), room: with_guards(room).min(UNITS), home };
        let (whole, contents) = self.claim(backend, wish, Self::ample::<B>())?;
        let run = whole.inside::<B>();
        if WIPED && B::ZEROED && bytes < PAGES && contents != Contents::Untouched {
            self.check_free(run.start, run.bytes::<B>());
        }
        self.guard(backend, whole, 0);
        self.guard(backend, whole, whole.units - 1);
        self.map_run(backend, run);
        Self::clear_brink::<B>(run.start, bytes);
        self.surplus.take_run(whole.bytes::<B>(), home);
        self.surplus.draw(contents.untouched(run.units).min(run.units) as usize * B::UNIT);
        Some((run.start, contents))
    }

    /// Sees to it that a new run of a hardened heap reads as zero, which it does if the back-end's memory is zero at first: then
    /// it aborts if somebody has written there since. What is in it.
    pub(super) fn blank<B: Backend>(&self, backend: &B, run: Run, found: Contents) -> Contents {
        if B::ZEROED {
            self.check_free(run.start, if found == Contents::Untouched { 0 } else { run.bytes::<B>() });
            return found;
        }
        // SAFETY: nobody has used it yet.
        if unsafe { scrub(backend, run.start, run.bytes::<B>()) } { Contents::Untouched } else { found }
    }

    /// Aborts if somebody has written to memory that is free, and of the caller's.
    pub(super) fn check_free(&self, start: NonNull<u8>, bytes: usize) {
        // SAFETY: what becomes free is wiped, and free memory is nobody's to write to.
        if WIPED && !unsafe { is_wiped(start, bytes) } {
            // SAFETY: as above.
            let stain = unsafe { first_stain(start, bytes) };
            self.breach("write after free", stain, 0, 1, None);
        }
    }

    fn map_run<B: Backend>(&self, backend: &B, run: Run) {
        self.map.set(backend, run.start, 1, Owner::Run(run.segment).to_bits());
        if HARDENED && run.units > 1 {
            self.map.set(backend, run.unit::<B>(1), run.units - 1, Owner::Rest.to_bits());
        }
    }

    fn unmap_run<B: Backend>(&self, backend: &B, run: Run) {
        let known = if HARDENED { run.units } else { 1 };
        self.map.set(backend, run.start, known, Owner::Nobody.to_bits());
    }

    /// The run of a block of `bytes`; aborts if there is no such block.
    pub(super) fn locate<B: Backend>(&self, backend: &B, block: NonNull<u8>, bytes: usize, align: usize) -> Run {
        let run = match self.owner(backend, block) {
            Owner::Run(segment) => self.segments.locate::<B>(segment, block, Self::units::<B>(bytes)),
            Owner::Slab(id) => self.breach("free with a layout that is not the block's", block, bytes, align, Some(id)),
            Owner::Nobody | Owner::Rest | Owner::Guard | Owner::Large(_) => None,
        };
        let run = run.unwrap_or_else(|| self.breach("free of an address that is no block", block, bytes, align, None));
        if HARDENED && !self.is_whole(backend, run) {
            self.breach("free with a layout that is not the block's", block, bytes, align, None);
        }
        run
    }

    /// Whether that is all of a run, and nothing else.
    fn is_whole<B: Backend>(&self, backend: &B, run: Run) -> bool {
        let is_rest = |unit| self.owner(backend, run.unit::<B>(unit)) == Owner::Rest;
        (1..run.units).all(is_rest) && !is_rest(run.units)
    }

    /// Takes the run of a block of `bytes` back.
    pub(crate) fn give_run<B: Backend>(&self, backend: &B, block: NonNull<u8>, bytes: usize, align: usize, home: Home) {
        let run = self.locate(backend, block, bytes, align);
        if WIPED {
            self.check_brink(backend, block, bytes, align);
            let used = if bytes >= PAGES { run.bytes::<B>() } else { bytes };
            // SAFETY: the block was the program's until now, and is the caller's.
            unsafe { scrub(backend, block, used) };
        }
        self.unmap_run(backend, run);
        let whole = run.around::<B>();
        self.surplus.give_run(whole.bytes::<B>(), home);
        self.surplus.note(whole.bytes::<B>(), home);
        self.free_guarded(backend, whole);
    }

    /// Makes a run fit for `new` bytes instead of `old`, in place; whether it could.
    pub(crate) fn resize_run<B: Backend>(
        &self,
        backend: &B,
        block: NonNull<u8>,
        old: usize,
        new: usize,
        align: usize,
        home: Home,
    ) -> bool {
        let run = self.locate(backend, block, old, align);
        self.check_brink(backend, block, old, align);
        let units = Self::units::<B>(new);
        if units > run.units && !self.lengthen(backend, run, units, home) {
            return false;
        }
        if WIPED && new < old {
            let kept = old.min(units as usize * B::UNIT);
            // SAFETY: inside the last unit that is kept, or its end.
            let gone = unsafe { block.add(new) };
            // SAFETY: the program has given them up.
            unsafe { wipe(gone, kept - new) };
        }
        if units < run.units {
            self.shorten(backend, run, units, home);
        }
        Self::clear_brink::<B>(block, new);
        true
    }

    fn lengthen<B: Backend>(&self, backend: &B, run: Run, units: u32, home: Home) -> bool {
        let (whole, more) = (run.around::<B>(), units - run.units);
        if units > UNITS {
            return false;
        }
        let Some(longer) = self.segments.extend(whole, more) else { return false };
        self.guard(backend, longer, longer.units - 1);
        if !self.unguard(backend, whole, whole.units - 1) {
            self.free_guarded(backend, longer.tail::<B>(whole.units));
            return false;
        }
        self.map_run(backend, longer.inside::<B>());
        self.surplus.take_run(more as usize * B::UNIT, home);
        true
    }

    fn shorten<B: Backend>(&self, backend: &B, run: Run, units: u32, home: Home) {
        let (whole, less) = (run.around::<B>(), run.units - units);
        let gone = run.tail::<B>(units);
        if WIPED {
            // SAFETY: the program has given them up.
            unsafe { scrub(backend, gone.start, gone.bytes::<B>()) };
        }
        self.unmap_run(backend, run);
        self.map_run(backend, Run { units, ..run });
        self.guard(backend, whole, whole.units - 1 - less);
        let tail = whole.tail::<B>(whole.units - less);
        self.surplus.give_run(tail.bytes::<B>(), home);
        self.surplus.note(tail.bytes::<B>(), home);
        self.free_guarded(backend, tail);
    }

    // ---- what a hardened heap does more ------------------------------------------------------------------------------

    /// Puts a guard up in a unit of a run, if there are guards, and if the back-end can.
    fn guard<B: Backend>(&self, backend: &B, whole: Run, unit: u32) {
        let place = whole.unit::<B>(unit);
        // SAFETY: the unit is the caller's, and nothing was put there that is still wanted.
        if guards::<B>() > 0 && unsafe { backend.guard(place, B::UNIT) } {
            self.map.set(backend, place, 1, Owner::Guard.to_bits());
        }
    }

    /// Gives units back that may have guards in the first and the last of them.
    fn free_guarded<B: Backend>(&self, backend: &B, mut run: Run) {
        if guards::<B>() > 0 && !self.unguard(backend, run, run.units - 1) {
            self.segments.note_stuck(run.tail::<B>(run.units - 1));
            run.units -= 1;
        }
        if guards::<B>() > 0 && run.units > 0 && !self.unguard(backend, run, 0) {
            self.segments.note_stuck(Run { units: 1, ..run });
            run = run.tail::<B>(1);
        }
        if run.units > 0 {
            self.free_units(run);
        }
    }

    /// Takes all guards of runs down that are still in use, by nobody any more.
    pub(super) fn unguard_all<B: Backend>(&self, backend: &B) {
        if guards::<B>() > 0 {
            for segment in self.segments.left::<B>() {
                (0..segment.units).for_each(|unit| _ = self.unguard(backend, segment, unit));
            }
        }
    }

    /// Takes it down; whether there is none now.
    fn unguard<B: Backend>(&self, backend: &B, whole: Run, unit: u32) -> bool {
        let place = whole.unit::<B>(unit);
        if guards::<B>() == 0 || self.owner(backend, place) != Owner::Guard {
            return true;
        }
        // SAFETY: as above; and there is one.
        let down = unsafe { backend.unguard(place, B::UNIT) };
        if down {
            self.map.set(backend, place, 1, Owner::Nobody.to_bits());
        }
        down
    }

    /// Aborts if somebody has written behind a block of `bytes` that has its last unit to itself.
    pub(super) fn check_brink<B: Backend>(&self, _: &B, block: NonNull<u8>, bytes: usize, align: usize) {
        let (brink, length) = brink::<B>(block, bytes);
        // SAFETY: of the block's last unit; cleared when the block got this size.
        if WIPED && !unsafe { is_wiped(brink, length) } {
            self.breach("write past the end of a block", block, bytes, align, None);
        }
    }

    pub(super) fn clear_brink<B: Backend>(block: NonNull<u8>, bytes: usize) {
        if WIPED {
            let (brink, length) = brink::<B>(block, bytes);
            // SAFETY: of the block's last unit, which is the caller's.
            unsafe { wipe(brink, length) };
        }
    }
}
