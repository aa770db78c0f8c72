//! Writes the bindings of the two interfaces that Spin adds to WASI.
//!
//! Their WIT lies inside the spin-sdk package that the component is built with. It is read from there, and not
//! kept as a copy, so that the host and the component cannot come to speak of different interfaces.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};

const INTERFACES: [&str; 2] = ["spin-variables@3.0.0", "spin-sqlite@3.1.0"];

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../Cargo.lock");
    let wit = spin_sdk()?.join("wit/deps");
    let mut paths = String::new();
    for interface in INTERFACES {
        let path = wit.join(interface);
        ensure!(path.is_dir(), "spin-sdk has no {}", path.display());
        paths.push_str(&format!("{path:?}, "));
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?).join("bindings.rs");
    fs::write(&out, bindings(&paths)).with_context(|| format!("cannot write {}", out.display()))
}

/// The folder of the spin-sdk package that Cargo.lock names.
fn spin_sdk() -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").context("CARGO is not set")?;
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform=wasm32-wasip2"])
        .output()
        .context("cargo metadata does not start")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let manifest = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "spin-sdk")
        .and_then(|package| package["manifest_path"].as_str())
        .context("the workspace does not use spin-sdk")?;
    Ok(Path::new(manifest).parent().context("spin-sdk has no folder")?.to_owned())
}

fn bindings(paths: &str) -> String {
    format!(
        r#"wasmtime::component::bindgen!({{
    path: [{paths}],
    inline: "
        package playhead:spin-host;
        world imports {{
            import spin:sqlite/sqlite@3.1.0;
            import spin:variables/variables@3.0.0;
        }}
    ",
    imports: {{ default: async | trappable }},
    with: {{ "spin:sqlite/sqlite.connection": crate::sqlite::Connection }},
}});
"#
    )
}
