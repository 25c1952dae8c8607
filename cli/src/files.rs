//! The files of a group: what the operator named, and the runbooks that group files name.
//!
//! Apart because `check` and `apply` must see the very same files.

use std::path::{Path, PathBuf};

use baton_model::{
    check::{FileKind, check_files, kind_of},
    diagnostic::{Diagnostic, code as file_code},
    parse::parse_group,
};

use crate::{
    exit::Exit,
    failure::{Failure, code},
};

/// Path and text, in the order in which they were named or pulled in.
pub type Files = Vec<(String, String)>;

/// What was read, and what is wrong with it.
pub struct Gathered {
    pub files: Files,
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads the files and, for each group, the runbooks that it names (relative to the group's file), and checks them all.
pub fn gather(named: &[PathBuf]) -> Result<Gathered, Failure> {
    let mut groups = Files::new();
    let mut others = Files::new();
    for path in named {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let message = format!("cannot read {}: {error}.", path.display());
            Failure::new(Exit::Usage, code::FILE, message, "Name a group file or a runbook file.")
        })?;
        let path = path.display().to_string();
        let is_group = matches!(kind_of(&path, &text), Ok(FileKind::Group));
        if is_group { &mut groups } else { &mut others }.push((path, text));
    }
    let (runbooks, missing) = named_by(&groups);
    let mut files = groups;
    // A runbook that a group names goes under the path that the group gives it: so the coordinators find it again.
    for file in runbooks.into_iter().chain(others) {
        if !files.iter().any(|(path, _)| identity(path) == identity(&file.0)) {
            files.push(file);
        }
    }
    let mut diagnostics = check_files(&files);
    diagnostics.extend(missing);
    diagnostics.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    Ok(Gathered { files, diagnostics })
}

/// The runbooks of the groups, and what is wrong with the paths of those that cannot be read.
fn named_by(groups: &Files) -> (Files, Vec<Diagnostic>) {
    let (mut files, mut missing) = (Files::new(), Vec::new());
    for (path, text) in groups {
        // A group that cannot be read names no runbooks; the check says what is wrong with it.
        let Ok(group) = parse_group(path, text) else { continue };
        for (name, runbook) in &group.runbooks {
            let beside = Path::new(path).parent().unwrap_or(Path::new("")).join(runbook);
            match std::fs::read_to_string(&beside) {
                Ok(text) => files.push((beside.display().to_string(), text)),
                Err(error) => missing.push(unreadable(path, text, name.as_str(), &beside, &error)),
            }
        }
    }
    (files, missing)
}

/// The same file under two names is one.
fn identity(path: &str) -> PathBuf {
    Path::new(path).canonicalize().unwrap_or_else(|_| PathBuf::from(path))
}

fn unreadable(group: &str, text: &str, name: &str, path: &Path, error: &std::io::Error) -> Diagnostic {
    // The line that names it, where it is written plainly.
    let begins =
        |line: &str| line.trim_start().strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(':'));
    let under = text.lines().position(|line| line.trim_end() == "runbooks:").unwrap_or(0);
    let found = text.lines().enumerate().skip(under).find(|(_, line)| begins(line));
    let (line, column) =
        found.map_or((1, 1), |(n, line)| (n + 1, line.chars().count() - line.trim_start().chars().count() + 1));
    Diagnostic {
        file: group.to_owned(),
        line: line as u32,
        column: column as u32,
        code: file_code::UNKNOWN_NAME,
        message: format!("runbook {name}: cannot read {}: {error}", path.display()),
        remedy: "a runbook's path is relative to the group's file".to_owned(),
    }
}
