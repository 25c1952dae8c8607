//! A task's output: head and tail for the log, all of it (bounded) in a file on the host.
//!
//! Apart because what goes into the replicated log is bounded here, while it comes in, and redacted here, before it is
//! kept anywhere. It must never hold more than its bounds in memory, whatever a program prints.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use baton_model::outcome::{Attachment, OUTPUT_BYTES_MAX, OUTPUT_HEAD_BYTES, Output};
use sha2::{Digest, Sha256};

use crate::secrets::{Redactor, redaction::Stream};

/// At most this much of a task's output is kept on the host: its beginning.
pub const FILE_BYTES_MAX: u64 = 8 << 20;
/// The file's name in the task's directory.
pub const FILE_NAME: &str = "output.txt";

const TAIL_BYTES: usize = OUTPUT_BYTES_MAX - OUTPUT_HEAD_BYTES;

/// Where output goes. Cheap to share within a task.
pub struct OutputSink {
    inner: Mutex<Inner>,
}

struct Inner {
    stream: Stream,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    omitted: u64,
    file: Option<File>,
    file_bytes: u64,
    hash: Sha256,
}

impl OutputSink {
    /// With a file in this directory, or without one.
    pub fn open(directory: Option<&Path>, redactor: Arc<Redactor>) -> io::Result<Self> {
        let file = directory
            .map(|directory| {
                // Appended, because a task that a crash interrupted goes on in the same file.
                OpenOptions::new().append(true).create(true).mode(0o600).open(directory.join(FILE_NAME))
            })
            .transpose()?;
        let file_bytes = file.as_ref().map(|file| file.metadata().map(|metadata| metadata.len())).transpose()?;
        Ok(Self {
            inner: Mutex::new(Inner {
                stream: Stream::new(redactor),
                head: Vec::new(),
                tail: VecDeque::new(),
                omitted: 0,
                file,
                file_bytes: file_bytes.unwrap_or(0),
                hash: Sha256::new(),
            }),
        })
    }

    /// Appends a line.
    pub fn line(&self, line: impl AsRef<str>) {
        let mut text = line.as_ref().to_owned();
        text.push('\n');
        self.bytes(text.as_bytes());
    }
    /// Appends bytes as they come from a program.
    pub fn bytes(&self, bytes: &[u8]) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let clean = inner.stream.push(bytes);
        inner.keep(&clean);
    }

    /// Head and tail for the report, and the file for its attachments where it holds more than the report does.
    pub fn finish(&self) -> (Output, Option<Attachment>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = inner.stream.finish();
        inner.keep(&rest);
        let head = String::from_utf8_lossy(&inner.head).into_owned();
        let tail: Vec<u8> = inner.tail.iter().copied().collect();
        let output = if inner.omitted == 0 {
            let mut whole = inner.head.clone();
            whole.extend(&tail);
            Output::bounded(&String::from_utf8_lossy(&whole))
        } else {
            Output { head, omitted_bytes: inner.omitted, tail: String::from_utf8_lossy(&tail).into_owned() }
        };
        let attachment = match &inner.file {
            Some(_) if inner.omitted > 0 => Some(Attachment {
                name: FILE_NAME.to_owned(),
                bytes: inner.file_bytes,
                sha256: inner.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
            }),
            _ => None,
        };
        (output, attachment)
    }
}

impl Inner {
    fn keep(&mut self, bytes: &[u8]) {
        let room = OUTPUT_HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        self.tail.extend(&bytes[room..]);
        let excess = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess);
        self.omitted += excess as u64;
        let file_room = FILE_BYTES_MAX.saturating_sub(self.file_bytes).min(bytes.len() as u64) as usize;
        if let Some(file) = &mut self.file {
            // A full disk must not fail a task whose effect is elsewhere; the report still has head and tail.
            if file.write_all(&bytes[..file_room]).is_ok() {
                self.file_bytes += file_room as u64;
                self.hash.update(&bytes[..file_room]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_output_keeps_its_head_and_tail_and_all_of_it_in_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let sink = OutputSink::open(Some(directory.path()), Arc::default()).expect("a sink");
        for n in 0..10_000 {
            sink.line(format!("line {n}"));
        }
        let (output, attachment) = sink.finish();
        assert!(output.head.starts_with("line 0\n") && output.tail.ends_with("line 9999\n"));
        assert!(output.head.len() + output.tail.len() <= OUTPUT_BYTES_MAX);
        let file = std::fs::read(directory.path().join(FILE_NAME)).expect("the file");
        assert_eq!(output.head.len() as u64 + output.omitted_bytes + output.tail.len() as u64, file.len() as u64);
        assert_eq!(attachment.expect("an attachment").bytes, file.len() as u64);
    }

    #[test]
    fn the_file_stops_at_its_bound() {
        let directory = tempfile::tempdir().expect("a directory");
        let sink = OutputSink::open(Some(directory.path()), Arc::default()).expect("a sink");
        for _ in 0..10 {
            sink.bytes(&vec![b'x'; 1 << 20]);
        }
        sink.finish();
        let length = std::fs::metadata(directory.path().join(FILE_NAME)).expect("the file").len();
        assert_eq!(length, FILE_BYTES_MAX);
    }
}
