//! Streams a task's files to a coordinator.
//!
//! Apart because it is the only reading of files for somebody else. It must never read anything but plain names of the task's
//! own directory: not through a link, and not upwards.

use std::{io, path::Path, time::Duration};

use baton_model::outcome::Fault;
use baton_proto::v1::{self as pb, from_agent::Message as Up};
use baton_wire::agent as wire;
use tokio::{io::AsyncReadExt, sync::mpsc, task::JoinSet};

use crate::executor::{UP_CAPACITY, directories::file_of, task_directory};

/// One message; small enough that a heartbeat between two of them is not late.
const PART_BYTES: usize = 128 * 1024;
/// Parts that wait in the session's channel, at most.
const PARTS_QUEUED_MAX: usize = 8;
const ROOM_POLL: Duration = Duration::from_millis(5);
/// Files streamed at once over one session; more are refused.
const STREAMS_MAX: usize = 4;

#[derive(Default)]
pub struct Files {
    streaming: JoinSet<()>,
}

impl Files {
    /// Begins to stream, or answers with a fault. The channel's bound is what slows it down.
    pub fn stream(&mut self, state_directory: &Path, message: pb::ReadFile, up: mpsc::Sender<pb::FromAgent>) {
        let request = message.request;
        let path = wire::parse_task_id("ReadFile", message.task)
            .map_err(|error| Fault::new("BTN-0471", error.to_string(), ""))
            .and_then(|task| {
                let wrong =
                    || Fault::new("BTN-0472", format!("{:?} is not the name of a task's file", message.name), "");
                file_of(&task_directory(state_directory, &task), &message.name).ok_or_else(wrong)
            });
        let busy = self.streaming.len() >= STREAMS_MAX;
        self.streaming.spawn(async move {
            let result = match path {
                _ if busy => Err(Fault::new("BTN-0473", "this agent streams too many files at once", "Try again.")),
                Err(fault) => Err(fault),
                Ok(path) => send(&path, request, &up).await,
            };
            if let Err(fault) = result {
                let _ = up.send(pb::FromAgent { message: Some(Up::FilePart(wire::file_fault(request, &fault))) }).await;
            }
        });
    }

    /// Takes what has ended out of the count; does not end where nothing is streamed.
    pub async fn progress(&mut self) {
        if self.streaming.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

async fn send(path: &Path, request: u64, up: &mpsc::Sender<pb::FromAgent>) -> Result<(), Fault> {
    let name = path.file_name().unwrap_or_default().display();
    let unreadable = |error: io::Error| Fault::new("BTN-0474", format!("cannot read {name}: {error}"), "");
    let mut options = tokio::fs::OpenOptions::new();
    let options = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK);
    let file = options.open(path).await.map_err(unreadable)?;
    if !file.metadata().await.map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::other("it is not a file")));
    }
    let mut file = file;
    loop {
        let mut content = Vec::with_capacity(PART_BYTES);
        let read = (&mut file).take(PART_BYTES as u64).read_to_end(&mut content).await.map_err(unreadable)?;
        let last = read < PART_BYTES;
        // A file must leave room for outcomes: the executor ends a session whose channel is full.
        while up.capacity() < UP_CAPACITY - PARTS_QUEUED_MAX && !up.is_closed() {
            tokio::time::sleep(ROOM_POLL).await;
        }
        let part = pb::FilePart { request, content: content.into(), last, fault: Default::default() };
        if up.send(pb::FromAgent { message: Some(Up::FilePart(part)) }).await.is_err() || last {
            return Ok(());
        }
    }
}
