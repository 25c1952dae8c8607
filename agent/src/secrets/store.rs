//! The places of this host's secrets: systemd's credentials, a directory of root-only files, a command.
//!
//! Apart because it is the only code that reads them. It must never take a value from a file that others can read, and
//! never put a value, or what a command printed, into an error.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use async_trait::async_trait;
use baton_model::outcome::Fault;
use tokio::io::AsyncReadExt;
use zeroize::Zeroizing;

use super::{Secret, Secrets};

/// A password, a key; not a file.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;

/// A program that prints a secret: `argv`, then the secret's name as the last argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretCommand {
    pub argv: Vec<String>,
    pub timeout: Duration,
}

/// Where to look, in this order.
#[derive(Debug, Clone, Default)]
pub struct SecretStoreOptions {
    /// `$CREDENTIALS_DIRECTORY`: made by systemd for this process alone.
    pub credentials_directory: Option<PathBuf>,
    /// One file a secret, 0600 or 0400, owned by root or by the agent's user.
    pub directory: Option<PathBuf>,
    pub command: Option<SecretCommand>,
}

/// Reads a secret each time it is wanted: a rotated one is used at once.
#[derive(Debug, Clone, Default)]
pub struct SecretStore {
    options: SecretStoreOptions,
}

impl SecretStore {
    pub fn new(options: SecretStoreOptions) -> Self {
        Self { options }
    }

    fn read_file(&self, directory: &Path, name: &str) -> Result<Option<Secret>, Fault> {
        let path = directory.join(name);
        let refuse = |why: String| {
            Fault::new(
                "BTN-0422",
                format!("the secret {name:?} is not read from {}: {why}", path.display()),
                format!("Run \"chown root: {0} && chmod 0600 {0}\" on this host.", path.display()),
            )
        };
        // Not through a link: whoever may make links there could point at any file.
        let file = File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(&path);
        let mut file = match file {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(refuse(error.to_string())),
        };
        // Of the open file: what is checked is what is read.
        let metadata = file.metadata().map_err(|error| refuse(error.to_string()))?;
        let own = rustix::process::geteuid().as_raw();
        if !metadata.is_file() {
            return Err(refuse("it is not a file".into()));
        }
        if metadata.mode() & 0o177 != 0 {
            return Err(refuse(format!(
                "its mode is {:04o}, and others than its owner may use it",
                metadata.mode() & 0o7777
            )));
        }
        if metadata.uid() != 0 && metadata.uid() != own {
            return Err(refuse(format!(
                "it belongs to user {}, not to root or the agent's user {own}",
                metadata.uid()
            )));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 1));
        let read = (&mut file).take(SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| refuse(error.to_string()))?;
        value(&bytes).map(Some).map_err(refuse)
    }

    async fn ask_command(&self, command: &SecretCommand, name: &str) -> Result<Secret, Fault> {
        let program = command.argv.first().map(String::as_str).unwrap_or_default();
        let refuse = |why: String| {
            Fault::new(
                "BTN-0423",
                format!("the secret command {program:?} gave no value for {name:?}: {why}"),
                "Run it on this host as the agent's user, with the secret's name as its last argument.",
            )
        };
        let (program, arguments) = command.argv.split_first().ok_or_else(|| refuse("it is empty".into()))?;
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .arg(name)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // What it complains about may hold the value.
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| refuse(error.to_string()))?;
        let stdout = child.stdout.take().expect("it was asked to be piped");
        let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 1));
        let reading = async {
            stdout.take(SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).await?;
            child.wait().await
        };
        let status = tokio::time::timeout(command.timeout, reading)
            .await
            .map_err(|_| refuse(format!("it did not end within {:?}", command.timeout)))?
            .map_err(|error| refuse(error.to_string()))?;
        if !status.success() {
            return Err(refuse(format!("it ended with {status}")));
        }
        value(&bytes).map_err(refuse)
    }
}

/// One line end after the value is the editor's, not the secret's.
fn value(bytes: &[u8]) -> Result<Secret, String> {
    if bytes.len() > SECRET_BYTES_MAX {
        return Err(format!("it is longer than {SECRET_BYTES_MAX} bytes"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let text = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).unwrap_or(text);
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    Ok(Secret::new(text.to_owned()))
}

#[async_trait]
impl Secrets for SecretStore {
    async fn secret(&self, name: &str) -> Result<Secret, Fault> {
        if !crate::action::context::is_plain_name(name) {
            let message = format!("{name:?} is not a secret's name: letters, digits, '.', '-' and '_'");
            return Err(Fault::new("BTN-0421", message, "Correct the runbook."));
        }
        let mut places = Vec::new();
        for directory in [&self.options.credentials_directory, &self.options.directory].into_iter().flatten() {
            if let Some(secret) = self.read_file(directory, name)? {
                return Ok(secret);
            }
            places.push(directory.join(name).display().to_string());
        }
        match &self.options.command {
            Some(command) => self.ask_command(command, name).await,
            None if places.is_empty() => Err(Fault::new(
                "BTN-0420",
                format!("the secret {name:?} was asked for, and this agent has no place for secrets"),
                "Set secrets.directory in the agent's configuration.",
            )),
            None => Err(Fault::new(
                "BTN-0420",
                format!("there is no secret {name:?} on this host; looked for {}", places.join(" and ")),
                format!("Put its value into {} with mode 0600.", places.last().expect("not empty")),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn store(directory: &Path) -> SecretStore {
        SecretStore::new(SecretStoreOptions { directory: Some(directory.to_owned()), ..Default::default() })
    }

    fn put(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).expect("written");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mode set");
    }

    #[tokio::test]
    async fn a_file_that_others_can_read_is_refused_without_its_value() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("fdb");
        for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o700, false)] {
            put(&path, "hunter2\n", mode);
            match store(directory.path()).secret("fdb").await {
                Ok(secret) => assert!(good && secret.expose() == "hunter2", "{mode:o}"),
                Err(fault) => {
                    assert!(!good && fault.code == "BTN-0422", "{mode:o} {fault}");
                    assert!(!fault.to_string().contains("hunter2"));
                }
            }
        }
    }

    #[tokio::test]
    async fn links_missing_files_and_names_that_leave_the_directory_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        put(&directory.path().join("real"), "x", 0o600);
        std::os::unix::fs::symlink(directory.path().join("real"), directory.path().join("link")).expect("a link");
        for (name, code) in [("link", "BTN-0422"), ("absent", "BTN-0420"), ("../real", "BTN-0421"), ("", "BTN-0421")] {
            assert_eq!(store(directory.path()).secret(name).await.expect_err(name).code, code, "{name}");
        }
    }

    #[tokio::test]
    async fn a_command_gives_the_value_and_its_failure_does_not_show_it() {
        let command = |script: &str| SecretStoreOptions {
            command: Some(SecretCommand {
                argv: vec!["/bin/sh".into(), "-c".into(), script.into()],
                timeout: Duration::from_secs(20),
            }),
            ..Default::default()
        };
        let good = SecretStore::new(command("echo value-of-$0"));
        assert_eq!(good.secret("fdb").await.expect("a value").expose(), "value-of-fdb");
        let bad = SecretStore::new(command("echo hunter2; echo hunter2 >&2; exit 3"));
        let fault = bad.secret("fdb").await.expect_err("it failed");
        assert!(fault.code == "BTN-0423" && !fault.to_string().contains("hunter2"), "{fault}");
    }
}
