//! The timeline as a picture: latency and errors over time, with what failed when.

use crate::measured::Second;
use crate::plan::{How, Played};

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
/// The panels' upper and lower edges.
const LATENCY: (f64, f64) = (60.0, 290.0);
const REQUESTS: (f64, f64) = (330.0, 500.0);
const FAILURES: (f64, f64) = (530.0, 580.0);
/// The latency axis is logarithmic, from 1 ms to 30 s.
const LEAST_MS: f64 = 1.0;
const MOST_MS: f64 = 30_000.0;

/// An SVG document.
pub(crate) fn svg(title: &str, seconds: &[Second], played: &[Played]) -> String {
    let span = seconds.len().max(1) as f64;
    let x = |second: f64| LEFT + second / span * (WIDTH - LEFT - RIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} 640\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"26\" font-size=\"17\">{title}</text>\n"
    );
    let mut put = |line: String| svg.extend([line.as_str(), "\n"]);
    for failure in played {
        let (from, to) = (x(failure.began.as_secs_f64()), x(failure.mended.as_secs_f64()));
        let width = (to - from).max(1.5);
        let colour = colour(failure);
        put(format!(
            "<rect x=\"{from:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\" fill=\"{colour}\" opacity=\"0.13\"/>",
            LATENCY.0,
            REQUESTS.1 - LATENCY.0
        ));
    }
    latency(&mut put, seconds, x);
    requests(&mut put, seconds, x);
    failures(&mut put, played, x);
    let step = [5.0, 10.0, 30.0, 60.0, 120.0, 300.0].into_iter().find(|step| span / step <= 20.0).unwrap_or(600.0);
    let mut at = 0.0;
    while at <= span {
        put(format!("<text x=\"{:.1}\" y=\"625\" text-anchor=\"middle\" fill=\"#555\">{at:.0} s</text>", x(at)));
        at += step;
    }
    svg.push_str("</svg>\n");
    svg
}

fn latency(put: &mut impl FnMut(String), seconds: &[Second], x: impl Fn(f64) -> f64) {
    let y = |ms: f64| {
        let part = (ms.clamp(LEAST_MS, MOST_MS) / LEAST_MS).ln() / (MOST_MS / LEAST_MS).ln();
        LATENCY.1 - part * (LATENCY.1 - LATENCY.0)
    };
    for (ms, name) in [(1.0, "1 ms"), (10.0, "10 ms"), (100.0, "100 ms"), (1_000.0, "1 s"), (10_000.0, "10 s")] {
        grid(put, y(ms), name);
    }
    for (percent, colour, name) in [(99, "#d2691e", "p99"), (50, "#1f5fa8", "p50")] {
        // A second without an answer breaks the line.
        for run in seconds.iter().enumerate().collect::<Vec<_>>().split(|(_, second)| second.answered_ms.is_empty()) {
            let points = run.iter().map(|(at, second)| {
                format!("{:.1},{:.1}", x(*at as f64 + 0.5), y(f64::from(second.percentile_ms(percent))))
            });
            let points = points.collect::<Vec<_>>().join(" ");
            put(format!("<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"));
        }
        let at = if percent == 99 { 190.0 } else { 230.0 };
        put(format!("<text x=\"{at}\" y=\"{}\" fill=\"{colour}\">{name}</text>", LATENCY.0 - 8.0));
    }
    put(format!("<text x=\"{LEFT}\" y=\"{}\">latency of answers</text>", LATENCY.0 - 8.0));
}

fn requests(put: &mut impl FnMut(String), seconds: &[Second], x: impl Fn(f64) -> f64) {
    let of = |second: &Second| second.answered_ms.len() as f64 + f64::from(second.failed);
    let most = seconds.iter().map(of).fold(10.0, f64::max);
    let scale = (REQUESTS.1 - REQUESTS.0) / most;
    let width = (x(1.0) - x(0.0)).max(0.5);
    grid(put, REQUESTS.1, "0");
    grid(put, REQUESTS.0, &format!("{most:.0}/s"));
    for (at, second) in seconds.iter().enumerate() {
        let (answered, failed) = (second.answered_ms.len() as f64 * scale, f64::from(second.failed) * scale);
        let left = x(at as f64);
        for (base, height, colour) in [(0.0, answered, "#8fb8de"), (answered, failed, "#c62828")] {
            if height > 0.0 {
                let top = REQUESTS.1 - base - height;
                put(format!(
                    "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.2}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
                ));
            }
        }
    }
    let y = REQUESTS.0 - 8.0;
    put(format!(
        "<text x=\"{LEFT}\" y=\"{y}\">requests: <tspan fill=\"#5b93c9\">answered</tspan>, <tspan fill=\"#c62828\">not answered</tspan></text>"
    ));
}

fn failures(put: &mut impl FnMut(String), played: &[Played], x: impl Fn(f64) -> f64) {
    let mut parts: Vec<_> = Vec::new();
    for failure in played {
        if !parts.contains(&failure.failure.part) {
            parts.push(failure.failure.part);
        }
    }
    let height = (FAILURES.1 - FAILURES.0 + 20.0) / parts.len().max(1) as f64;
    for (row, part) in parts.iter().enumerate() {
        let top = FAILURES.0 + row as f64 * height;
        put(format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{part}</text>", LEFT - 8.0, top + height * 0.7));
        for failure in played.iter().filter(|played| played.failure.part == *part) {
            let (from, to) = (x(failure.began.as_secs_f64()), x(failure.mended.as_secs_f64()));
            put(format!(
                "<rect x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"><title>{} {}</title></rect>",
                (to - from).max(2.0),
                height * 0.8,
                colour(failure),
                failure.failure.part,
                failure.failure.how
            ));
        }
    }
    let y = FAILURES.0 - 8.0;
    put(format!(
        "<text x=\"{LEFT}\" y=\"{y}\">failures: <tspan fill=\"#c62828\">killed</tspan>, <tspan fill=\"#6a4fb3\">frozen</tspan>, <tspan fill=\"#b8860b\">emptied</tspan></text>"
    ));
}

fn colour(played: &Played) -> &'static str {
    match played.failure.how {
        How::Killed => "#c62828",
        How::Frozen => "#6a4fb3",
        How::Emptied => "#b8860b",
    }
}

fn grid(put: &mut impl FnMut(String), y: f64, name: &str) {
    put(format!("<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>", WIDTH - RIGHT));
    put(format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{name}</text>", LEFT - 8.0, y + 4.0));
}
