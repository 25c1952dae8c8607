//! Directories of the server's disk. Undocumented in the real product; the columns are those that people report.

use super::nvarchar;
use crate::answer::{Type, Value};
use crate::sql::reader::Reader;
use crate::sql::rows::{Rows, text};
use crate::sql::value::{like, write};
use crate::world::SqlError;
use crate::world::server::Right;
use std::path::Path;

pub fn enumerate(reader: &Reader<'_>, arguments: &[Value]) -> Result<Rows, SqlError> {
    reader.need_server_state()?;
    let [directory, pattern] = arguments else {
        return Err(SqlError::new(174, &["dm_os_enumerate_filesystem", "2"]));
    };
    let pattern = write(pattern).replace('%', "[%]").replace('_', "[_]").replace('*', "%").replace('?', "_");
    let mut rows = Rows::of(&[
        ("full_filesystem_path", nvarchar(512)),
        ("parent_directory", nvarchar(512)),
        ("file_or_directory_name", nvarchar(512)),
        ("level", Type::Int),
        ("is_directory", Type::Bit),
        ("is_read_only", Type::Bit),
        ("last_write_time", Type::DateTime),
        ("size_in_bytes", Type::BigInt),
    ]);
    let directory = write(directory);
    for entry in entries(&directory) {
        if like(&entry.name, &pattern, None) {
            rows.push(vec![
                text(Path::new(&directory).join(&entry.name).to_string_lossy()),
                text(&directory),
                text(&entry.name),
                Value::Int(0),
                Value::Bit(entry.is_directory),
                Value::Bit(false),
                Value::DateTime(entry.written),
                Value::BigInt(entry.size),
            ]);
        }
    }
    Ok(rows)
}

/// `xp_dirtree 'directory', depth, files`.
pub fn tree(reader: &Reader<'_>, directory: &str, depth: i64, files: bool) -> Rows {
    let mut columns = vec![("subdirectory", nvarchar(512)), ("depth", Type::Int)];
    if files {
        columns.push(("file", Type::Int));
    }
    let mut rows = Rows::of(&columns);
    if reader.may(Right::Sysadmin) {
        walk(&mut rows, directory, 1, if depth == 0 { 16 } else { depth.min(16) }, files);
    }
    rows
}

fn walk(rows: &mut Rows, directory: &str, level: i64, depth: i64, files: bool) {
    for entry in entries(directory) {
        if entry.is_directory || files {
            let mut row = vec![text(&entry.name), Value::Int(i32::try_from(level).unwrap_or(i32::MAX))];
            if files {
                row.push(Value::Int(i32::from(!entry.is_directory)));
            }
            rows.push(row);
        }
        if entry.is_directory && level < depth {
            walk(rows, &Path::new(directory).join(&entry.name).to_string_lossy(), level + 1, depth, files);
        }
    }
}

struct Entry {
    name: String,
    is_directory: bool,
    size: i64,
    written: i64,
}

/// In order of their names; nothing where the directory cannot be read.
fn entries(directory: &str) -> Vec<Entry> {
    let mut all: Vec<Entry> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let about = entry.metadata().ok()?;
            let written = about.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
            Some(Entry {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_directory: about.is_dir(),
                size: i64::try_from(about.len()).unwrap_or(i64::MAX),
                written: i64::try_from(written.as_millis()).unwrap_or(0),
            })
        })
        .collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}
