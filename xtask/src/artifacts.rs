//! What is deployed, built as it is deployed.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::repo::{cargo, command, root, run, target};
use crate::tools;

/// Packages that exist for WebAssembly only and that no native build can take.
pub(crate) const WASM_PACKAGES: [&str; 4] =
    ["playhead-workers", "playhead-spin", "playhead-bare-worker", "playhead-bare-component"];

/// Arguments of `cargo xtask build`.
#[derive(Args)]
pub(crate) struct Options {
    part: Part,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// The edge for Cloudflare Workers
    Workers,
    /// The edge for Spin
    Spin,
    /// The origin
    Origin,
}

/// How a native binary is compiled.
#[derive(Clone, Copy)]
pub(crate) enum Profile {
    Debug,
    Release,
}

impl Profile {
    /// Cargo's name of the profile, and of its folder below the target folder.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Profile::Debug => ("dev", "debug"),
            Profile::Release => ("release", "release"),
        }
    }
}

/// `cargo xtask build`: prints where the part lies.
pub(crate) fn build(options: &Options) -> Result<()> {
    let built = match options.part {
        Part::Workers => workers()?,
        Part::Spin => spin()?,
        Part::Origin => origin(Profile::Release)?,
    };
    println!("{}", built.display());
    Ok(())
}

/// The Workers bundle: a folder with `index.js` and `index_bg.wasm`, which `wrangler.toml` names.
pub(crate) fn workers() -> Result<PathBuf> {
    bundle("edge/workers", root().join("build"))
}

/// What the Workers bundle is measured beside, built as it is.
pub(crate) fn bare_worker() -> Result<PathBuf> {
    bundle("tests/bench/bare-worker", target().join("bare-worker"))
}

fn bundle(package: &str, bundle: PathBuf) -> Result<PathBuf> {
    let mut build = tools::worker_build()?;
    // Panics name the file that they are in: where that file was on the machine that built it is nobody's business, and
    // a kilobyte or two.
    build.env("RUSTFLAGS", format!("--remap-path-prefix={}=crates", tools::registry_sources()?.display()));
    run(build.current_dir(root().join(package)).args(["--profile", "edge", "--out-dir"]).arg(&bundle))?;
    // The names of its functions, which worker-build insists on, are a sixth of the bundle.
    let wasm = bundle.join("index_bg.wasm");
    let mut strip = command(tools::npm_program("wasm-opt"));
    run(strip.args(["-Oz", "--strip-debug"]).arg(&wasm).arg("--output").arg(&wasm))?;
    Ok(bundle)
}

/// The Spin component.
pub(crate) fn spin() -> Result<PathBuf> {
    component("playhead-spin")
}

/// What the Spin component is measured beside, built as it is.
pub(crate) fn bare_component() -> Result<PathBuf> {
    component("playhead-bare-component")
}

fn component(package: &str) -> Result<PathBuf> {
    tools::rust_targets()?;
    run(cargo().args(["build", "--profile", "spin", "--target", "wasm32-wasip2", "--package", package]))?;
    Ok(target().join("wasm32-wasip2/spin").join(package.replace('-', "_")).with_extension("wasm"))
}

/// The player's SDK, minified as a page would load it.
pub(crate) fn player() -> Result<PathBuf> {
    tools::npm()?;
    let minified = target().join("playhead.min.js");
    let mut esbuild = command(tools::npm_program("esbuild"));
    let outfile = format!("--outfile={}", minified.display());
    run(esbuild.args(["edge/player/playhead.js", "--minify", "--log-level=warning", &outfile]))?;
    Ok(minified)
}

/// The origin's binary.
pub(crate) fn origin(profile: Profile) -> Result<PathBuf> {
    native("playhead-origin", "origin", profile)
}

/// The host that runs the Spin component where Spin is not installed.
pub(crate) fn spin_host(profile: Profile) -> Result<PathBuf> {
    native("playhead-spin-host", "spin-host", profile)
}

/// Native binaries in the debug profile, by their names. They are built with the whole workspace, so with the features
/// that its tests are compiled with: built alone, their dependencies would be compiled twice. That replaces the very
/// program that runs here, too, which a moment later no longer lies where it was started.
pub(crate) fn native_binaries<const N: usize>(names: [&str; N]) -> Result<[PathBuf; N]> {
    let exclude = WASM_PACKAGES.iter().flat_map(|package| ["--exclude", package]);
    run(cargo().args(["build", "--workspace"]).args(exclude))?;
    let folder = target().join(Profile::Debug.names().1);
    Ok(names.map(|name| folder.join(name)))
}

fn native(package: &str, binary: &str, profile: Profile) -> Result<PathBuf> {
    let (name, folder) = profile.names();
    run(cargo().args(["build", "--profile", name, "--package", package]))?;
    Ok(target().join(folder).join(binary))
}
