//! What devices read, in the shape in which they read it.

use playhead_shared::id::{DeviceId, ProfileId, SessionId, TitleId};
use playhead_shared::moves::Viewer;
use playhead_shared::register::Session;
use playhead_shared::time::{Millis, Stamp};
use playhead_shared::title::{ContinueItem, ResumePoint};
use playhead_shared::wire::Stream;
use serde::{Serialize, Serializer};

/// `GET /v1/resume`
#[derive(Serialize)]
pub(crate) struct ResumeAnswer<'a> {
    /// In the order in which they were asked for, so that equal answers have equal tags.
    #[serde(serialize_with = "as_map")]
    pub(crate) titles: Vec<(&'a TitleId, Option<ResumePoint>)>,
    pub(crate) stale: bool,
}

fn as_map<S: Serializer>(titles: &[(&TitleId, Option<ResumePoint>)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(titles.iter().map(|(title, point)| (title, point)))
}

/// `GET /v1/continue-watching`
#[derive(Serialize)]
pub(crate) struct ContinueAnswer {
    pub(crate) items: Vec<ContinueItem>,
    pub(crate) partial: bool,
}

/// `GET /v1/history`
#[derive(Serialize)]
pub(crate) struct HistoryAnswer {
    pub(crate) entries: Vec<HistoryEntry>,
    pub(crate) cursor: Option<String>,
    pub(crate) partial: bool,
}

/// One play, as the device API has it.
#[derive(Serialize)]
pub(crate) struct HistoryEntry {
    session_id: SessionId,
    title_id: TitleId,
    series_id: Option<TitleId>,
    device: DeviceId,
    started_at: Millis,
    observed_at: Millis,
    event: &'static str,
    position_ms: u64,
    duration_ms: Option<u64>,
    watched_ms: u64,
    furthest_ms: u64,
}

impl HistoryEntry {
    pub(crate) fn of((session_id, stamp, play): (SessionId, Stamp, Session)) -> Self {
        Self {
            session_id,
            title_id: play.title,
            series_id: play.series,
            device: play.device,
            started_at: session_id.birth(),
            observed_at: stamp.millis(),
            event: play.event.word(),
            position_ms: play.position_ms,
            duration_ms: play.duration_ms,
            watched_ms: play.watched_ms,
            furthest_ms: play.furthest_ms,
        }
    }
}

/// `GET /v1/streams`
#[derive(Serialize)]
pub(crate) struct StreamsAnswer {
    pub(crate) limit: u32,
    pub(crate) streams: Vec<StreamView>,
    pub(crate) partial: bool,
}

/// A stream as a device of the account may see it: the title only if it is of its own profile, and not incognito.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StreamView {
    session_id: SessionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    title_id: Option<TitleId>,
    profile: ProfileId,
    device: DeviceId,
    started_at: Millis,
    playing: bool,
}

impl StreamView {
    pub(crate) fn of(viewer: &Viewer, stream: Stream) -> Self {
        let shown = stream.profile == viewer.profile && !stream.incognito;
        Self {
            session_id: stream.session,
            title_id: shown.then_some(stream.title),
            profile: stream.profile,
            device: stream.device,
            started_at: stream.session.birth(),
            playing: stream.playing,
        }
    }
}
