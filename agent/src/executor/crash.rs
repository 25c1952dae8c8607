//! Where a test can end the agent, as a power cut would.
//!
//! Apart so that the points are named and the product has none of it but a call that does nothing.

/// A moment between two things that must be in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The order is on disk.
    Received,
    /// It was observed, and its start is not on disk yet.
    BeforeStarted,
    /// Its start is on disk, and nothing has been done yet.
    Started,
    /// It was done, and not observed again.
    Acted,
    /// The outcome is known, and not on disk yet.
    BeforeFinished,
    /// The outcome is on disk, and not sent yet.
    Finished,
}

/// Ends the process, or does not come back, at the points it likes.
pub trait Crash: Send + Sync {
    fn at(&self, point: Point);
}

/// The product's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Never;

impl Crash for Never {
    fn at(&self, _: Point) {}
}
