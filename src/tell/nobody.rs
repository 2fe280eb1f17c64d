//! Where there is no tool to tell anything.

pub(super) struct Request;

impl Request {
    pub(super) const POOL_BEGINS: Self = Self;
    pub(super) const POOL_ENDS: Self = Self;
    pub(super) const BLOCK_BEGINS: Self = Self;
    pub(super) const BLOCK_ENDS: Self = Self;
    pub(super) const BLOCK_CHANGES: Self = Self;
    pub(super) const NO_ACCESS: Self = Self;
    pub(super) const UNDEFINED: Self = Self;
    pub(super) const DEFINED: Self = Self;
}

#[inline(always)]
pub(super) fn request(_: Request, _: impl FnOnce() -> [usize; 4]) {}

#[inline(always)]
pub(super) fn poison(_: *mut u8, _: usize) {}

#[inline(always)]
pub(super) fn unpoison(_: *mut u8, _: usize) {}

#[inline(always)]
pub(super) fn release(_: *const ()) {}

#[inline(always)]
pub(super) fn acquire(_: *const ()) {}
