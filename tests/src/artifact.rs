//! Where the binaries under test are.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// The file or folder that `variable` names, such as `PLAYHEAD_ORIGIN_BIN`.
pub fn path(variable: &str) -> Result<PathBuf> {
    let path = PathBuf::from(playhead_servers::given(variable)?);
    path.canonicalize().with_context(|| format!("{variable} names {}, which is not there", path.display()))
}
