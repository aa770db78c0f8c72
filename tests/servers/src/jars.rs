//! Cassandra itself, which Maven fetches once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Where its jars are.
pub(crate) struct Jars {
    pub(crate) folder: PathBuf,
    /// The one that Java has to load before all others.
    pub(crate) agent: PathBuf,
}

/// The jars of the version that `pom.xml` names, below cargo's target folder.
pub(crate) fn of_cassandra() -> Result<Jars> {
    let home = target().join("cassandra");
    let jars = home.join("jars");
    fs::create_dir_all(&jars).with_context(|| format!("{} cannot be made", jars.display()))?;
    // Several test binaries may want it at once.
    let lock = File::create(home.join("lock"))?;
    lock.lock()?;
    let pom = include_str!("../pom.xml");
    let fetched = home.join("fetched");
    if fs::read_to_string(&fetched).ok().as_deref() != Some(pom) {
        fs::remove_dir_all(&jars)?;
        fs::write(home.join("pom.xml"), pom)?;
        fetch(&home, &jars)?;
        fs::write(fetched, pom)?;
    }
    let agent = fs::read_dir(&jars)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("jamm-")));
    Ok(Jars { agent: agent.context("Cassandra comes without jamm")?, folder: jars })
}

fn fetch(home: &Path, jars: &Path) -> Result<()> {
    let mut maven = Command::new("mvn");
    maven
        .args(["--quiet", "--batch-mode", "dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", jars.display()))
        .current_dir(home);
    let output = maven.output().context("Maven could not be started: install it with your system's package manager")?;
    if !output.status.success() {
        bail!("Maven could not fetch Cassandra: {}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(())
}

fn target() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}
