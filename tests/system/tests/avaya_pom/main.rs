//! Avaya POM as real processes: the story, a death at every step, and what a planned switchover never does.

mod crashes;
mod driver;
mod planned;
mod story;
