//! Where the binaries under test are.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// The file or folder that `variable` names, such as `PLAYHEAD_ORIGIN_BIN`.
pub fn path(variable: &str) -> Result<PathBuf> {
    let path =
        env::var_os(variable).with_context(|| format!("{variable} is not set: run the tests by cargo xtask test"))?;
    let path = PathBuf::from(path);
    path.canonicalize().with_context(|| format!("{variable} names {}, which is not there", path.display()))
}
