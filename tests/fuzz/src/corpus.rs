//! What is real: the files of this repository, and what stands in them.
//!
//! Apart so that a target names what it begins with and nothing more.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Of this repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every file below `place` whose name ends with `ending`, by path.
///
/// # Panics
/// Where there is none: a target without a corpus finds nothing.
pub fn files(place: &str, ending: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    collect(&root().join(place), ending, &mut found);
    found.sort();
    assert!(!found.is_empty(), "no {ending} below {place}");
    found.into_iter().filter_map(|path| Some((path.clone(), fs::read(path).ok()?))).collect()
}

fn collect(place: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

/// Their contents.
pub fn texts(place: &str, ending: &str) -> Vec<Vec<u8>> {
    files(place, ending).into_iter().map(|(_, text)| text).collect()
}

/// Groups and runbooks: the shipped ones, and those that are wrong in every way that a test knows.
pub fn written() -> Vec<Vec<u8>> {
    ["deploy/runbooks", "shared/model/tests"].iter().flat_map(|place| texts(place, ".yaml")).collect()
}

/// What stands in `${…}`, and in `when` and `expect`.
pub fn expressions() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for text in written() {
        let text = String::from_utf8_lossy(&text).into_owned();
        for part in text.split("${").skip(1) {
            found.extend(part.split('}').next().map(|inside| inside.as_bytes().to_vec()));
        }
        for line in text.lines() {
            let after = ["when:", "expect:"].iter().find_map(|key| line.split_once(key).map(|(_, after)| after.trim()));
            found.extend(after.map(|after| after.trim_matches(['"', '\'']).as_bytes().to_vec()));
        }
    }
    found
}

/// Texts of Rust sources below `place` that hold one of `words`.
pub fn literals(place: &str, words: &[&str]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for text in texts(place, ".rs") {
        let text = String::from_utf8_lossy(&text).into_owned();
        let inside = text.split('"').skip(1).step_by(2).filter(|inside| words.iter().any(|word| inside.contains(word)));
        found.extend(inside.map(|inside| inside.replace("\\n", "\n").replace("\\\\", "\\").into_bytes()));
    }
    found
}
