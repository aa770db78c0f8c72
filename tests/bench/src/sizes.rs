//! How much goes over the wire before anything runs.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use playhead_tests::artifact;

use crate::report::Figure;

/// The bundle of the Workers edge: script and module.
pub(crate) fn workers() -> Result<Vec<Figure>> {
    let bundle = artifact::path("PLAYHEAD_WORKERS_BUNDLE")?;
    let size = gzipped(&bundle.join("index.js"))? + gzipped(&bundle.join("index_bg.wasm"))?;
    Ok(vec![Figure::alone("workers_bundle", "KB gzipped", size, Some(250.0))])
}

/// The Spin component.
pub(crate) fn spin() -> Result<Vec<Figure>> {
    let size = gzipped(&artifact::path("PLAYHEAD_SPIN_COMPONENT")?)?;
    Ok(vec![Figure::alone("spin_component", "KB gzipped", size, Some(400.0))])
}

/// The player's SDK, minified.
pub(crate) fn player() -> Result<Vec<Figure>> {
    let size = gzipped(&artifact::path("PLAYHEAD_PLAYER")?)?;
    Ok(vec![Figure::alone("player_sdk", "KB gzipped", size, Some(6.0))])
}

/// A file's size in kilobytes of 1,000 bytes, as `gzip -9` would make it.
fn gzipped(file: &Path) -> Result<f64> {
    let bytes = fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&bytes)?;
    Ok(gzip.finish()?.len() as f64 / 1_000.0)
}
