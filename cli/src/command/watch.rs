//! `baton watch`: a run as it goes, until it ends or waits for an operator.
//!
//! Watching never touches the run: Ctrl-C, a closed terminal or a lost network end the watching alone. When a coordinator
//! goes, the next one is asked, and the picture goes on.

use std::time::Duration;

use baton_model::{
    ids::RunId,
    time::Span,
    view::{RunView, TaskWord},
};
use clap::Args;
use tokio::time::Instant;
use tonic::Status;

use super::Session;
use crate::{
    arguments::Format,
    client::{Client, document},
    exit::Exit,
    failure::{Failure, code},
    output::{
        changes,
        tree::{self, Frame},
    },
    terminal::Stream,
};

/// A turn of the spinner.
const REDRAW_EVERY: Duration = Duration::from_millis(100);
/// A coordinator that ends a stream at once is not asked again at once.
const REOPEN_PAUSE: Duration = Duration::from_millis(100);

/// Watch a run until it ends or waits for an operator; Ctrl-C stops watching, never the run
#[derive(Debug, Args)]
pub struct Watch {
    /// As in pom-17
    run: RunId,
}

impl Watch {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        follow(session, &mut session.client()?, &self.run).await
    }
}

/// Shows the run until it ends, waits for an operator, or Ctrl-C. The exit code says which.
pub async fn follow(session: &Session, client: &mut Client, run: &RunId) -> Result<Exit, Failure> {
    let mut picture = Picture::new(session);
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let mut redraw = tokio::time::interval(REDRAW_EVERY);
    loop {
        let opened = {
            let mut opening = std::pin::pin!(client.watch(run));
            loop {
                tokio::select! {
                    opened = &mut opening => break opened,
                    _ = redraw.tick() => picture.redraw()?,
                    _ = &mut interrupted => return detached(session, picture, run),
                }
            }
        };
        let mut views = match opened {
            Ok(views) => views,
            Err(failure) => return Err(picture.out_of_sight(failure, run)?),
        };
        let status = loop {
            tokio::select! {
                message = views.message() => match message {
                    Ok(Some(reply)) => {
                        let view: RunView = document(&reply.document)?;
                        let exit = exit_of(&view);
                        picture.show(view)?;
                        if let Some(exit) = exit {
                            picture.finish()?;
                            return Ok(exit);
                        }
                    }
                    Ok(None) => break Status::unavailable("the coordinator ended the watch"),
                    Err(status) => break status,
                },
                _ = redraw.tick() => picture.redraw()?,
                _ = &mut interrupted => return detached(session, picture, run),
            }
        };
        client.broke_off(&status).map_err(|failure| picture.finish().err().unwrap_or(failure))?;
        picture.lost(session, client.asking().to_string())?;
        tokio::time::sleep(REOPEN_PAUSE).await;
    }
}

/// How a view ends the watching, if it does: when it is over, or when nothing moves without an operator.
fn exit_of(view: &RunView) -> Option<Exit> {
    let summary = &view.summary;
    if summary.over {
        return Some(if summary.phase == "succeeded" { Exit::Done } else { Exit::Failed });
    }
    let moves = |word| matches!(word, TaskWord::Dispatched | TaskWord::Running | TaskWord::Fencing);
    let moving = view.steps.iter().flat_map(|step| &step.tasks).any(|task| moves(task.state));
    (summary.waiting && !moving).then_some(Exit::Waiting)
}

fn detached(session: &Session, mut picture: Picture<'_>, run: &RunId) -> Result<Exit, Failure> {
    picture.finish()?;
    session.talk(format!("No longer watching; {run} goes on. Come back with \"baton watch {run}\"."))?;
    Ok(Exit::Detached)
}

/// What is on the screen, or in the log.
struct Picture<'a> {
    session: &'a Session,
    /// A terminal on stdout, and tables wanted: a tree is drawn again and again.
    live: bool,
    last: Option<(RunView, Instant)>,
    lines_drawn: usize,
    notice: Option<(String, Instant)>,
}

impl<'a> Picture<'a> {
    fn new(session: &'a Session) -> Self {
        let live = session.format == Format::Table && Stream::Stdout.is_terminal();
        Self { session, live, last: None, lines_drawn: 0, notice: None }
    }

    fn show(&mut self, view: RunView) -> Result<(), Failure> {
        self.notice = None;
        let before = self.last.replace((view, Instant::now()));
        let Some((view, _)) = &self.last else { return Ok(()) };
        match self.session.format {
            Format::Json => self.session.json_line(view),
            Format::Table if self.live => self.draw(true),
            Format::Table => {
                let lines = changes::between(before.as_ref().map(|(view, _)| view), view, &self.session.look);
                let text: String = lines.into_iter().map(|line| line + "\n").collect();
                Stream::Stdout.write(text.as_bytes())
            }
        }
    }

    fn redraw(&mut self) -> Result<(), Failure> {
        if self.live { self.draw(true) } else { Ok(()) }
    }

    /// The stream broke off. The picture stays, and says that it is old.
    fn lost(&mut self, session: &Session, asking: String) -> Result<(), Failure> {
        let words = format!("The coordinator went away; the run goes on. Asking {asking}");
        if !self.live && self.notice.is_none() {
            session.talk(format!("{words}."))?;
        }
        let since = self.notice.as_ref().map_or_else(Instant::now, |(_, since)| *since);
        self.notice = Some((words, since));
        self.redraw()
    }

    /// Draws over what was drawn before.
    fn draw(&mut self, fit: bool) -> Result<(), Failure> {
        let Some((view, received)) = &self.last else { return Ok(()) };
        let mut look = self.session.look.clone();
        look.width = Stream::Stdout.width();
        let height = Stream::Stdout.size().map(|(_, height)| height).filter(|_| fit);
        let passed = if view.summary.over { 0 } else { received.elapsed().as_millis() as u64 };
        let notice = self.notice.as_ref().map(|(words, since)| {
            let for_so_long = crate::output::time::span(Span(since.elapsed().as_millis() as u64));
            format!("{words} for {for_so_long}")
        });
        let frame = Frame { view, now: view.now.plus(Span(passed)), height, notice: notice.as_deref() };
        let text = tree::render(&frame, &look);
        // Up to the first line of the last picture, and clear from there: one write, so that nothing flickers.
        let up = if self.lines_drawn > 0 { format!("\x1b[{}A", self.lines_drawn) } else { String::new() };
        self.lines_drawn = text.lines().count();
        Stream::Stdout.write(format!("{up}\r\x1b[J{text}").as_bytes())
    }

    /// Leaves the whole tree on the screen.
    fn finish(&mut self) -> Result<(), Failure> {
        if self.live { self.draw(false) } else { Ok(()) }
    }

    /// Nobody answers any more. Where something was seen before, that the run goes on is worth more than a cause.
    fn out_of_sight(&mut self, failure: Failure, run: &RunId) -> Result<Failure, Failure> {
        self.finish()?;
        if self.last.is_none() || failure.exit != Exit::Unreachable {
            return Ok(failure);
        }
        Ok(Failure::new(
            Exit::Unreachable,
            code::OUT_OF_SIGHT,
            format!("{run} is out of sight: {} The run goes on without being watched.", failure.fault.message),
            format!("Come back with \"baton watch {run}\"."),
        ))
    }
}
