//! Whether the judges have teeth: bugs that are put in on purpose, each of which a seed must find.
//!
//! The patches are in `mutations/`. All of them go into one copy of the tree, each asleep behind the environment's word for it, so that
//! one build serves all; the product itself knows of none. The engine's own invariants are left out of the judgement.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::driver::Driver;

/// The environment's word for what is awake.
const SWITCH: &str = "SIM_MUTATION";

/// One bug, and what found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub number: String,
    pub name: String,
    /// The seed, how many were tried, and the broken promise; none: no seed found it.
    pub by: Option<(u64, u64, String)>,
}

/// The repository that this program was built from.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every patch, in the order of its number.
pub fn patches() -> Result<Vec<PathBuf>> {
    let folder = root().join("tests/simulation/mutations");
    let entries = fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
    let mut patches: Vec<PathBuf> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    patches.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    patches.sort();
    Ok(patches)
}

/// Builds the mutated program and looks for each bug in seeds from `from` on, at most `within` of them. `only`: those numbers alone.
pub fn hunt(driver: &Driver, from: u64, within: u64, only: &[String]) -> Result<Vec<Found>> {
    let program = build()?;
    let mut all = Vec::new();
    for patch in patches()? {
        let stem = patch.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let (number, name) = stem.split_once('-').context("a patch is called NUMBER-NAME.patch")?;
        if !only.is_empty() && !only.iter().any(|wanted| wanted == number) {
            continue;
        }
        let mut mutated = Driver::new(Some(program.clone()), Some(driver.jobs))?;
        mutated.first = true;
        mutated.tells = false;
        mutated.environment = vec![(SWITCH.to_owned(), number.to_owned())];
        mutated.arguments = vec!["--ground-alone".to_owned()];
        let summary = mutated.seeds(from, within)?;
        let by = summary.failed.first().and_then(|verdict| {
            let failure = verdict.failure.as_ref()?;
            Some((verdict.seed, summary.seeds, format!("{}: {}", failure.invariant, failure.what)))
        });
        let found = Found { number: number.to_owned(), name: name.replace('-', " "), by };
        eprintln!("{}", found.words());
        all.push(found);
    }
    Ok(all)
}

impl Found {
    pub fn words(&self) -> String {
        let Self { number, name, by } = self;
        match by {
            Some((seed, tried, what)) => format!("{number} {name}: seed {seed} ({tried} tried), {what}"),
            None => format!("{number} {name}: NOT FOUND"),
        }
    }
}

/// The copy is made beside what cargo builds, and changed files alone are written: the next time little is built.
fn build() -> Result<PathBuf> {
    let program = env::current_exe().context("find this program")?;
    let target = program.parent().and_then(Path::parent).context("find where cargo builds")?.to_owned();
    let (staging, tree) = (target.join("mutations/staging"), target.join("mutations/tree"));
    if staging.exists() {
        fs::remove_dir_all(&staging).context("remove an older copy")?;
    }
    let files = copy(&staging)?;
    for patch in patches()? {
        // Not the repository around it: the copy is none.
        run(Command::new("git")
            .args(["apply"])
            .arg(&patch)
            .current_dir(&staging)
            .env("GIT_CEILING_DIRECTORIES", &target))
        .with_context(|| format!("the tree has changed below {}: make the patch again", patch.display()))?;
    }
    rename_version(&staging.join("Cargo.toml"))?;
    for file in &files {
        let (from, to) = (staging.join(file), tree.join(file));
        let text = fs::read(&from).with_context(|| format!("read {}", from.display()))?;
        if fs::read(&to).is_ok_and(|old| old == text) {
            continue;
        }
        fs::create_dir_all(to.parent().context("a file has a folder")?).context("make a folder of the copy")?;
        fs::write(&to, text).with_context(|| format!("write {}", to.display()))?;
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo)
        .args(["build", "--quiet", "--profile", "simulation", "-p", "baton-simulation", "--target-dir"])
        .arg(&target)
        .current_dir(&tree))
    .context("build the mutated tree")?;
    // The real one takes its place again when it is built the next time.
    let mutated = target.join("mutations/baton-simulation");
    fs::copy(target.join("simulation/baton-simulation"), &mutated).context("keep the mutated program")?;
    Ok(mutated)
}

/// Cargo tells two packages apart by their place below their workspace, which is the same here, and by their version: with this one the
/// mutated packages are never taken for the real ones that are built into the same folder.
fn rename_version(manifest: &Path) -> Result<()> {
    let text = fs::read_to_string(manifest).with_context(|| format!("read {}", manifest.display()))?;
    let line = |version: &str| format!("\nversion = \"{version}\"\n");
    let (real, mutated) = (env!("CARGO_PKG_VERSION"), concat!(env!("CARGO_PKG_VERSION"), "-mutated"));
    if text.matches(&line(real)).count() != 1 {
        bail!("{} does not say once that the version is {real}", manifest.display());
    }
    fs::write(manifest, text.replace(&line(real), &line(mutated)))
        .with_context(|| format!("write {}", manifest.display()))
}

fn copy(to: &Path) -> Result<BTreeSet<PathBuf>> {
    let listed = Command::new("git").args(["ls-files", "-z", "-co", "--exclude-standard"]).current_dir(root()).output();
    let listed = listed.context("list the repository's files")?;
    if !listed.status.success() {
        bail!("list the repository's files: {}", String::from_utf8_lossy(&listed.stderr));
    }
    let names = listed.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut files = BTreeSet::new();
    for name in names {
        let file = PathBuf::from(String::from_utf8_lossy(name).into_owned());
        let from = root().join(&file);
        // Deleted, and not committed yet; or a link to a folder.
        if !from.is_file() {
            continue;
        }
        let to = to.join(&file);
        fs::create_dir_all(to.parent().context("a file has a folder")?).context("make a folder of the copy")?;
        fs::copy(&from, &to).with_context(|| format!("copy {}", from.display()))?;
        files.insert(file);
    }
    Ok(files)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("start {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{:?}: {}", command.get_program(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_patch_fits_the_tree() {
        let patches = patches().expect("they are there");
        assert_eq!(patches.len(), 12);
        let mut command = Command::new("git");
        command.args(["apply", "--check"]).args(&patches).current_dir(root());
        run(&mut command).expect("make the patch that does not fit again");
    }
}
