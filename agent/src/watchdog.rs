//! The host's watchdog: resets a host whose agent hangs while it would have to stop something, or cannot stop it.
//!
//! Apart because it is the last resort, below everything else that stops. It must never be kept alive by anything but the guard's own
//! look at the clock.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{FileTypeExt, OpenOptionsExt},
    },
    path::PathBuf,
};

use baton_model::time::Span;
use serde::Deserialize;

use crate::standing::Vigil;

/// What the kernel takes as "not needed any more", where it was built to.
const MAGIC_CLOSE: &[u8] = b"V";
const ALIVE: &[u8] = b"\0";
/// `_IOWR('W', 6, int)` of linux/watchdog.h.
const WDIOC_SETTIMEOUT: libc::Ioctl = 0xC004_5706_u32 as libc::Ioctl;
/// What cannot be opened is not tried again at every look.
const AGAIN_MS: u64 = 10_000;

/// `[watchdog]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchdogOptions {
    pub device: PathBuf,
    pub mode: Mode,
}

impl Default for WatchdogOptions {
    fn default() -> Self {
        Self { device: PathBuf::from("/dev/watchdog"), mode: Mode::Auto }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Off,
    /// Where there is one.
    #[default]
    Auto,
    /// Without it the agent does not start.
    Required,
}

/// Why the agent does not start.
#[derive(Debug, thiserror::Error)]
#[error("BTN-0449 the watchdog {} cannot be used: {error}. Load its driver (modprobe softdog, where the hardware has none), or set [watchdog] mode = \"auto\"", .device.display())]
pub struct NoWatchdog {
    device: PathBuf,
    error: io::Error,
}

/// What resets a host that is not heard of for as long as it was told: a simulated host's, where no device is.
pub trait Timer: Send {
    /// The host lives at least so long from now on.
    fn alive(&mut self, within: Span);
    /// It is not needed any more.
    fn close(&mut self);
}

/// One owner: the guard's loop.
pub struct Watchdog {
    options: WatchdogOptions,
    open: Option<(File, Span)>,
    failed_ms: Option<u64>,
    timer: Option<Box<dyn Timer>>,
}

impl Watchdog {
    /// Where it is required, it is seen that it is there. It is not opened before it is needed: that is what starts it.
    pub fn new(options: WatchdogOptions) -> Result<Self, NoWatchdog> {
        if options.mode == Mode::Required {
            let found = std::fs::metadata(&options.device).map(drop);
            found.map_err(|error| NoWatchdog { device: options.device.clone(), error })?;
        }
        Ok(Self { options, open: None, failed_ms: None, timer: None })
    }

    /// Over something that is no device.
    pub fn over(timer: Box<dyn Timer>) -> Self {
        let options = WatchdogOptions { mode: Mode::Off, ..WatchdogOptions::default() };
        Self { options, open: None, failed_ms: None, timer: Some(timer) }
    }

    /// At every look of the guard at the clock. While something is being stopped nothing is written: the time that is set is the
    /// time that stopping may take.
    pub fn keep(&mut self, vigil: Vigil, now_ms: u64) {
        if let Some(timer) = &mut self.timer {
            return match vigil {
                Vigil::Off => timer.close(),
                Vigil::Fencing => {}
                Vigil::Alive(within) => timer.alive(within),
            };
        }
        match vigil {
            Vigil::Off => self.close(),
            Vigil::Fencing => {}
            Vigil::Alive(within) => self.alive(within, now_ms),
        }
    }

    fn alive(&mut self, within: Span, now_ms: u64) {
        let waits = self.failed_ms.is_some_and(|failed_ms| now_ms.saturating_sub(failed_ms) < AGAIN_MS);
        if self.options.mode == Mode::Off || waits {
            return;
        }
        if let Err(error) = self.write(within) {
            self.open = None;
            let device = self.options.device.display();
            // Once as a story: most hosts have none, and need none.
            if self.failed_ms.replace(now_ms).is_none() {
                match self.options.mode {
                    Mode::Required => tracing::error!(%device, %error, "the host's watchdog cannot be used"),
                    Mode::Auto | Mode::Off => tracing::info!(%device, %error, "no watchdog on this host"),
                }
            }
        }
    }

    fn write(&mut self, within: Span) -> io::Result<()> {
        if self.open.is_none() {
            // A pipe without a reader is an error here, and no reason to wait.
            let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
            let file = OpenOptions::new().write(true).custom_flags(flags).open(&self.options.device)?;
            tracing::info!(device = %self.options.device.display(), "the host's watchdog is kept alive");
            self.open = Some((file, Span(0)));
        }
        let (file, set) = self.open.as_mut().expect("it was opened above");
        if *set != within {
            set_timeout(file, within)?;
            *set = within;
        }
        match file.write(ALIVE) {
            // Its reader is slow: it has not missed anything.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            written => written.map(drop),
        }
    }

    fn close(&mut self) {
        if let Some((mut file, _)) = self.open.take() {
            if let Err(error) = file.write(MAGIC_CLOSE) {
                tracing::warn!(%error, "the watchdog does not take that it is not needed");
            }
            tracing::info!("the host's watchdog is not needed any more");
        }
        self.failed_ms = None;
    }
}

/// Whole seconds, rounded down: sooner is safe. What is no device has no time.
fn set_timeout(file: &File, within: Span) -> io::Result<()> {
    if !file.metadata()?.file_type().is_char_device() {
        return Ok(());
    }
    let mut seconds = libc::c_int::try_from((within.0 / 1_000).max(1)).unwrap_or(libc::c_int::MAX);
    // SAFETY: the descriptor is open, and the request reads and writes one int.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), WDIOC_SETTIMEOUT, &raw mut seconds) };
    if done == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        // A terminal in a test, or a device that has one time only.
        error if matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EOPNOTSUPP | libc::EINVAL)) => {
            tracing::warn!(%error, "the watchdog's time cannot be set to {within}");
            Ok(())
        }
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    const WITHIN: Span = Span(2_000);

    fn fifo(directory: &std::path::Path) -> (PathBuf, File) {
        let path = directory.join("watchdog");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .expect("a pipe");
        let reader =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).expect("the reader's end");
        (path, reader)
    }

    fn read(reader: &mut File) -> Vec<u8> {
        let mut bytes = [0; 64];
        let length = reader.read(&mut bytes).unwrap_or(0);
        bytes[..length].to_vec()
    }

    #[test]
    fn it_is_written_while_serving_is_allowed_and_closed_when_nothing_is_left_to_stop() {
        let directory = tempfile::tempdir().expect("a directory");
        let (device, mut reader) = fifo(directory.path());
        let mut watchdog = Watchdog::new(WatchdogOptions { device, mode: Mode::Required }).expect("it is there");
        watchdog.keep(Vigil::Off, 0);
        assert_eq!(read(&mut reader), b"", "not started before it is needed");
        watchdog.keep(Vigil::Alive(WITHIN), 100);
        watchdog.keep(Vigil::Alive(WITHIN), 200);
        assert_eq!(read(&mut reader), b"\0\0");
        watchdog.keep(Vigil::Fencing, 300);
        assert_eq!(read(&mut reader), b"", "the time runs");
        watchdog.keep(Vigil::Alive(WITHIN), 400);
        watchdog.keep(Vigil::Off, 500);
        assert_eq!(read(&mut reader), b"\0V");
    }

    #[test]
    fn where_there_is_none_it_is_done_without_unless_it_is_required() {
        let directory = tempfile::tempdir().expect("a directory");
        let options = |mode| WatchdogOptions { device: directory.path().join("none"), mode };
        let mut watchdog = Watchdog::new(options(Mode::Auto)).expect("usable");
        watchdog.keep(Vigil::Alive(WITHIN), 0);
        watchdog.keep(Vigil::Off, 0);
        let refused = Watchdog::new(options(Mode::Required)).err().expect("refused");
        assert!(refused.to_string().contains("BTN-0449"), "{refused}");
        // Off: not even where there is one.
        let (device, mut reader) = fifo(directory.path());
        let mut watchdog = Watchdog::new(WatchdogOptions { device, mode: Mode::Off }).expect("usable");
        watchdog.keep(Vigil::Alive(WITHIN), 0);
        assert_eq!(read(&mut reader), b"");
    }
}
