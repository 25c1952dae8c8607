//! Writes a machine's directory: its service manager, and what its services are.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result};

use super::{Machine, Service};
use crate::processes::Registry;

const SCRIPT: u32 = 0o755;
const PLAIN: u32 = 0o644;
/// A service's declaration may hold a password.
const SECRET: u32 = 0o600;

/// An empty machine; what an earlier world left in its place goes.
pub(super) fn write(machine: &Machine, helper: &Path, registry: &Registry) -> Result<()> {
    match fs::remove_dir_all(&machine.root) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove {}", machine.root.display()));
        }
        _ => {}
    }
    for directory in ["/bin", "/etc/init.d", "/etc/services", "/run", "/var/log"] {
        let path = machine.path(directory);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    }
    let words = [
        ("@ROOT@", machine.root.display().to_string()),
        ("@HELPER@", helper.display().to_string()),
        ("@REGISTRY@", registry.path().display().to_string()),
        ("@MARK@", registry.mark().to_owned()),
        ("@NAME@", machine.name.clone()),
    ];
    let script = include_str!("scripts/service").to_owned();
    let script = words.iter().fold(script, |text, (word, value)| text.replace(word, value));
    put(&machine.path("/etc/address"), PLAIN, &machine.address.to_string())?;
    put(&machine.service_command(), SCRIPT, &script)
}

/// One service more: what it is, and the scripts that ask for it and its parts.
pub(super) fn add(machine: &Machine, service: &Service) -> Result<()> {
    let place = machine.path("/etc/services");
    let name = &service.name;
    put(&place.join(format!("{name}.json")), SECRET, &serde_json::to_string_pretty(service)?)?;
    put(&place.join(format!("{name}.parts")), PLAIN, &service.parts().join(" "))?;
    for part in service.parts() {
        put(&place.join(format!("{part}.part")), PLAIN, name)?;
    }
    for known in service.parts().iter().chain([name]) {
        let script = format!("#!/bin/sh\nexec '{}' {known} \"$@\"\n", machine.service_command().display());
        put(&machine.init_scripts().join(known), SCRIPT, &script)?;
    }
    Ok(())
}

/// The mode first: a secret must not be readable for a moment.
pub(super) fn put(path: &Path, mode: u32, text: &str) -> Result<()> {
    let written = fs::write(path, "")
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .and_then(|()| fs::write(path, text));
    written.with_context(|| format!("write {}", path.display()))
}
