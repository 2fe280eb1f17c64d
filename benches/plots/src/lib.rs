//! What plots are drawn with: SVG on a white ground of its own, the same bytes for the same figures, and each allocator in
//! the same colour everywhere.

pub mod canvas;
pub mod over_time;
pub mod palette;

/// Of drawing.
pub type Result<T> = core::result::Result<T, Box<dyn core::error::Error>>;
