//! What is going on, on standard error: a bar on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::measured::Measured;

const BAR: usize = 40;
const ON_TERMINAL: Duration = Duration::from_millis(200);
const ELSEWHERE: Duration = Duration::from_secs(10);

/// Says one line.
pub(crate) fn say(line: &str) {
    let start = if stderr().is_terminal() { "\r\x1b[K" } else { "" };
    eprintln!("{start}drill: {line}");
}

/// Shows how far the load is, until it is `done`.
pub(crate) fn show(measured: &Measured, lasting: Duration, done: &AtomicBool) {
    let terminal = stderr().is_terminal();
    let mut said = Instant::now();
    while !done.load(Ordering::Relaxed) {
        sleep(ON_TERMINAL);
        if !terminal && said.elapsed() < ELSEWHERE {
            continue;
        }
        said = Instant::now();
        let (part, (answered, failed)) =
            (measured.began.elapsed().div_duration_f64(lasting).min(1.0), measured.totals());
        let counts = format!("{answered} requests answered, {failed} not");
        if terminal {
            let full = (part * BAR as f64) as usize;
            eprint!("\r\x1b[K[{}{}] {:>3.0} %  {counts}", "#".repeat(full), ".".repeat(BAR - full), part * 100.0);
            // Nothing is lost with a bar that cannot be shown.
            let _ = stderr().flush();
        } else {
            say(&format!("{:.0} %, {counts}", part * 100.0));
        }
    }
    if terminal {
        eprintln!();
    }
}
