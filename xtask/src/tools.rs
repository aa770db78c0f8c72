//! The tools that building and testing need: each is installed once, and said in one line.
//!
//! They come from crates.io, npm and the system's package manager at pinned versions, and `worker-build` is told where
//! they are, because it would otherwise download its own from elsewhere.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::repo::{cargo, command, find_program, output_of, root, run, say, target};

/// Has to be the `worker` crate's version: the two share the glue between JavaScript and Rust.
const WORKER_BUILD: &str = "0.8.7";

/// What `rust-toolchain.toml` names; needed here where rustup does not install by itself.
const RUST_TARGETS: [&str; 2] = ["wasm32-unknown-unknown", "wasm32-wasip2"];

/// The programs from npm, by the name of their package.
pub(crate) fn npm_program(name: &str) -> PathBuf {
    root().join("node_modules/.bin").join(name)
}

/// `worker-build`, told where its own tools are.
pub(crate) fn worker_build() -> Result<Command> {
    npm()?;
    rust_targets()?;
    let bindgen = cargo_tool("wasm-bindgen-cli", "wasm-bindgen", &locked_version("wasm-bindgen")?)?;
    let worker_build = match find_cargo_tool("worker-build", WORKER_BUILD) {
        Some(program) => program,
        None => {
            openssl()?;
            cargo_tool("worker-build", "worker-build", WORKER_BUILD)?
        }
    };
    let mut command = command(worker_build);
    command
        .env("WASM_BINDGEN_BIN", bindgen)
        .env("WASM_OPT_BIN", npm_program("wasm-opt"))
        .env("ESBUILD_BIN", npm_program("esbuild"));
    Ok(command)
}

/// Where cargo keeps the sources of dependencies.
pub(crate) fn registry_sources() -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let sources = home.context("neither CARGO_HOME nor HOME is set")?.join("registry/src");
    // One folder for each registry, of which there is one.
    let registry = fs::read_dir(&sources).ok().and_then(|mut folders| folders.next()?.ok());
    Ok(registry.map_or(sources, |folder| folder.path()))
}

/// Installs what `package-lock.json` names, when it is not what is installed.
pub(crate) fn npm() -> Result<()> {
    let wanted = fs::read(root().join("package-lock.json")).context("package-lock.json cannot be read")?;
    let installed = root().join("node_modules/.playhead-lock");
    if fs::read(&installed).is_ok_and(|lock| lock == wanted) {
        return Ok(());
    }
    timed("npm ci", || run(command("npm").args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])))?;
    fs::write(&installed, wanted).with_context(|| format!("{} cannot be written", installed.display()))
}

/// Adds the WebAssembly targets that are missing.
pub(crate) fn rust_targets() -> Result<()> {
    // Without rustup the toolchain is somebody else's to care for; cargo will say what it misses.
    let Some(installed) = output_of(command("rustup").args(["target", "list", "--installed"])) else { return Ok(()) };
    let missing: Vec<&str> =
        RUST_TARGETS.into_iter().filter(|target| !installed.lines().any(|line| line == *target)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    timed(&format!("rustup target add {}", missing.join(" ")), || {
        run(command("rustup").args(["target", "add"]).args(&missing))
    })
}

/// workerd itself. The package's own start script would stand between us and the process to be killed.
pub(crate) fn workerd() -> Result<PathBuf> {
    npm()?;
    let program = output_of(command("node").args(["--print", "require('workerd').default"]));
    program.map(PathBuf::from).context("the npm package workerd has no program for this machine")
}

/// A Chromium for the tests of the player.
pub(crate) fn chromium() -> Result<PathBuf> {
    system_program(&["chromium", "chromium-browser", "google-chrome"], "chromium")
}

/// A Redis for the tests of the stores.
pub(crate) fn redis_server() -> Result<PathBuf> {
    system_program(&["redis-server"], "redis-server")
}

/// What Cassandra runs on, for the same tests.
pub(crate) fn java() -> Result<PathBuf> {
    system_program(&["java"], "openjdk-17-jre-headless")
}

/// What fetches Cassandra.
pub(crate) fn maven() -> Result<PathBuf> {
    system_program(&["mvn"], "maven")
}

/// The version that `Cargo.lock` gives to `package`.
fn locked_version(package: &str) -> Result<String> {
    let lock = fs::read_to_string(root().join("Cargo.lock")).context("Cargo.lock cannot be read")?;
    let entry = format!("name = \"{package}\"\nversion = \"");
    let version = lock.split_once(&entry).and_then(|(_, rest)| rest.split('"').next());
    version.map(str::to_owned).with_context(|| format!("Cargo.lock does not name {package}"))
}

fn cargo_tool(package: &str, program: &str, version: &str) -> Result<PathBuf> {
    if let Some(installed) = find_cargo_tool(program, version) {
        return Ok(installed);
    }
    let tools = target().join("tools");
    let build = tools.join("build");
    timed(&format!("cargo install {package} {version}"), || {
        let mut install = cargo();
        // Unoptimised, because that compiles in a third of the time and the tools have little to do.
        install.args(["install", "--quiet", "--debug", "--locked", "--force", package, "--version", version]);
        install.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_DEV_INCREMENTAL", "false");
        run(install.arg("--root").arg(&tools).arg("--target-dir").arg(&build))
    })?;
    // Hundreds of megabytes that nothing needs again.
    let _ = fs::remove_dir_all(build);
    find_cargo_tool(program, version).with_context(|| format!("{package} {version} is not what was installed"))
}

fn find_cargo_tool(program: &str, version: &str) -> Option<PathBuf> {
    let path = target().join("tools/bin").join(program);
    let said = output_of(command(&path).arg("--version"))?;
    said.split_whitespace().any(|word| word == version).then_some(path)
}

/// `worker-build` links the system's OpenSSL, for downloads that we spare it.
fn openssl() -> Result<()> {
    match output_of(command("pkg-config").args(["--modversion", "openssl"])) {
        Some(_) => Ok(()),
        None => install_from_system(&["pkg-config", "libssl-dev"]),
    }
}

fn system_program(names: &[&str], package: &str) -> Result<PathBuf> {
    if let Some(program) = find_program(names) {
        return Ok(program);
    }
    install_from_system(&[package])?;
    find_program(names)
        .with_context(|| format!("the package {package} brought no program named {}", names.join(" or ")))
}

fn install_from_system(packages: &[&str]) -> Result<()> {
    let packages_in_words = packages.join(" and ");
    if !nix::unistd::geteuid().is_root() || find_program(&["apt-get"]).is_none() {
        bail!("Please install {packages_in_words} with your system's package manager, then run this again.");
    }
    timed(&format!("apt-get install {packages_in_words}"), || {
        let apt = || {
            let mut apt = command("apt-get");
            apt.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
            apt
        };
        run(apt().arg("update"))?;
        run(apt().args(["install", "--yes", "--no-install-recommends"]).args(packages))
    })
}

fn timed(what: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    say(what);
    let start = Instant::now();
    work()?;
    say(&format!("{what}: done in {:.0} s", start.elapsed().as_secs_f64()));
    Ok(())
}
