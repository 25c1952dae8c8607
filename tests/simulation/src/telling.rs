//! What the product itself says goes into the story, under the name of the process that says it.

use std::fmt::{Debug, Write as _};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context, prelude::*};

use crate::{life, story::Story};

struct Telling(Story);

/// For the whole process. Costs time: for a story that is told whole.
pub fn listen(story: &Story) {
    let telling = Telling(story.clone()).with_filter(tracing_subscriber::filter::filter_fn(|of| {
        *of.level() <= Level::INFO && of.target().starts_with("baton")
    }));
    // One for a process, and it is the first.
    let _ = tracing_subscriber::registry().with(telling).try_init();
}

impl<S: Subscriber> Layer<S> for Telling {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(life) = life::current().filter(|life| !life.is_over()) else { return };
        let mut words = Words::default();
        event.record(&mut words);
        self.0.tell(&life.name, format!("  {} {}{}", event.metadata().level(), words.message, words.fields));
    }
}

#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        written.expect("a string takes everything");
    }
}
