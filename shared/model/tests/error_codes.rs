//! Every code that the sources can show is explained in docs/errors/README.md, and no page explains what nobody says.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Where the product's sources are; `tests/` shows no codes to operators.
const SOURCES: &[&str] = &["proto/src", "shared", "coordinator", "agent/src", "cli/src"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "tests" && name != "target" {
            sources(&path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            found.push(path);
        }
    }
}

/// `BTN-` and four digits, wherever they stand.
fn codes(text: &str) -> impl Iterator<Item = String> + '_ {
    text.match_indices("BTN-").filter_map(|(at, _)| {
        let digits = text.get(at + 4..at + 8)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| format!("BTN-{digits}"))
    })
}

fn used() -> BTreeMap<String, PathBuf> {
    let mut files = Vec::new();
    for part in SOURCES {
        sources(&root().join(part), &mut files);
    }
    assert!(files.len() > 150, "only {} source files were found", files.len());
    let mut used = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file is text");
        for code in codes(&text) {
            used.entry(code).or_insert_with(|| file.clone());
        }
    }
    used
}

/// The codes that begin a row of a table.
fn rows(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| codes(line.strip_prefix("| ")?.split('|').next()?).next()).collect()
}

#[test]
fn every_code_is_explained_once_and_no_other() {
    let page = fs::read_to_string(root().join("docs/errors/README.md")).expect("docs/errors/README.md");
    let rows = rows(&page);
    let explained: BTreeSet<&String> = rows.iter().collect();
    let twice: Vec<&String> =
        explained.iter().copied().filter(|code| rows.iter().filter(|row| row == code).count() > 1).collect();
    let used = used();
    let unexplained: Vec<String> = used
        .iter()
        .filter(|(code, _)| !explained.contains(code))
        .map(|(code, file)| format!("{code} ({})", file.display()))
        .collect();
    let unused: Vec<&String> = explained.iter().copied().filter(|code| !used.contains_key(*code)).collect();
    assert!(unexplained.is_empty(), "not in docs/errors/README.md: {}", unexplained.join(", "));
    assert!(unused.is_empty(), "in docs/errors/README.md, and nobody says it: {unused:?}");
    assert!(twice.is_empty(), "explained twice: {twice:?}");
}
