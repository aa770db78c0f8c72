//! The report: as text, as JSON, and as a picture.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::crowd::Member;
use crate::ledger::Fate;
use crate::measured::{Second, percentile};
use crate::plan::Played;
use crate::timeline;
use crate::verdict::Verdict;

/// The most that is told of what is wrong.
const TOLD: usize = 50;

/// All that came of a drill.
pub(crate) struct Report {
    /// What was drilled, with which seed.
    pub(crate) title: String,
    pub(crate) settings: Value,
    pub(crate) lasted: Duration,
    pub(crate) seconds: Vec<Second>,
    pub(crate) played: Vec<Played>,
    /// By the name of the edge that was asked.
    pub(crate) verdicts: Vec<(&'static str, Verdict)>,
    /// Heartbeats and commands by their fate.
    said: Vec<(Fate, u64, u64)>,
    /// Viewers of whom something was refused, or who did not get rid of something.
    refused: Vec<String>,
    unanswered: u64,
    /// Whether and when a crashed device's stream was gone.
    pub(crate) silent: Option<Result<Duration, String>>,
}

impl Report {
    pub(crate) fn new(title: String, settings: Value, members: &[Member]) -> Report {
        let said = [Fate::Acknowledged, Fate::Sent, Fate::Unsent].map(|fate| {
            let counts = members.iter().map(|member| member.ledger().count(fate));
            let (beats, commands) = counts.fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
            (fate, beats, commands)
        });
        Report {
            title,
            settings,
            lasted: Duration::ZERO,
            seconds: Vec::new(),
            played: Vec::new(),
            verdicts: Vec::new(),
            said: said.to_vec(),
            refused: members.iter().flat_map(|member| member.refused.clone()).collect(),
            unanswered: members.iter().map(|member| member.unanswered() as u64).sum(),
            silent: None,
        }
    }

    /// Acknowledged heartbeats of which no edge knows, nor of a newer one.
    pub(crate) fn lost(&self) -> u64 {
        self.verdicts.iter().map(|(_, verdict)| verdict.lost).max().unwrap_or_default()
    }

    fn acknowledged(&self) -> u64 {
        self.said.first().map_or(0, |(_, beats, _)| *beats)
    }

    /// Whether all is as it must be; a drill that has shown nothing is not.
    pub(crate) fn is_good(&self) -> bool {
        let compared = |verdict: &Verdict| verdict.wrong.is_empty() && verdict.entries > 0 && verdict.lost == 0;
        self.verdicts.iter().all(|(_, verdict)| compared(verdict))
            && !self.verdicts.is_empty()
            && self.acknowledged() > 0
            && self.refused.is_empty()
            && self.unanswered == 0
            && !matches!(self.silent, Some(Err(_)))
    }

    /// Writes `report.txt`, `report.json` and `timeline.svg` into `folder`.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let write = |name: &str, text: String| {
            fs::write(folder.join(name), text).with_context(|| format!("{name} cannot be written"))
        };
        write("report.txt", self.text())?;
        write("report.json", format!("{:#}\n", self.json()))?;
        write("timeline.svg", timeline::svg(&self.title, &self.seconds, &self.played))
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.title);
        let mut put = |line: String| text.extend([line.as_str(), "\n"]);
        let (latencies, failed) = self.latencies();
        put(format!(
            "requests    {} answered, {failed} not; p50 {} ms, p99 {} ms, longest {} ms",
            latencies.len(),
            percentile(&latencies, 50),
            percentile(&latencies, 99),
            percentile(&latencies, 100),
        ));
        for (fate, beats, commands) in &self.said {
            put(format!("{:<11} {beats} heartbeats, {commands} commands", word(*fate)));
        }
        put(format!("failures    {} in {:.0} s", self.played.len(), self.lasted.as_secs_f64()));
        for (edge, Verdict { entries, resume_points, lists, wrong, lost }) in &self.verdicts {
            put(format!(
                "{edge:<11} {entries} history entries, {resume_points} resume points, {lists} lists compared: {} wrong, {lost} lost",
                wrong.len()
            ));
        }
        match &self.silent {
            Some(Ok(after)) => put(format!("silence     its stream was gone after {:.1} s", after.as_secs_f64())),
            Some(Err(error)) => put(format!("silence     {error}")),
            None => {}
        }
        put(format!("refused     {}", self.refused.len()));
        put(format!("unanswered  {}", self.unanswered));
        put(format!("lost        {}\n", self.lost()));
        for Played { failure, began, mended } in &self.played {
            let (began, down) = (began.as_secs_f64(), (*mended - *began).as_secs_f64());
            put(format!("{began:>7.1} s  {:<10} {}, back after {down:.1} s", failure.part, failure.how));
        }
        let wrong = self.verdicts.iter().flat_map(|(edge, verdict)| verdict.wrong.iter().map(move |w| (*edge, w)));
        for (edge, wrong) in wrong.take(TOLD) {
            put(format!("WRONG at the {edge}: {wrong}"));
        }
        for refused in self.refused.iter().take(TOLD) {
            put(format!("REFUSED {refused}"));
        }
        text
    }

    fn json(&self) -> Value {
        let (latencies, failed) = self.latencies();
        let said = self.said.iter().map(|(fate, beats, commands)| {
            (word(*fate).to_owned(), json!({"heartbeats": beats, "commands": commands}))
        });
        let verdicts = self.verdicts.iter().map(|(edge, verdict)| {
            let verdict = json!({
                "lost": verdict.lost, "wrong": verdict.wrong, "history_entries": verdict.entries,
                "resume_points": verdict.resume_points, "continue_watching_lists": verdict.lists,
            });
            ((*edge).to_owned(), verdict)
        });
        let second = |(at, second): (usize, &Second)| {
            json!({
                "second": at, "answered": second.answered_ms.len(), "failed": second.failed,
                "p50_ms": second.percentile_ms(50), "p99_ms": second.percentile_ms(99),
            })
        };
        json!({
            "good": self.is_good(), "lost": self.lost(), "settings": self.settings,
            "lasted_ms": self.lasted.as_millis() as u64, "said": said.collect::<serde_json::Map<_, _>>(),
            "verdicts": verdicts.collect::<serde_json::Map<_, _>>(), "refused": self.refused,
            "unanswered": self.unanswered,
            "silent_stream_gone_after_ms": match &self.silent {
                Some(Ok(after)) => json!(after.as_millis() as u64),
                Some(Err(error)) => json!(error),
                None => Value::Null,
            },
            "requests": {
                "answered": latencies.len(), "failed": failed, "p50_ms": percentile(&latencies, 50),
                "p99_ms": percentile(&latencies, 99), "longest_ms": percentile(&latencies, 100),
            },
            "failures": self.played.iter().map(Played::json).collect::<Vec<_>>(),
            "timeline": self.seconds.iter().enumerate().map(second).collect::<Vec<_>>(),
        })
    }

    /// All latencies in order, and how many requests were not answered.
    fn latencies(&self) -> (Vec<u32>, u64) {
        let mut latencies: Vec<u32> = self.seconds.iter().flat_map(|second| second.answered_ms.clone()).collect();
        latencies.sort_unstable();
        (latencies, self.seconds.iter().map(|second| u64::from(second.failed)).sum())
    }
}

fn word(fate: Fate) -> &'static str {
    match fate {
        Fate::Acknowledged => "acknowledged",
        Fate::Sent => "sent only",
        Fate::Unsent => "never sent",
    }
}
