//! One thing that a program may ask of a heap, as it is decoded from bytes.
//!
//! A byte says which, so that a fuzzer that changes one byte changes one thing; two of its bits say which lane is to do it.

use crate::common::Refuse;
use arbitrary::{Result, Unstructured};
use bandolier::{Bounds, Limits, SizeClass};
use core::alloc::Layout;
use core::time::Duration;

/// Places for single blocks that all lanes share.
pub(crate) const SLOTS: usize = 32;
/// Places for many blocks of one kind.
pub(crate) const HOARDS: usize = 4;

/// Which sizes are asked for most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// Chunks, and some of everything else.
    Mixed,
    /// Runs of units and blocks of the back-end's own.
    Large,
}

/// What is to be done.
#[expect(missing_docs, reason = "the fields are what they are called")]
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// Puts a new block into a slot; the one that was there is freed.
    Alloc { slot: usize, layout: Layout, zeroed: bool },
    /// Frees the block of a slot.
    Free { slot: usize },
    /// Gives the block of a slot another size.
    Resize { slot: usize, size: usize },
    /// Makes the block of a slot a little larger or smaller, as a growing vector does.
    Nudge { slot: usize, by: i32 },
    /// Reads the block of a slot back.
    Check { slot: usize },
    /// Puts many blocks of one layout into a hoard.
    Hoard { hoard: usize, layout: Layout, count: usize },
    /// Frees blocks of a hoard: from the front, from the back, or one in so many.
    Spend { hoard: usize, count: usize, order: Order },
    /// The verbs.
    Trim(Bounds),
    /// See [`bandolier::Bandolier::drain_within`].
    Drain(Bounds),
    /// See [`bandolier::Bandolier::drain_caches_within`].
    DrainCaches(Bounds),
    /// Hands the lane's magazines in.
    Flush,
    /// Sets limits so many bytes above what is held.
    Limit { soft: Option<usize>, hard: Option<usize> },
    /// Lifts them.
    Lift,
    /// Has the back-end refuse.
    Refuse(Refusal),
    /// Has it refuse no more.
    Serve,
    /// Compares the figures.
    Look,
    /// Lets the back-end's clock go on.
    Tick(u64),
    /// All lanes end, and all is compared.
    Pause(Pause),
}

/// How a hoard is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// First in, first out.
    Front,
    /// Last in, first out.
    Back,
    /// One in so many, all over it.
    Each(usize),
}

/// When a back-end says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The n-th call from now, and no other.
    Nth(u32),
    /// The n-th call and all that follow.
    From(u32),
    /// One call in so many.
    OneIn(u32),
}

impl Refusal {
    pub(crate) fn rule(self) -> Refuse {
        match self {
            Self::Nth(n) => Refuse::Nth(n),
            Self::From(n) => Refuse::From(n),
            Self::OneIn(n) => Refuse::OneIn(n),
        }
    }
}

/// What is done when all lanes have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// The figures are compared.
    Look,
    /// All is freed, given back, and compared.
    Empty,
    /// The same, and the heap is dropped and made anew.
    Anew,
    /// The heap is dropped with blocks in use, and made anew.
    Abandon,
}

/// Sizes around which something changes.
const EDGES: [usize; 12] =
    [16, 128, 2048, 4096, 8192, 32 << 10, 64 << 10, 128 << 10, 320 << 10, 1 << 20, 2 << 20, 4 << 20];

fn size(u: &mut Unstructured<'_>, sizes: Sizes) -> Result<usize> {
    let kind = u.arbitrary::<u8>()?;
    let large = match sizes {
        Sizes::Mixed => kind >= 0xe8,
        Sizes::Large => kind >= 0x20,
    };
    Ok(match kind % 8 {
        _ if large => match kind % 4 {
            0 => EDGES[u.choose_index(EDGES.len())?] + usize::from(u.arbitrary::<u8>()? % 3) - 1,
            1 => (1 + usize::from(u.arbitrary::<u8>()?)) << 12,
            2 => (1 + usize::from(u.arbitrary::<u16>()?)) << 4,
            _ => (1 + usize::from(u.arbitrary::<u8>()?)) << 15,
        },
        0..4 => 1 + usize::from(u.arbitrary::<u8>()?),
        4 | 5 => 1 + usize::from(u.arbitrary::<u16>()?) % (4 << 10),
        6 => {
            SizeClass::all().nth(u.choose_index(SizeClass::COUNT)?).map_or(1, SizeClass::bytes)
                + usize::from(kind / 64 % 2)
        }
        _ => 1 + usize::from(u.arbitrary::<u16>()?) % (40 << 10),
    })
}

fn layout(u: &mut Unstructured<'_>, sizes: Sizes) -> Result<Layout> {
    let size = size(u, sizes)?;
    let log = match u.arbitrary::<u8>()? {
        n @ 0..0xc0 => n % 5,
        n @ 0xc0..0xf8 => n % 14,
        n => n % 8 + 14,
    };
    Layout::from_size_align(size, 1 << log).map_err(|_| arbitrary::Error::IncorrectFormat)
}

fn bounds(u: &mut Unstructured<'_>) -> Result<Bounds> {
    Ok(match u.arbitrary::<u8>()? {
        0..0x80 => Bounds::NONE,
        n @ 0x80..0xe0 => Bounds::NONE.bytes(usize::from(n - 0x80) << 13),
        n => Bounds::NONE.time(Duration::from_micros(u64::from(n - 0xe0))),
    })
}

impl Op {
    /// The next operation, and the number of whoever is to do it.
    ///
    /// # Errors
    /// When there are no bytes left.
    pub fn decode(u: &mut Unstructured<'_>, sizes: Sizes) -> Result<(usize, Self)> {
        // Of nothing, it would make zeros without end.
        if u.is_empty() {
            return Err(arbitrary::Error::NotEnoughData);
        }
        let which = u.arbitrary::<u8>()?;
        Ok((usize::from(which >> 6), Self::of(which & 63, u, sizes)?))
    }

    fn of(which: u8, u: &mut Unstructured<'_>, sizes: Sizes) -> Result<Self> {
        let slot = |u: &mut Unstructured<'_>| Ok::<_, arbitrary::Error>(usize::from(u.arbitrary::<u8>()?) % SLOTS);
        let hoard = |u: &mut Unstructured<'_>| Ok::<_, arbitrary::Error>(usize::from(u.arbitrary::<u8>()?) % HOARDS);
        Ok(match which {
            0..12 => Self::Alloc { slot: slot(u)?, layout: layout(u, sizes)?, zeroed: false },
            12..18 => Self::Alloc { slot: slot(u)?, layout: layout(u, sizes)?, zeroed: true },
            18..27 => Self::Free { slot: slot(u)? },
            27..34 => Self::Resize { slot: slot(u)?, size: size(u, sizes)? },
            34..37 => Self::Nudge { slot: slot(u)?, by: i32::from(u.arbitrary::<i16>()?) * 16 },
            37..39 => Self::Check { slot: slot(u)? },
            39..44 => Self::Hoard { hoard: hoard(u)?, layout: layout(u, sizes)?, count: count(u)? },
            44..50 => Self::Spend { hoard: hoard(u)?, count: count(u)?, order: order(u)? },
            50 => Self::Trim(bounds(u)?),
            51 => Self::Drain(bounds(u)?),
            52 | 53 => Self::DrainCaches(bounds(u)?),
            54 => Self::Flush,
            55 => Self::limit(u)?,
            56 => Self::Lift,
            57 => Self::Refuse(refusal(u)?),
            58 | 59 => Self::Serve,
            60 => Self::Look,
            61 => Self::Tick(1 << (u.arbitrary::<u8>()? % 16)),
            _ => Self::Pause(pause(u)?),
        })
    }

    fn limit(u: &mut Unstructured<'_>) -> Result<Self> {
        let kind = u.arbitrary::<u8>()?;
        let mut above = |wanted| Ok(if wanted { Some(usize::from(u.arbitrary::<u8>()?) << 14) } else { None });
        Ok(Self::Limit { soft: above(kind % 3 != 0)?, hard: above(kind % 3 != 1)? })
    }
}

fn count(u: &mut Unstructured<'_>) -> Result<usize> {
    Ok(1 + usize::from(u.arbitrary::<u8>()?) * 4)
}

fn order(u: &mut Unstructured<'_>) -> Result<Order> {
    Ok(match u.arbitrary::<u8>()? % 4 {
        0 => Order::Front,
        1 => Order::Back,
        n => Order::Each(usize::from(n) * 3 - 4),
    })
}

fn refusal(u: &mut Unstructured<'_>) -> Result<Refusal> {
    let (kind, n) = (u.arbitrary::<u8>()?, 1 + u32::from(u.arbitrary::<u8>()? % 16));
    Ok(match kind % 3 {
        0 => Refusal::Nth(n),
        1 => Refusal::From(n),
        _ => Refusal::OneIn(n + 1),
    })
}

fn pause(u: &mut Unstructured<'_>) -> Result<Pause> {
    Ok(match u.arbitrary::<u8>()? % 8 {
        0..4 => Pause::Look,
        4 | 5 => Pause::Empty,
        6 => Pause::Anew,
        _ => Pause::Abandon,
    })
}

/// Limits so far above what is held.
pub(crate) fn limits(held: usize, soft: Option<usize>, hard: Option<usize>) -> Limits {
    let mut limits = Limits::NONE;
    if let Some(above) = soft {
        limits = limits.soft(held + above);
    }
    if let Some(above) = hard {
        limits = limits.hard(held + above);
    }
    limits
}
