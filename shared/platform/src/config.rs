//! Configuration files: TOML, read strictly.
//!
//! Apart because every refusal must say where, what and what instead, for each program alike. It must never fill in
//! what a file leaves out: defaults belong to the type that is read.
//!
//! Unknown keys are refused by the type itself: put `#[serde(deny_unknown_fields)]` on every struct of a
//! configuration, and call [`tables_that_take_anything`] in its test, which finds the one that was forgotten.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Why a configuration file is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("BTN-0320 cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It can be read, but not understood.
    #[error("BTN-0321 {}:{line}:{column}: {what}\n{excerpt}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong, and what to write instead where that can be guessed.
        what: String,
        /// The line, with a mark under the place.
        excerpt: String,
    },
}

/// Reads a file.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_path_buf(), source })?;
    parse(&text, path)
}

/// Reads text; `path` is only shown.
pub fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let place = Place::of(text, offset);
        ConfigError::Invalid {
            path: path.to_path_buf(),
            line: place.line,
            column: place.column,
            what: explain(error.message()),
            excerpt: place.excerpt(),
        }
    })
}

/// For the test of a configuration type: which tables of a valid sample would swallow a misspelt key. Empty is what
/// it should be. Tables that are maps by intention appear too, and are named in that test.
pub fn tables_that_take_anything<T: DeserializeOwned>(sample: &str) -> Vec<String> {
    let whole: toml::Table = toml::from_str(sample).expect("the sample is TOML");
    whole.clone().try_into::<T>().map(drop).unwrap_or_else(|error| panic!("the sample is not valid: {error}"));
    let mut paths = vec![Vec::new()];
    collect_tables(&toml::Value::Table(whole.clone()), &mut Vec::new(), &mut paths);
    paths
        .into_iter()
        .filter(|path| {
            let mut spoiled = toml::Value::Table(whole.clone());
            let table = path.iter().try_fold(&mut spoiled, |value, step| match value {
                toml::Value::Table(table) => table.get_mut(step),
                toml::Value::Array(values) => values.get_mut(step.parse::<usize>().ok()?),
                _ => None,
            });
            let table = table.and_then(toml::Value::as_table_mut).expect("the path was collected from the same value");
            table.insert("no-type-has-this-key".into(), toml::Value::Integer(1));
            spoiled.try_into::<T>().is_ok()
        })
        .map(|path| if path.is_empty() { "(the file)".into() } else { path.join(".") })
        .collect()
}

fn collect_tables(value: &toml::Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let inner: Vec<(String, &toml::Value)> = match value {
        toml::Value::Table(table) => table.iter().map(|(key, value)| (key.clone(), value)).collect(),
        toml::Value::Array(values) => values.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        _ => return,
    };
    for (step, value) in inner {
        path.push(step);
        if value.is_table() {
            found.push(path.clone());
        }
        collect_tables(value, path, found);
        path.pop();
    }
}

/// serde's sentence, with the nearest right word where one was misspelt.
fn explain(message: &str) -> String {
    let (kind, rest) = if let Some(rest) = message.strip_prefix("unknown field ") {
        ("unknown key", rest)
    } else if let Some(rest) = message.strip_prefix("unknown variant ") {
        ("unknown value", rest)
    } else if let Some(rest) = message.strip_prefix("missing field ") {
        return format!("the key {rest} is missing here");
    } else {
        return message.to_owned();
    };
    // serde quotes what it found first, and then everything that it expected.
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let Some(found) = quoted.next() else { return message.to_owned() };
    let known: Vec<&str> = quoted.collect();
    match nearest(found, &known) {
        Some(nearest) => format!("{kind} `{found}`: did you mean `{nearest}`?"),
        None if known.is_empty() => format!("{kind} `{found}`: nothing is allowed here"),
        None => format!("{kind} `{found}`: it is one of {}", known.join(", ")),
    }
}

/// The nearest word, when it is near enough to be meant.
pub fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    // `dataDir` and `data_dir` for `data-dir` are one mistake, not three.
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    known
        .iter()
        .map(|word| (strsim::damerau_levenshtein(&plain(found), &plain(word)), *word))
        .filter(|(distance, word)| *distance <= 1.max(word.chars().count() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

struct Place<'a> {
    line: usize,
    column: usize,
    text: &'a str,
}

impl<'a> Place<'a> {
    fn of(text: &'a str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let begin = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[begin..].chars().count() + 1,
            text: text[begin..].lines().next().unwrap_or_default(),
        }
    }

    fn excerpt(&self) -> String {
        let number = self.line.to_string();
        // Tabs are kept in the indent, so that the mark stands under its place however wide a tab is shown.
        let indent: String =
            self.text.chars().take(self.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        format!("  {number} | {}\n  {} | {indent}^", self.text, " ".repeat(number.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read, and never looked at")]
    struct Sample {
        listen: crate::address::Address,
        data_dir: PathBuf,
        #[serde(default)]
        log: crate::telemetry::LogFormat,
        #[serde(default)]
        limits: Limits,
        #[serde(default)]
        peers: Vec<Peer>,
    }

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read, and never looked at")]
    struct Limits {
        sessions_max: u32,
    }

    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "read, and never looked at")]
    struct Peer {
        name: String,
    }

    const GOOD: &str = "listen = \"127.0.0.1:7400\"\ndata_dir = \"/var/lib/baton\"\n";

    fn refused(text: &str) -> String {
        parse::<Sample>(text, Path::new("baton.toml")).expect_err(text).to_string()
    }

    #[test]
    fn a_refusal_says_where_what_and_what_instead() {
        let cases = [
            (
                format!("{GOOD}lisen = 3\n"),
                "BTN-0321 baton.toml:3:1: unknown key `lisen`: did you mean `listen`?\n  3 | lisen = 3\n    | ^",
            ),
            (
                format!("{GOOD}\n[limits]\n\tsessionsMax = 3\n"),
                "BTN-0321 baton.toml:5:2: unknown key `sessionsMax`: did you mean `sessions_max`?\n  5 | \tsessionsMax = 3\n    | \t^",
            ),
            (
                format!("{GOOD}colour = 3\n"),
                "BTN-0321 baton.toml:3:1: unknown key `colour`: it is one of listen, data_dir, log, limits, peers\n  3 | colour = 3\n    | ^",
            ),
            (
                format!("{GOOD}log = \"jsn\"\n"),
                "BTN-0321 baton.toml:3:7: unknown value `jsn`: did you mean `json`?\n  3 | log = \"jsn\"\n    |       ^",
            ),
            (
                format!("{GOOD}limits = {{ sessions_max = \"many\" }}\n"),
                "BTN-0321 baton.toml:3:27: invalid type: string \"many\", expected u32\n  3 | limits = { sessions_max = \"many\" }\n    |                           ^",
            ),
            (
                "listen = \"127.0.0.1:7400\"\n".to_owned(),
                "BTN-0321 baton.toml:1:1: the key `data_dir` is missing here\n  1 | listen = \"127.0.0.1:7400\"\n    | ^",
            ),
            (
                "listen = \"7400\"\n".to_owned(),
                "BTN-0321 baton.toml:1:10: `7400` is not an address: it has no port. Write HOST:PORT, for instance db1.example.org:7400 or [::1]:7400\n  1 | listen = \"7400\"\n    |          ^",
            ),
            (
                "listen = \"a:1\"\nlisten = \"b:1\"\n".to_owned(),
                "BTN-0321 baton.toml:2:1: duplicate key\n  2 | listen = \"b:1\"\n    | ^",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(refused(&text), expected);
        }
        assert!(refused("listen = \"a:1").starts_with("BTN-0321 baton.toml:1:"));
        assert!(refused("").starts_with("BTN-0321 baton.toml:1:1: the key `listen` is missing"));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read::<Sample>(Path::new("/nonexistent/baton.toml")).unwrap_err().to_string();
        assert_eq!(error, "BTN-0320 cannot read /nonexistent/baton.toml: No such file or directory (os error 2)");
    }

    #[test]
    fn a_type_that_swallows_misspelt_keys_is_found() {
        let sample = format!("{GOOD}limits = {{ sessions_max = 1 }}\npeers = [{{ name = \"a\" }}]\n");
        assert_eq!(tables_that_take_anything::<Sample>(&sample), ["peers.0"]);
    }
}
