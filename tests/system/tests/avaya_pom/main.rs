//! Avaya POM as real processes: the story, a death at every step, what is refused, and what a planned switchover never does.

mod crashes;
mod driver;
mod planned;
mod refused;
mod story;
