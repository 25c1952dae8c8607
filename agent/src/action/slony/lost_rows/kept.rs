//! Lists of lost rows that this host has made, kept beyond the run: what they were read from is dropped soon after.
//!
//! Apart because a rejoin that is tried again finds the log gone by its own earlier work, and must then have the list that was
//! made before, or halt. It is on disk before the task that made it ends.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use baton_model::digest::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Mark;
use crate::action::{Context, slony::node::Node};

/// What was told of one database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Of the schema that was read.
    pub schema_oid: i64,
    pub entry: Value,
}

/// The files of one list; none where there is no place to keep them.
pub(super) struct Place {
    directory: PathBuf,
    name: String,
}

impl Place {
    /// By what it is about: this node, and this evidence.
    pub fn of(node: &Node, mark: &Mark, context: &Context) -> Option<Self> {
        let directory = context.group_directory()?.join("lost-rows");
        let about = (&node.name, &node.database, node.cluster.name(), mark.origin, mark.seqno, &mark.snapshot);
        Some(Self { directory, name: Digest::of(&about).to_string() })
    }

    pub fn read(&self) -> io::Result<Option<Kept>> {
        match fs::read(self.path("json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The lists first, then the line that makes them count.
    pub fn keep(&self, kept: &Kept, task_directory: &Path, database: &str) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        for kind in ["sql", "csv"] {
            let (from, to) = (task_directory.join(file_name(database, kind)), self.path(kind));
            let beside = self.path(&format!("{kind}.new"));
            fs::copy(&from, &beside)?;
            File::open(&beside)?.sync_all()?;
            fs::rename(&beside, &to)?;
        }
        let beside = self.path("json.new");
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(kept)?)?;
        file.sync_all()?;
        fs::rename(&beside, self.path("json"))?;
        File::open(&self.directory)?.sync_all()
    }

    /// Gives the lists to the present task too.
    pub fn attach(&self, context: &Context, database: &str) -> io::Result<()> {
        for kind in ["sql", "csv"] {
            let mut attachment =
                context.attachment(&file_name(database, kind)).map_err(|fault| io::Error::other(fault.to_string()))?;
            io::copy(&mut File::open(self.path(kind))?, &mut attachment)?;
            attachment.finish()?;
        }
        Ok(())
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.directory.join(format!("{}.{kind}", self.name))
    }
}

/// `lost-rows-fdb.sql`
pub(super) fn file_name(database: &str, kind: &str) -> String {
    format!("lost-rows-{database}.{kind}")
}
