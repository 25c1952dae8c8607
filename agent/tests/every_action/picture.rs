//! What is outside, as text that can be compared; and waiting until it is so.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, Instant},
};

/// With the first line that is not the same.
pub fn assert_same(seen: &str, wanted: &str, what: &str) {
    if seen == wanted {
        return;
    }
    let differs = seen.lines().zip(wanted.lines()).find(|(seen, wanted)| seen != wanted);
    panic!("{what}: first {differs:?}\n--- is\n{seen}\n--- should be\n{wanted}");
}

/// Waits for a condition, with a deadline.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Every file below a folder: its name, its mode, its owner and its bytes.
pub fn files_below(folder: &Path) -> String {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            if entry.file_type().expect("a kind").is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    let mut text = String::new();
    for path in found {
        let about = path.symlink_metadata().expect("it is there");
        let name = path.strip_prefix(folder).expect("below it").display().to_string();
        let bytes = fs::read(&path).expect("read");
        let _ = writeln!(text, "{name} {:o} {} {}", about.mode(), about.uid(), bytes.escape_ascii());
    }
    text
}
