//! What an action is given beside its parameters: time, output, progress, secrets, policy, the host.
//!
//! Apart because an action must have no other way to the outside. It must never give an action the session or the journal.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use baton_model::{
    ids::TaskId,
    outcome::{Attachment, Fault},
    text::Text,
};
use sha2::{Digest, Sha256};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    host::Host,
    output::OutputSink,
    policy::Policy,
    secrets::{Redactor, Secret, Secrets, redaction::Stream},
};

/// At most this much in one attachment. Lost rows of a large table may be cut; the action must then fail, not keep quiet.
pub const ATTACHMENT_BYTES_MAX: u64 = 1 << 30;

/// A line of progress for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub note: String,
    /// 0..=100 where it is known.
    pub percent: Option<u8>,
}

/// What a context is made of.
pub struct ContextOptions {
    /// None in a dry run.
    pub task: Option<TaskId>,
    /// The task's own directory (mode 0700), where its attachments are. None in a dry run.
    pub directory: Option<PathBuf>,
    /// The run's directory on this host, shared by its tasks: backups for `undo` are here. In a dry run, None.
    pub run_directory: Option<PathBuf>,
    pub policy: Arc<Policy>,
    pub secrets: Arc<dyn Secrets>,
    pub host: Host,
    pub timeout: Duration,
    pub cancel: CancellationToken,
    /// Where notes go; a full channel drops the note.
    pub progress: Option<mpsc::Sender<Note>>,
}

/// See the module.
pub struct Context {
    options: ContextOptions,
    deadline: Instant,
    redactor: Arc<Redactor>,
    output: OutputSink,
    attachments: Mutex<Vec<Attachment>>,
}

impl Context {
    /// Opens the output file where there is a directory; the deadline counts from now.
    pub fn new(options: ContextOptions) -> io::Result<Self> {
        let redactor = Arc::new(Redactor::default());
        let output = OutputSink::open(options.directory.as_deref(), redactor.clone())?;
        let deadline = Instant::now() + options.timeout;
        Ok(Self { options, deadline, redactor, output, attachments: Mutex::default() })
    }

    /// None in a dry run.
    pub fn task(&self) -> Option<&TaskId> {
        self.options.task.as_ref()
    }
    /// The task's own directory; none in a dry run.
    pub fn directory(&self) -> Option<&Path> {
        self.options.directory.as_deref()
    }
    /// Shared by the run's tasks on this host, kept after the tasks are forgotten; none in a dry run. Make
    /// sub-directories of your own in it.
    pub fn run_directory(&self) -> Option<&Path> {
        self.options.run_directory.as_deref()
    }
    /// Shared by all runs of the group on this host, and not pruned with them; none in a dry run.
    pub fn group_directory(&self) -> Option<&Path> {
        self.options.run_directory.as_deref().and_then(Path::parent)
    }
    pub fn policy(&self) -> &Policy {
        &self.options.policy
    }
    /// The doors to the machine.
    pub fn host(&self) -> &Host {
        &self.options.host
    }

    /// A line for whoever watches the run. Secrets in it are replaced.
    pub fn progress(&self, note: impl AsRef<str>, percent: Option<u8>) {
        if let Some(sender) = &self.options.progress {
            let note = Note { note: self.redactor.redact(note.as_ref()), percent };
            // A watcher that is slow must not hold up the action.
            let _ = sender.try_send(note);
        }
    }
    /// The task's output: what programs and servers said, as they said it.
    pub fn output(&self) -> &OutputSink {
        &self.output
    }

    /// Resolves when the action must end: its deadline has passed, or an operator or a newer fence ended it.
    pub async fn cancelled(&self) {
        tokio::select! {
            () = self.options.cancel.cancelled() => {}
            () = tokio::time::sleep_until(self.deadline) => {}
        }
    }
    /// Whether [`Context::cancelled`] would resolve now.
    pub fn is_cancelled(&self) -> bool {
        self.options.cancel.is_cancelled() || Instant::now() >= self.deadline
    }
    /// For what an action starts beside itself: cancelled when somebody ends the task, not at the deadline.
    pub fn cancel_token(&self) -> &CancellationToken {
        &self.options.cancel
    }
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
    /// Until the deadline; zero after it.
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
    /// The deadline passed (rather than somebody cancelled).
    pub fn is_overdue(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Fills in the secrets of a text. Each value is remembered, and replaced by `[secret NAME]` in output, notes,
    /// summaries, faults, data and attachments from now on.
    pub async fn resolve(&self, text: &Text) -> Result<Secret, Fault> {
        crate::secrets::resolve(text, self.options.secrets.as_ref(), &self.options.policy, &self.redactor).await
    }
    /// Replaces the values of secrets that this task resolved.
    pub fn redact(&self, text: &str) -> String {
        self.redactor.redact(text)
    }
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// A file of this task that can be fetched on demand (`lost-rows-fdb.csv`). It counts when it is finished.
    /// Not to be called from `observe`.
    pub fn attachment(&self, name: &str) -> Result<AttachmentFile<'_>, Fault> {
        let broken = |why: String| Fault::new("BTN-0495", format!("cannot write the attachment {name:?}: {why}"), "");
        if !is_plain_name(name) {
            return Err(broken("its name must be letters, digits, '.', '-' and '_'".to_owned()));
        }
        let directory = self.directory().ok_or_else(|| broken("a dry run has no files".to_owned()))?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(directory.join(name))
            .map_err(|error| broken(error.to_string()))?;
        Ok(AttachmentFile {
            context: self,
            name: name.to_owned(),
            file: io::BufWriter::new(file),
            stream: Stream::new(self.redactor.clone()),
            hash: Sha256::new(),
            bytes: 0,
        })
    }
    /// The attachments that were finished.
    pub fn attachments(&self) -> Vec<Attachment> {
        self.attachments.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Letters, digits, `.`, `-`, `_`, not beginning with a dot, at most 100 bytes: what a task's file may be called.
pub fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// An attachment being written; secrets in it are replaced.
pub struct AttachmentFile<'a> {
    context: &'a Context,
    name: String,
    file: io::BufWriter<File>,
    stream: Stream,
    hash: Sha256,
    bytes: u64,
}

impl AttachmentFile<'_> {
    fn put(&mut self, clean: &[u8]) -> io::Result<()> {
        self.bytes += clean.len() as u64;
        if self.bytes > ATTACHMENT_BYTES_MAX {
            return Err(io::Error::other(format!("an attachment has at most {ATTACHMENT_BYTES_MAX} bytes")));
        }
        self.hash.update(clean);
        self.file.write_all(clean)
    }
    /// Flushes to the disk and makes it part of the report.
    pub fn finish(mut self) -> io::Result<Attachment> {
        let rest = self.stream.finish();
        self.put(&rest)?;
        self.file.flush()?;
        self.file.get_ref().sync_data()?;
        let sha256 = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let attachment = Attachment { name: self.name, bytes: self.bytes, sha256 };
        let mut all = self.context.attachments.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.name != attachment.name);
        all.push(attachment.clone());
        Ok(attachment)
    }
}

impl Write for AttachmentFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let clean = self.stream.push(bytes);
        self.put(&clean)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
