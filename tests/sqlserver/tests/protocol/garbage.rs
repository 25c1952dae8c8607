//! Bytes that no client would send: nothing panics, nothing allocates more than was sent, and the next client is served.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant as Moment};

use baton_sqlserver::tds::Encryption;
use baton_sqlserver::tds::login::Login7;
use baton_sqlserver::tds::packet::{self, Assembly};
use baton_sqlserver::tds::prelogin::Prelogin;
use baton_sqlserver::tds::prepared::Prepared;
use baton_sqlserver::tds::request;
use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::AsyncWriteExt as _;

use crate::clients::{ALL, run};
use crate::conversation::target;
use crate::raw::{self, BATCH, END, LOGIN, PRELOGIN, Raw, batch_body, login_body, prelogin_body};
use crate::toy::{Instance, PASSWORD, USER};
use crate::values;

/// Remembers the largest piece that this thread has asked for.
struct Watched;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn note(size: usize) {
    // While a thread ends there is nothing to remember it in.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise is the one that is wanted here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static WATCHED: Watched = Watched;

/// Runs every decoder over the bytes; the largest allocation is bounded by them.
fn decode(bytes: &[u8]) {
    // Text grows to at most three bytes for two; a vector doubles; a call or a parameter is larger than its fewest bytes.
    let limit = bytes.len() * 64 + 16 * 1024;
    LARGEST.set(0);
    let _ = Prelogin::decode(bytes);
    if let Ok(login) = Login7::decode(bytes) {
        let login = login.login(false);
        assert!(login.user.len() + login.password.len() <= bytes.len() * 4);
    }
    let _ = request::batch(bytes);
    let _ = request::transaction(bytes).map(|transaction| transaction.statement());
    if let Ok(calls) = request::calls(bytes) {
        let mut prepared = Prepared::default();
        for call in calls {
            prepared.meaning(call);
        }
    }
    let mut received = BytesMut::from(bytes);
    let mut assembly = Assembly::new(1 << 16);
    while let Ok(Some(packet)) = packet::split(&mut received) {
        if assembly.add(packet).is_err() {
            break;
        }
    }
    assert!(LARGEST.get() <= limit, "{} bytes were allocated for {}", LARGEST.get(), bytes.len());
}

/// Well-formed messages, from which small changes lead everywhere.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        prelogin_body(),
        login_body(USER, PASSWORD),
        batch_body("SELECT 1"),
        raw::packet(BATCH, END, &batch_body("SELECT 1")),
    ];
    seeds.extend(values::calls());
    seeds
}

/// Anything; or something right with bytes changed, cut off, or doubled.
fn nearly_right() -> impl Strategy<Value = Vec<u8>> {
    let changed =
        (proptest::sample::select(seeds()), vec((any::<prop::sample::Index>(), any::<u8>()), 0..8), any::<u8>())
            .prop_flat_map(|(mut bytes, changes, kind)| {
                for (index, byte) in changes {
                    let index = index.index(bytes.len());
                    bytes[index] = byte;
                }
                if kind % 4 == 0 {
                    let half = bytes.len() / 2;
                    bytes.extend_from_within(half..);
                }
                let length = bytes.len();
                (Just(bytes), if kind % 3 == 0 { 0..length + 1 } else { length..length + 1 })
            })
            .prop_map(|(mut bytes, length)| {
                bytes.truncate(length);
                bytes
            });
    prop_oneof![vec(any::<u8>(), 0..600), changed]
}

#[test]
fn decoders_take_whatever_comes() {
    let mut runner = TestRunner::new(Config { cases: 4000, failure_persistence: None, ..Config::default() });
    runner
        .run(&nearly_right(), |bytes| {
            decode(&bytes);
            Ok(())
        })
        .unwrap();
}

#[test]
#[ignore = "takes a minute"]
fn decoders_take_whatever_comes_for_a_minute() {
    let began = Moment::now();
    while began.elapsed() < Duration::from_secs(60) {
        let mut runner = TestRunner::new(Config { cases: 20_000, failure_persistence: None, ..Config::default() });
        runner
            .run(&nearly_right(), |bytes| {
                decode(&bytes);
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn every_seed_is_understood() {
    // Otherwise the changes would start from nowhere.
    Prelogin::decode(&prelogin_body()).unwrap();
    Login7::decode(&login_body(USER, PASSWORD)).unwrap();
    request::batch(&batch_body("SELECT 1")).unwrap();
    for call in values::calls() {
        request::calls(&call).unwrap();
    }
}

/// How far a client behaves before it stops doing so.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Never,
    AfterPrelogin,
    AfterLogin,
    AtWork,
}

#[tokio::test]
async fn a_listener_that_was_thrown_garbage_serves_the_next_client() {
    let instance = Instance::start(Encryption::Available, None).await;
    let mut runner = TestRunner::deterministic();
    let garbage = |runner: &mut TestRunner| nearly_right().new_tree(runner).unwrap().current();
    for round in 0..100 {
        let stage = [Stage::Never, Stage::AfterPrelogin, Stage::AfterLogin, Stage::AtWork][round % 4];
        let mut raw = match stage {
            Stage::AfterLogin | Stage::AtWork => Raw::log_in(&instance).await,
            Stage::Never | Stage::AfterPrelogin => Raw::connect(&instance).await,
        };
        match stage {
            Stage::AfterPrelogin => {
                raw.send(&raw::packet(PRELOGIN, END, &prelogin_body())).await;
                raw.reply().await;
            }
            Stage::AtWork => raw.send(&raw::packet(BATCH, END, &batch_body("WAIT ROWS"))).await,
            Stage::Never | Stage::AfterLogin => {}
        }
        let kind = [BATCH, 0x03, 0x0E, LOGIN, PRELOGIN, 0x16][round / 4 % 6];
        let bytes = garbage(&mut runner);
        // The server may hang up in the middle.
        let _ = raw.socket.write_all(&raw::packet(kind, END, &bytes)).await;
        let _ = raw.socket.write_all(&bytes).await;
        let _ = raw.socket.shutdown().await;
        assert!(raw.is_closed().await, "{stage:?} {kind:#x} {bytes:02x?}");
    }
    instance.toy.until("log everybody out", |_| instance.toy.sessions().is_empty()).await;
    for client in ALL {
        let answers = run(client, &target(&instance), ["SELECT 1"]).await.unwrap();
        assert_eq!(answers[0].as_ref().unwrap().value(), &serde_json::json!(1));
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_an_error_and_the_session_goes_on() {
    let instance = Instance::start(Encryption::Available, None).await;
    let mut raw = Raw::log_in(&instance).await;
    let mut unknown_type = values::headers();
    unknown_type.extend([0xFF, 0xFF, 10, 0, 0, 0, 0, 0, 0xF3, 1, 2, 3]);
    let requests: [(u8, Vec<u8>, i32); 6] = [
        (BATCH, vec![1, 2, 3], 4002),
        (BATCH, [values::headers(), vec![0x41]].concat(), 4002),
        (0x03, vec![], 4002),
        (0x03, unknown_type, 8009),
        (0x0E, [values::headers(), vec![99, 0]].concat(), 4002),
        (0x07, vec![0x81, 0, 0], 50_000),
    ];
    for (kind, body, number) in requests {
        raw.send(&raw::packet(kind, END, &body)).await;
        let reply = raw.reply().await;
        assert_eq!(
            (reply[0], i32::from_le_bytes(reply[3..7].try_into().unwrap())),
            (0xAA, number),
            "{kind:#x} {body:02x?}"
        );
        assert_eq!(raw::done(&reply) & 0x02, 0x02);
    }
    assert_eq!(raw::done(&raw.ask("SELECT 1").await) & 0x02, 0);
}

#[tokio::test]
async fn a_request_without_end_is_not_kept() {
    let options = baton_sqlserver::tds::Options { message_bytes_max: 1 << 16, ..Default::default() };
    let instance = Instance::with(options).await;
    let mut raw = Raw::log_in(&instance).await;
    for _ in 0..100 {
        let _ = raw.socket.write_all(&raw::packet(BATCH, 0, &[0x20; 4088])).await;
    }
    assert!(raw.is_closed().await);
    assert!(instance.toy.batches().is_empty());
}
