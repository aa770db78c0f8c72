//! What was measured: a table for people, a file for machines.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) baseline: Option<f64>,
    pub(crate) unit: &'static str,
    /// `value` by `baseline`; the median of the rounds' ratios, which is not the ratio of the medians.
    pub(crate) ratio: Option<f64>,
    pub(crate) goal: Option<f64>,
    pub(crate) holds: Option<bool>,
    /// What to know when reading it.
    #[serde(skip)]
    pub(crate) note: String,
}

impl Figure {
    /// Measured in turns with its baseline; the goal, if any, is the least ratio.
    pub(crate) fn beside(name: impl Into<String>, unit: &'static str, turns: &Turns, goal: Option<f64>) -> Self {
        let ratios = turns.0.iter().map(|(value, baseline)| value / baseline).collect::<Vec<_>>();
        let (least, most) = ratios.iter().fold((f64::MAX, f64::MIN), |(a, b), ratio| (a.min(*ratio), b.max(*ratio)));
        let ratio = median(ratios.into_iter());
        Self {
            name: name.into(),
            value: median(turns.0.iter().map(|turn| turn.0)),
            baseline: Some(median(turns.0.iter().map(|turn| turn.1))),
            unit,
            ratio: Some(ratio),
            goal,
            holds: goal.map(|goal| ratio >= goal),
            note: format!("{} rounds, ratios {least:.2} to {most:.2}", turns.0.len()),
        }
    }

    /// Measured alone; the goal, if any, is the most.
    pub(crate) fn alone(name: impl Into<String>, unit: &'static str, value: f64, goal: Option<f64>) -> Self {
        let holds = goal.map(|goal| value <= goal);
        Self { name: name.into(), value, baseline: None, unit, ratio: None, goal, holds, note: String::new() }
    }

    pub(crate) fn note(mut self, note: &str) -> Self {
        self.note =
            [self.note.as_str(), note].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
        self
    }
}

/// What was measured and its baseline, in turns.
#[derive(Default)]
pub(crate) struct Turns(pub(crate) Vec<(f64, f64)>);

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// Prints the table.
pub(crate) fn print(figures: &[Figure]) {
    let line = |cells: [&str; 7]| {
        let [name, value, baseline, unit, ratio, goal, rest] = cells;
        println!("{name:<34} {value:>10} {baseline:>10} {unit:<13} {ratio:>6} {goal:>8}  {rest}");
    };
    println!();
    line(["name", "value", "baseline", "unit", "ratio", "goal", "holds"]);
    for figure in figures {
        let sign = if figure.baseline.is_some() { ">=" } else { "<=" };
        let holds = figure.holds.map_or("-", |holds| if holds { "yes" } else { "MISSED" });
        line([
            &figure.name,
            &number(figure.value),
            &figure.baseline.map(number).unwrap_or_default(),
            figure.unit,
            &figure.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            &figure.goal.map(|goal| format!("{sign} {goal}")).unwrap_or_default(),
            &format!("{holds:<7} {}", figure.note),
        ]);
    }
}

fn number(value: f64) -> String {
    if value >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

/// Writes the figures into `file`.
pub(crate) fn write(figures: &[Figure], file: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(figures)?;
    std::fs::write(file, json).with_context(|| format!("{} cannot be written", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_the_least_ratio_or_the_most_of_a_value() {
        let turns = Turns(vec![(8.0, 10.0), (1.0, 10.0), (9.0, 10.0)]);
        for (goal, holds) in [(Some(0.8), Some(true)), (Some(0.81), Some(false)), (None, None)] {
            assert_eq!(Figure::beside("x", "y", &turns, goal).holds, holds);
        }
        for (goal, holds) in [(Some(0.2), Some(true)), (Some(0.19), Some(false)), (None, None)] {
            assert_eq!(Figure::alone("x", "y", 0.2, goal).holds, holds);
        }
    }
}
