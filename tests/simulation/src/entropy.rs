//! Chance and time of the whole process: what the C library would be asked for comes from the seed and from the simulated clock.
//!
//! Apart because it is the one place with `unsafe` functions: hash maps, tokio's and openraft's own generators, certificates' dates
//! and standard instants all end here, so that one number decides everything. It must never touch a process that does not simulate:
//! before [`take_over`] the kernel answers.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

static SIMULATED: AtomicBool = AtomicBool::new(false);
static STATE: AtomicU64 = AtomicU64::new(0);
static NOW_US: AtomicU64 = AtomicU64::new(0);

/// What the wall clock shows when a world begins: some day in 2027.
pub const BEGIN_UNIX_MS: u64 = 1_800_000_000_000;

/// From here on this process has no chance and no time of its own. Call it first, on the only thread.
pub fn take_over(seed: u64) {
    STATE.store(seed ^ 0x9E37_79B9_7F4A_7C15, Ordering::SeqCst);
    SIMULATED.store(true, Ordering::SeqCst);
}

/// True time, since the world began.
pub fn set_now_us(now_us: u64) {
    NOW_US.store(now_us, Ordering::SeqCst);
}

pub fn now_us() -> u64 {
    NOW_US.load(Ordering::SeqCst)
}

/// The machine's own monotonic clock, whatever is simulated.
pub fn wall() -> Duration {
    kernel_clock(libc::CLOCK_MONOTONIC)
}

/// The processor time of this process so far.
pub fn processor() -> Duration {
    kernel_clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn kernel_clock(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// splitmix64.
fn next() -> u64 {
    let state = STATE.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst).wrapping_add(0x9E37_79B9_7F4A_7C15);
    mix(state)
}

pub(crate) fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// # Safety
/// As of the C library: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut libc::c_void, length: libc::size_t, flags: libc::c_uint) -> isize {
    if !SIMULATED.load(Ordering::SeqCst) {
        // SAFETY: handed on as it came.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) } as isize;
    }
    for at in 0..length {
        // SAFETY: the caller's buffer is so long.
        unsafe { buffer.cast::<u8>().add(at).write((next() >> 32) as u8) };
    }
    length as isize
}

/// # Safety
/// As of the C library: `time` is a place for a timespec.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    if !SIMULATED.load(Ordering::SeqCst) {
        // SAFETY: handed on as it came.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) } as libc::c_int;
    }
    let begin_us = if clock == libc::CLOCK_REALTIME { BEGIN_UNIX_MS * 1_000 } else { 1_000_000 };
    let now_us = begin_us + now_us();
    let seconds = i64::try_from(now_us / 1_000_000).unwrap_or(i64::MAX);
    let nanos = i64::try_from(now_us % 1_000_000 * 1_000).unwrap_or(0);
    // SAFETY: the caller's place.
    unsafe { time.write(libc::timespec { tv_sec: seconds, tv_nsec: nanos }) };
    0
}
