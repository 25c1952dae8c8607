//! Whether the judges have teeth: bugs that are put in on purpose, each of which a seed must find.
//!
//! The patches are in `mutations/`, and the first line of each names the promises by whose breach it is known. All of them go into one
//! copy of the tree, each asleep behind the environment's word for it, so that one build serves all; the product itself knows of none.
//! The engine's own invariants are left out of the judgement.
//!
//! A world that breaks for another reason must never count as a find: a program that does not start would find every bug.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{driver::Driver, invariant::PROMISES, verdict::Failure};

/// The environment's word for what is awake.
const SWITCH: &str = "SIM_MUTATION";
/// While no bug is.
const ASLEEP: &str = "none";
/// Seeds that must be green then, before any find counts.
const CONTROL_SEEDS: u64 = 20;
/// What the first line of a patch begins with.
const BREAKS: &str = "Breaks: ";

/// As its patch tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bug {
    number: String,
    name: String,
    /// The promises by whose breach it is known.
    breaks: Vec<String>,
}

/// What the failure of a world says about a bug that is awake in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Found,
    /// A promise is broken, and none by which the bug is known.
    Another,
    /// The world itself broke.
    Nothing,
}

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
    let bugs = patches()?.iter().map(|patch| Bug::of(patch)).collect::<Result<Vec<_>>>()?;
    let program = build()?;
    control(&worlds(&program, driver.jobs, ASLEEP)?)?;
    let mut all = Vec::new();
    for bug in bugs {
        if !only.is_empty() && !only.contains(&bug.number) {
            continue;
        }
        let by = seek(&worlds(&program, driver.jobs, &bug.number)?, from, within, &bug)?;
        let found = Found { number: bug.number, name: bug.name, by };
        eprintln!("{}", found.words());
        all.push(found);
    }
    Ok(all)
}

/// Worlds of the mutated program in which this is awake.
fn worlds(program: &Path, jobs: usize, awake: &str) -> Result<Driver> {
    let mut driver = Driver::new(Some(program.to_owned()), Some(jobs))?;
    driver.first = true;
    driver.tells = false;
    driver.environment = vec![(SWITCH.to_owned(), awake.to_owned())];
    driver.arguments = vec!["--ground-alone".to_owned()];
    Ok(driver)
}

fn control(asleep: &Driver) -> Result<()> {
    let summary = asleep.seeds(1, CONTROL_SEEDS)?;
    let Some(verdict) = summary.failed.first() else { return Ok(()) };
    let told = verdict.failure.as_ref().map_or_else(String::new, told);
    bail!("seed {} fails with every bug asleep, so that no find would say anything: {told}", verdict.seed)
}

/// The first seed that shows the bug, how many were tried, and the broken promise.
fn seek(awake: &Driver, from: u64, within: u64, bug: &Bug) -> Result<Option<(u64, u64, String)>> {
    let (mut next, end) = (from, from + within);
    while next < end {
        // It ends with the first failure, and has left out no seed before the last that it ran.
        let summary = awake.seeds(next, end - next)?;
        next += summary.seeds;
        // In their order, up to the find: what it comes to must not depend on how many worlds run at once.
        for verdict in &summary.failed {
            let Some(failure) = &verdict.failure else { continue };
            let (Bug { number, name, .. }, seed, told) = (bug, verdict.seed, told(failure));
            match bug.says(&failure.invariant) {
                Says::Found => return Ok(Some((seed, seed - from + 1, told))),
                Says::Another => eprintln!("{number} {name}: seed {seed} breaks another promise, {told}"),
                Says::Nothing => bail!("{number} {name}: seed {seed} says nothing about it, {told}"),
            }
        }
    }
    Ok(None)
}

fn told(failure: &Failure) -> String {
    format!("{}: {}", failure.invariant, failure.what)
}

impl Bug {
    fn of(patch: &Path) -> Result<Self> {
        let stem = patch.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let (number, name) = stem.split_once('-').context("a patch is called NUMBER-NAME.patch")?;
        let text = fs::read_to_string(patch).with_context(|| format!("read {}", patch.display()))?;
        let breaks = text.lines().next().and_then(|line| line.strip_prefix(BREAKS));
        let breaks = breaks.with_context(|| format!("the first line of {stem} is {BREAKS}PROMISE, PROMISE"))?;
        let breaks: Vec<String> = breaks.split(", ").map(str::to_owned).collect();
        if let Some(unknown) = breaks.iter().find(|promise| !PROMISES.contains(&promise.as_str())) {
            bail!("{stem} breaks {unknown:?}, which nobody judges; judged are {}", PROMISES.join(", "));
        }
        Ok(Self { number: number.to_owned(), name: name.replace('-', " "), breaks })
    }

    fn says(&self, invariant: &str) -> Says {
        if self.breaks.iter().any(|promise| promise == invariant) {
            Says::Found
        } else if PROMISES.contains(&invariant) {
            Says::Another
        } else {
            Says::Nothing
        }
    }
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

    #[test]
    fn every_patch_names_the_promise_that_it_breaks() {
        for patch in patches().expect("they are there") {
            Bug::of(&patch).expect("its first line names what is judged");
        }
    }

    fn bug() -> Bug {
        Bug { number: "00".to_owned(), name: "a bug".to_owned(), breaks: vec!["truth".to_owned()] }
    }

    #[test]
    fn only_the_breach_of_its_promise_is_a_find() {
        assert_eq!(bug().says("truth"), Says::Found);
        assert_eq!(bug().says("once"), Says::Another);
        for broken in ["simulation", "no spin", "no panic", "no end", "setup", "engine: order"] {
            assert_eq!(bug().says(broken), Says::Nothing, "{broken}");
        }
    }

    #[test]
    fn a_program_that_does_not_start_finds_nothing() {
        for program in ["/bin/false", "/there/is/none"] {
            let driver = worlds(Path::new(program), 2, "00").expect("nothing is started yet");
            let sought = seek(&driver, 1, 5, &bug()).expect_err("no world came to its end");
            assert!(sought.to_string().contains("seed 1 says nothing about it"), "{sought:#}");
            let controlled = control(&driver).expect_err("no world came to its end");
            assert!(controlled.to_string().contains("with every bug asleep"), "{controlled:#}");
        }
    }
}
