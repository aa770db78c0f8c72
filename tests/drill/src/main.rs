//! The drill: thousands of viewers watch while one part after another is killed, and afterwards nothing that was
//! acknowledged may be missing.
//!
//! `cargo xtask drill` builds what is drilled and names it in the environment (`PLAYHEAD_…`).

mod catalogue;
mod crowd;
mod ledger;
mod measured;
mod oracle;
mod parts;
mod plan;
mod progress;
mod report;
mod silent;
mod timeline;
mod verdict;
mod viewer;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use playhead_tests::edge::Kind;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::crowd::Crowd;
use crate::measured::Measured;
use crate::parts::Parts;
use crate::progress::say;
use crate::report::Report;
use crate::silent::Silent;

#[derive(Parser)]
#[command(about = "Breaks Playhead while it is watched, and shows that nothing acknowledged is lost")]
struct Arguments {
    /// How many failures to play
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// How long the viewers watch, in minutes
    #[arg(long, default_value_t = 3.0)]
    minutes: f64,
    /// What everybody does, and what fails when, follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What the origin keeps everything in
    #[arg(long, value_enum, default_value_t = Stores::Embedded)]
    stores: Stores,
    /// On which platform the edge runs
    #[arg(long, value_enum, default_value_t = On::Workers)]
    edge: On,
    /// How many watch
    #[arg(long, default_value_t = 2_000)]
    viewers: usize,
    /// How often each of them does something, in milliseconds
    #[arg(long, default_value_t = 5_000)]
    cadence_ms: u64,
    /// The folder for the report
    #[arg(long, default_value = "target/drill")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Stores {
    /// One origin with everything in one folder
    Embedded,
    /// The roles apart, over Cassandra and Redis
    Cassandra,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum On {
    Workers,
    Spin,
}

/// A drill of so many minutes has the time to wait for a lease to run out.
const LONG: Duration = Duration::from_secs(120);

/// Told to end.
static OVER: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match watch_for_signals().and_then(|()| drill(&arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Ctrl-C reaches us and not all that we have started: we end the ordinary way, which ends it.
fn watch_for_signals() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    thread::Builder::new().spawn(move || {
        runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            OVER.store(true, Ordering::Relaxed);
        });
    })?;
    Ok(())
}

/// Whether nothing is lost and nothing is wrong.
fn drill(arguments: &Arguments) -> Result<bool> {
    ensure!(arguments.minutes > 0.0 && arguments.viewers > 0, "without time or viewers nothing is shown");
    let kind = if arguments.edge == On::Workers { Kind::Workers } else { Kind::Spin };
    let lasting = Duration::from_secs_f64(arguments.minutes * 60.0);
    say("starting what is drilled");
    let mut parts = match arguments.stores {
        Stores::Embedded => Parts::embedded(kind)?,
        Stores::Cassandra => Parts::apart(kind)?,
    };
    let url = parts.edge_url()?;
    let failures = plan::failures(arguments.seed, arguments.kills, lasting, &parts.that_can_fail());
    let crowd = Crowd::new(&crowd::Options {
        seed: arguments.seed,
        viewers: arguments.viewers,
        cadence: Duration::from_millis(arguments.cadence_ms),
    })?;
    let silent = (lasting >= LONG).then(|| Silent::new(&url)).transpose()?;

    let measured = Measured::new();
    let (done, all_played) = (AtomicBool::new(false), AtomicBool::new(false));
    // A Cassandra that takes its time over starting prolongs the drill: everybody watches until all have failed.
    let is_over = || measured.began.elapsed() >= lasting && all_played.load(Ordering::Relaxed);
    let played = thread::scope(|scope| {
        let playing = scope.spawn(|| {
            let tell = |failure: &plan::Failure| say(&format!("{} {}", failure.part, failure.how));
            let played = parts.play(measured.began, &failures, &OVER, tell);
            all_played.store(true, Ordering::Relaxed);
            if played.is_err() {
                OVER.store(true, Ordering::Relaxed);
            }
            played
        });
        scope.spawn(|| progress::show(&measured, lasting, &done));
        crowd.watch(&url, &is_over, Duration::from_millis(arguments.cadence_ms), &measured);
        done.store(true, Ordering::Relaxed);
        playing.join().unwrap_or_else(|_| bail!("the failures could not be played"))
    })?;
    if OVER.load(Ordering::Relaxed) {
        bail!("told to end");
    }

    let members = crowd.members();
    let title = format!(
        "Drill: {} viewers, {} failures in {:.0} s, seed {}, {kind} edge, {:?} stores",
        arguments.viewers,
        played.len(),
        lasting.as_secs_f64(),
        arguments.seed,
        arguments.stores
    );
    let settings = json!({
        "seed": arguments.seed, "viewers": arguments.viewers, "minutes": arguments.minutes, "kills": arguments.kills,
        "cadence_ms": arguments.cadence_ms, "edge": kind.to_string(),
        "stores": format!("{:?}", arguments.stores).to_lowercase(),
    });
    let mut report = Report::new(title, settings, &members);
    report.lasted = measured.began.elapsed();
    report.seconds = measured.seconds();
    let disturbed = played.last().map_or(measured.began, |last| measured.began + last.mended);
    report.played = played;
    judge(&parts, &url, &members, silent, disturbed, &mut report)?;
    report.write(&arguments.out)?;
    print!("{}", report.text());
    if !report.is_good() {
        say(&parts.last_words());
    }
    Ok(report.is_good())
}

/// Asks from outside: first an edge that holds nothing, so that all is the origin's, then the one that took it.
fn judge(
    parts: &Parts,
    url: &str,
    members: &[crowd::Member],
    mut silent: Option<Silent>,
    disturbed: Instant,
    report: &mut Report,
) -> Result<()> {
    if let Some(silent) = &mut silent {
        silent.last_beat();
    }
    let another = parts.another_edge()?;
    for (name, url) in [("origin", another.url()), ("edge", url.to_owned())] {
        say(&format!("asking the {name}"));
        let waiting = |left| say(&format!("{left} profiles still have something to come, or wrong"));
        report.verdicts.push((name, verdict::of(&url, members, waiting)));
        if OVER.load(Ordering::Relaxed) {
            bail!("told to end");
        }
    }
    if let Some(silent) = &silent {
        say("waiting for the stream of a crashed device to be gone");
        report.silent = Some(silent.gone_after(disturbed).map_err(|error| format!("{error:#}")));
    }
    Ok(())
}
