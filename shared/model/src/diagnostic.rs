//! What is wrong in a file, where, and what to write instead.

use std::fmt;

/// At most this many are told at once; a file with more has one cause.
pub const DIAGNOSTICS_MAX: usize = 50;

/// Codes, each documented under docs/errors.
pub mod code {
    /// The file is not YAML, or YAML that Baton does not take (anchors, tags, several documents, tabs).
    pub const YAML: &str = "BTN-0001";
    /// A key stands twice in one mapping.
    pub const DUPLICATE_KEY: &str = "BTN-0002";
    /// A key that nobody reads.
    pub const UNKNOWN_KEY: &str = "BTN-0003";
    /// A key that must be there is not.
    pub const MISSING_KEY: &str = "BTN-0004";
    /// A value of the wrong type or form.
    pub const WRONG_VALUE: &str = "BTN-0005";
    /// An expression or template that cannot be read.
    pub const EXPRESSION: &str = "BTN-0006";
    /// A name (host, member, role, variable, runbook, …) that is nowhere defined.
    pub const UNKNOWN_NAME: &str = "BTN-0007";
    /// A secret where no secret may stand.
    pub const SECRET: &str = "BTN-0008";
    /// Each part is well formed, together they make no sense.
    pub const CONTRADICTION: &str = "BTN-0009";
    /// The file is neither a group nor a runbook.
    pub const NO_KIND: &str = "BTN-0010";
    /// Too large, too deep, too many.
    pub const LIMIT: &str = "BTN-0011";
}

/// One fault of a file: `group.yaml:12:5: BTN-0003 unknown key "sevice.stop" in a step; did you mean "service.stop"?`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// `BTN-00NN`, see [`code`].
    pub code: &'static str,
    /// What is there.
    pub message: String,
    /// What to write instead; may be empty.
    pub remedy: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {} {}", self.file, self.line, self.column, self.code, self.message)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}

impl std::error::Error for Diagnostic {}

/// Sorts by position, drops repetitions, and keeps the first [`DIAGNOSTICS_MAX`] of each file.
pub fn settle(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by(|a, b| {
        (&a.file, a.line, a.column, a.code, &a.message).cmp(&(&b.file, b.line, b.column, b.code, &b.message))
    });
    diagnostics.dedup();
    let mut kept: Vec<Diagnostic> = Vec::new();
    let mut of_file = 0;
    for diagnostic in diagnostics {
        of_file = if kept.last().is_some_and(|last| last.file == diagnostic.file) { of_file + 1 } else { 1 };
        if of_file <= DIAGNOSTICS_MAX || kept.last().is_none_or(|last| last.file != diagnostic.file) {
            kept.push(diagnostic);
        }
    }
    kept
}

/// The name nearest to what was written, if one is near enough to be meant.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written_plain = plain(written);
    known
        .into_iter()
        .map(|name| {
            let distance = if plain(name) == written_plain { 0 } else { strsim::damerau_levenshtein(written, name) };
            (distance, name)
        })
        .filter(|(distance, name)| *distance <= (name.chars().count() / 3).min(4))
        // pom3 is no slip of the pen for pom1
        .filter(|(distance, name)| *distance == 0 || undigited(written) != undigited(name))
        .min()
        .map(|(_, name)| name)
}

fn undigited(name: &str) -> String {
    name.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// Without case and separators: `onFailure`, `on-failure` and `on_failure` are one.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
