//! The door to programs: started in a session of their own, ended as a whole.
//!
//! Apart because every action that runs something must run it the same way: an argument vector and no shell, an
//! environment that is said and not inherited, output into the task's sink while it comes, and no process left when the
//! task has ended. It must never decide what may be run.
//!
//! A program also ends when the agent itself is killed (`PR_SET_PDEATHSIG`); what it had started in turn is ended when the
//! agent comes back (see [`leftovers`]), before anything is observed.

use std::{
    ffi::CString,
    io,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use baton_model::{action::exec::Command, outcome::Fault};
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::process::{PidfdFlags, pidfd_open};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{ChildStderr, ChildStdout},
    sync::Semaphore,
};

use super::processes;
use crate::{action::Context, secrets::Secret};

pub mod leftovers;

/// From TERM to KILL when a task is ended.
pub const GRACE: Duration = Duration::from_secs(2);
/// How long output is still read after the program itself has ended, while something it left behind holds the pipe.
const DRAIN: Duration = Duration::from_millis(500);
/// How many programs' left-behind pipes are read at once; what holds one beyond that gets SIGPIPE when it writes.
const LEFT_BEHIND_MAX: usize = 256;
static LEFT_BEHIND: Semaphore = Semaphore::const_new(LEFT_BEHIND_MAX);

/// A program to run. Checked against the policy by the caller.
#[derive(Debug, Clone, Default)]
pub struct Program {
    pub argv: Vec<String>,
    /// Beside `PATH`, `LANG` and, with a user, `HOME`, `USER` and `LOGNAME`.
    pub environment: Vec<(String, Secret)>,
    pub user: Option<String>,
    pub directory: Option<PathBuf>,
    pub stdin: Option<Secret>,
    /// Its output is returned, instead of going into the task's output: at most [`CAPTURE_BYTES_MAX`].
    pub capture: bool,
}

/// At most this much is returned by a program whose output is captured.
pub const CAPTURE_BYTES_MAX: usize = 1 << 20;

/// A program that has ended by itself.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// Where `capture` was asked for. Not redacted.
    pub stdout: Vec<u8>,
}

impl Ended {
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }
    pub fn is_success(&self) -> bool {
        self.status.success()
    }
    /// `exit code 3`, `signal 9`.
    pub fn how(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => self.status.to_string(),
        }
    }
}

/// Why there is no exit status.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProgramError {
    /// It was never started.
    #[error(transparent)]
    NotStarted(Fault),
    /// The task was ended while it ran; it and its process group were killed.
    #[error(transparent)]
    Ended(Fault),
    /// It runs or ran, and waiting for it failed.
    #[error(transparent)]
    Lost(Fault),
}

impl From<ProgramError> for crate::action::Failure {
    fn from(error: ProgramError) -> Self {
        match error {
            ProgramError::NotStarted(fault) => Self::Failed(fault),
            ProgramError::Ended(fault) | ProgramError::Lost(fault) => Self::Unclear(fault),
        }
    }
}

impl ProgramError {
    pub fn fault(self) -> Fault {
        match self {
            Self::NotStarted(fault) | Self::Ended(fault) | Self::Lost(fault) => fault,
        }
    }
}

impl Program {
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self { argv: argv.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// A model command, its secrets filled in.
    pub async fn from_command(command: &Command, context: &Context) -> Result<Self, Fault> {
        let mut environment = Vec::with_capacity(command.environment.len());
        for (name, text) in &command.environment {
            environment.push((name.clone(), context.resolve(text).await?));
        }
        Ok(Self {
            argv: command.argv.clone(),
            environment,
            user: command.user.clone(),
            directory: command.directory.clone().map(PathBuf::from),
            stdin: None,
            capture: false,
        })
    }

    /// Runs it to its end, or until the task is cancelled or overdue: then TERM, [`GRACE`], KILL for the whole group.
    pub async fn run(&self, context: &Context) -> Result<Ended, ProgramError> {
        let shown = self.argv.first().cloned().unwrap_or_default();
        let not_started = |error: io::Error| {
            ProgramError::NotStarted(Fault::new(
                "BTN-0441",
                format!("cannot start {shown:?}: {error}"),
                remedy_of(&error),
            ))
        };
        let mut child = self.command(context).map_err(not_started)?.spawn().map_err(not_started)?;
        let leader = child.id().and_then(|id| Pid::from_raw(id as i32)).expect("it was not waited for yet");
        // After `child`, so that it is dropped before: while the leader is not waited for, the number is its group's.
        let mut group = Group { leader, reaped: false };

        let stdin = child.stdin.take();
        let (mut stdout, mut stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let mut captured = Vec::new();
        let feed = async {
            if let (Some(mut pipe), Some(text)) = (stdin, &self.stdin) {
                // A program that does not read its input is not an error.
                let _ = pipe.write_all(text.expose().as_bytes()).await;
            }
        };
        let both = async {
            let keep = if self.capture { Some(&mut captured) } else { None };
            tokio::join!(copy(&mut stdout, context, keep), copy(&mut stderr, context, None), feed);
        };
        let mut both = Box::pin(both);
        let mut drained = false;
        let ended = loop {
            tokio::select! {
                biased;
                () = context.cancelled() => break None,
                status = child.wait() => break Some(status),
                () = &mut both, if !drained => drained = true,
            }
        };
        let Some(status) = ended else {
            group.signal(Signal::TERM);
            let gone = tokio::time::timeout(GRACE, async {
                tokio::join!(group.leader_ended(), async {
                    if !drained {
                        both.as_mut().await;
                        drained = true;
                    }
                })
            });
            let _ = gone.await;
            group.signal(Signal::KILL);
            let _ = child.wait().await;
            group.reaped = true;
            let why = if context.is_overdue() { "its time was over" } else { "the task was ended" };
            return Err(ProgramError::Ended(Fault::new(
                "BTN-0442",
                format!("{shown:?} and all that it had started were killed: {why}"),
                "",
            )));
        };
        group.reaped = true;
        if !drained {
            // What it left running in the background may hold the pipe for ever: that is theirs, the task is over.
            drained = tokio::time::timeout(DRAIN, &mut both).await.is_ok();
        }
        drop(both);
        if !drained {
            drain(stdout, stderr);
        }
        let status = status.map_err(|error| {
            ProgramError::Lost(Fault::new("BTN-0443", format!("cannot wait for {shown:?}: {error}"), ""))
        })?;
        Ok(Ended { status, stdout: captured })
    }

    fn command(&self, context: &Context) -> io::Result<tokio::process::Command> {
        let (program, arguments) = self.argv.split_first().ok_or_else(|| io::Error::other("no program is named"))?;
        let mut command = tokio::process::Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            .current_dir(self.directory.clone().unwrap_or_else(|| PathBuf::from("/")))
            .stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let account = self.user.as_deref().map(Account::find).transpose()?;
        if let Some(account) = &account {
            command.env("HOME", &account.home).env("USER", &account.name).env("LOGNAME", &account.name);
        }
        if let Some(task) = context.task() {
            command.env(leftovers::MARK, task.to_string());
        }
        for (name, value) in &self.environment {
            command.env(name, value.expose());
        }
        let own = rustix::process::geteuid().as_raw();
        let switch = account.filter(|account| account.uid != own);
        let note = leftovers::Note::open(context)?;
        // SAFETY: between fork and exec only system calls are made, on memory that was prepared before.
        unsafe {
            command.pre_exec(move || {
                // A session of its own: one group to kill, and no terminal.
                if libc::setsid() < 0 {
                    return Err(io::Error::last_os_error());
                }
                if let Some(note) = &note {
                    note.write_own()?;
                }
                if let Some(account) = &switch
                    && (libc::setgroups(account.groups.len(), account.groups.as_ptr()) < 0
                        || libc::setgid(account.gid) < 0
                        || libc::setuid(account.uid) < 0)
                {
                    return Err(io::Error::last_os_error());
                }
                // After the change of user, which clears it.
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        Ok(command)
    }
}

/// A session of its own, that ends with the agent and carries the task's name: for those who start a program themselves. They
/// note it with [`leftovers::note`].
pub fn bind_to_agent(command: &mut tokio::process::Command, context: &Context) {
    if let Some(task) = context.task() {
        command.env(leftovers::MARK, task.to_string());
    }
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(|| {
            if libc::setsid() < 0 || libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

/// The program's own session. A program that ended by itself may leave a daemon in it: it is only signalled when the
/// task is ended, or when nobody waits for the program any more.
struct Group {
    leader: Pid,
    /// From here on the number may be given to another process: it is not signalled any more.
    reaped: bool,
}

/// What to do about a program that cannot be started: what is amiss may be the agent's own disk, or its descriptors, and not the program.
fn remedy_of(error: &io::Error) -> &'static str {
    let is = |number: rustix::io::Errno| error.raw_os_error() == Some(number.raw_os_error());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem => {
            "See that the disk of the agent's state directory has room and can be written. Then \"baton retry\"."
        }
        _ if is(rustix::io::Errno::MFILE) || is(rustix::io::Errno::NFILE) => {
            "Too many files are open: raise LimitNOFILE of the agent's unit. Then \"baton retry\"."
        }
        _ => "See that the program is there and that the agent's user may run it.",
    }
}

impl Group {
    fn signal(&self, signal: Signal) {
        if !self.reaped {
            // ESRCH: all of it is gone already.
            let _ = kill_process_group(self.leader, signal);
        }
    }

    /// Without reaping it.
    async fn leader_ended(&self) {
        let watched = pidfd_open(self.leader, PidfdFlags::empty()).map_err(io::Error::from).and_then(processes::watch);
        match watched {
            Ok(exit) => drop(exit.readable().await),
            // It is given the whole grace then.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Reads on what a daemon that was left behind prints, and keeps nothing: a pipe that nobody reads would end it.
fn drain(mut stdout: ChildStdout, mut stderr: ChildStderr) {
    let Ok(place) = LEFT_BEHIND.try_acquire() else {
        tracing::warn!(
            "{LEFT_BEHIND_MAX} programs have left something behind that holds their output; this one is closed"
        );
        return;
    };
    tokio::spawn(async move {
        let mut nowhere = (tokio::io::sink(), tokio::io::sink());
        let _ =
            tokio::join!(tokio::io::copy(&mut stdout, &mut nowhere.0), tokio::io::copy(&mut stderr, &mut nowhere.1));
        drop(place);
    });
}

async fn copy(mut pipe: impl AsyncRead + Unpin, context: &Context, mut captured: Option<&mut Vec<u8>>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(n) => match &mut captured {
                // Read on beyond the bound: a program must not hang because nobody listens.
                Some(kept) => kept.extend_from_slice(&buffer[..n.min(CAPTURE_BYTES_MAX.saturating_sub(kept.len()))]),
                None => context.output().bytes(&buffer[..n]),
            },
        }
    }
}

struct Account {
    name: String,
    home: String,
    uid: u32,
    gid: u32,
    groups: Vec<libc::gid_t>,
}

impl Account {
    fn find(name: &str) -> io::Result<Self> {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("there is no user {name:?} on this host"));
        let text = CString::new(name).map_err(|_| unknown())?;
        let mut buffer = vec![0 as libc::c_char; 64 * 1024];
        // SAFETY: passwd is plain data that the call fills; the buffer outlives every pointer into it.
        let (uid, gid, home) = unsafe {
            let mut entry: libc::passwd = std::mem::zeroed();
            let mut found: *mut libc::passwd = std::ptr::null_mut();
            let error = libc::getpwnam_r(text.as_ptr(), &mut entry, buffer.as_mut_ptr(), buffer.len(), &mut found);
            if error != 0 {
                return Err(io::Error::from_raw_os_error(error));
            }
            if found.is_null() {
                return Err(unknown());
            }
            (entry.pw_uid, entry.pw_gid, std::ffi::CStr::from_ptr(entry.pw_dir).to_string_lossy().into_owned())
        };
        let mut groups = vec![0 as libc::gid_t; 1024];
        let mut count = groups.len() as libc::c_int;
        // SAFETY: the list has `count` places.
        if unsafe { libc::getgrouplist(text.as_ptr(), gid, groups.as_mut_ptr(), &mut count) } < 0 {
            return Err(io::Error::other(format!("user {name:?} is in more than {} groups", groups.len())));
        }
        groups.truncate(count as usize);
        Ok(Self { name: name.to_owned(), home, uid, gid, groups })
    }
}
