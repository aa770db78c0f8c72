//! What there is to watch.

use std::sync::LazyLock;

const MINUTE_MS: u64 = 60_000;
const FILMS: usize = 40;
const SERIES: usize = 25;
const EPISODES: usize = 8;
const SHORTS: usize = 8;
const CHANNELS: usize = 4;

/// A title, as its player describes it in every heartbeat.
#[derive(Debug)]
pub(crate) struct Title {
    pub(crate) id: String,
    /// None for live.
    pub(crate) duration_ms: Option<u64>,
    pub(crate) credits_ms: Option<u64>,
    pub(crate) series: Option<String>,
    pub(crate) next: Option<String>,
}

/// Films, series with credits markers, clips too short for a resume point, live channels.
pub(crate) static TITLES: LazyLock<Vec<Title>> = LazyLock::new(|| {
    let alone = |id: String, minutes: Option<u64>| Title {
        id,
        duration_ms: minutes.map(|minutes| minutes * MINUTE_MS),
        credits_ms: None,
        series: None,
        next: None,
    };
    let films = (0..FILMS).map(|n| alone(format!("film-{n}"), Some(85 + n as u64)));
    let episodes = (0..SERIES * EPISODES).map(|n| {
        let (series, episode) = (n / EPISODES, n % EPISODES);
        Title {
            // The credits of every other series are marked.
            credits_ms: (series % 2 == 0).then_some(41 * MINUTE_MS),
            series: Some(format!("series-{series}")),
            next: (episode + 1 < EPISODES).then(|| format!("series-{series}:{}", episode + 1)),
            ..alone(format!("series-{series}:{episode}"), Some(44))
        }
    });
    let shorts = (0..SHORTS).map(|n| alone(format!("clip-{n}"), Some(3)));
    let channels = (0..CHANNELS).map(|n| alone(format!("live-{n}"), None));
    films.chain(episodes).chain(shorts).chain(channels).collect()
});

/// The title of that id.
pub(crate) fn titled(id: &str) -> Option<&'static Title> {
    TITLES.iter().find(|title| title.id == id)
}
