//! `cargo xtask test`: everything that can be tested, and in the end how much of it ran.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::artifacts::{self, WASM_PACKAGES};
use crate::repo::{cargo, command, root, say};
use crate::stores::Stores;
use crate::tools;

/// Arguments of `cargo xtask test`.
#[derive(Args)]
pub(crate) struct Options {
    /// Run only the tests whose name contains this
    name: Option<String>,
}

/// What became of the tests of one runner.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// The runner itself failed: a test crashed it, or it could not compile.
    broken: bool,
}

/// Builds everything, runs every test, and says at the end what ran. One runner's failures do not keep the other from
/// running.
pub(crate) fn run_all(options: &Options) -> Result<()> {
    let environment = environment()?;
    let stores = Stores::start()?;
    let counts = [
        ("node", run_and_count(node_tests(options)?.envs(environment.iter().cloned()), count_node)?),
        (
            "cargo",
            run_and_count(cargo_tests(options).envs(environment).envs(stores.variables.iter().cloned()), count_cargo)?,
        ),
    ];
    println!();
    for (runner, counts) in &counts {
        let Counts { passed, failed, skipped, broken } = counts;
        let broken = if *broken && *failed == 0 { "; the runner itself failed, see above" } else { "" };
        println!("{runner}: {passed} passed, {failed} failed, {skipped} skipped{broken}");
    }
    if counts.iter().any(|(_, counts)| counts.failed > 0 || counts.broken) {
        bail!("not every test passed");
    }
    if counts.iter().all(|(_, counts)| counts.passed == 0) {
        bail!("no test ran");
    }
    Ok(())
}

/// Builds what the tests run over, and names each thing as the tests know it.
fn environment() -> Result<Vec<(&'static str, std::path::PathBuf)>> {
    say("getting the tools");
    tools::npm()?;
    tools::rust_targets()?;
    let (chromium, workerd) = (tools::chromium()?, tools::workerd()?);
    say("building what is tested");
    let (bundle, component) = (artifacts::workers()?, artifacts::spin()?);
    let [origin, spin_host, xtask] = artifacts::native_binaries(["origin", "spin-host", "xtask"])?;
    Ok(vec![
        ("PLAYHEAD_ORIGIN_BIN", origin),
        ("PLAYHEAD_WORKERS_BUNDLE", bundle),
        ("PLAYHEAD_WORKERD", workerd),
        ("PLAYHEAD_SPIN_COMPONENT", component),
        ("PLAYHEAD_SPIN_HOST", spin_host),
        ("PLAYHEAD_CHROMIUM", chromium),
        // Serves the demo page to the browser's tests.
        ("PLAYHEAD_XTASK", xtask),
    ])
}

fn node_tests(options: &Options) -> Result<Command> {
    let folder = root().join("edge/player/test");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        if [".test.js", ".test.mjs"].iter().any(|end| path.to_string_lossy().ends_with(end)) {
            files.push(path);
        }
    }
    files.sort();
    let mut node = command("node");
    // A test that leaves a timer or a socket behind must not keep the whole run from ending.
    node.args(["--test", "--test-reporter=tap", "--test-force-exit"]);
    if let Some(name) = &options.name {
        node.arg(format!("--test-name-pattern={}", literally(name)));
    }
    node.args(files);
    Ok(node)
}

fn cargo_tests(options: &Options) -> Command {
    let mut test = cargo();
    test.args(["test", "--workspace", "--no-fail-fast"]);
    test.args(WASM_PACKAGES.iter().flat_map(|package| ["--exclude", package]));
    test.args(&options.name);
    test
}

/// Runs `command`, lets its output through, and counts in every line of it.
fn run_and_count(command: &mut Command, count: fn(&str, &mut Counts)) -> Result<Counts> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("the tests could not be started")?;
    let mut counts = Counts::default();
    let output = child.stdout.take().context("the tests have no output")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        count(&line, &mut counts);
    }
    counts.broken = !child.wait()?.success();
    Ok(counts)
}

/// `# pass 12`, `# fail 0`, … at the end of what node prints.
fn count_node(line: &str, counts: &mut Counts) {
    let Some((word, number)) = line.strip_prefix("# ").and_then(|rest| rest.split_once(' ')) else { return };
    let Ok(number) = number.parse::<u64>() else { return };
    match word {
        "pass" => counts.passed += number,
        "fail" | "cancelled" => counts.failed += number,
        "skipped" | "todo" => counts.skipped += number,
        _ => {}
    }
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; …`, once for every test binary.
fn count_cargo(line: &str, counts: &mut Counts) {
    let Some((_, results)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else { return };
    for result in results.split("; ") {
        let Some((number, word)) = result.split_once(' ') else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        match word {
            "passed" => counts.passed += number,
            "failed" => counts.failed += number,
            "ignored" => counts.skipped += number,
            _ => {}
        }
    }
}

/// `name` as a regular expression that matches only itself, for node takes patterns.
fn literally(name: &str) -> String {
    let mut pattern = String::new();
    for character in name.chars() {
        if !character.is_alphanumeric() && character != '_' && character != ' ' {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_what_the_runners_print() {
        let mut counts = Counts::default();
        for line in ["# Subtest: # pass 3", "# tests 9", "# pass 7", "# fail 1", "# cancelled 0", "# skipped 1"] {
            count_node(line, &mut counts);
        }
        assert_eq!(counts, Counts { passed: 7, failed: 1, skipped: 1, broken: false });

        let mut counts = Counts::default();
        for line in [
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.01s",
            "test result_is_read ... ok",
        ] {
            count_cargo(line, &mut counts);
        }
        assert_eq!(counts, Counts { passed: 4, failed: 2, skipped: 1, broken: false });
    }
}
