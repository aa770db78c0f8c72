//! Which registers a heartbeat, or a viewer's command, moves: pure, and the only way any fact changes.

use crate::heartbeat::Heartbeat;
use crate::id::{AccountId, DeviceId, ProfileId, SessionId, TitleId};
use crate::register::{EndReason, Ended, Entry, Fact, Gone, Hidden, Latest, Register, Session, Watched};
use crate::rules::Rules;
use crate::time::{Millis, Stamp};

/// Who acts: what a verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// Who pays.
    pub account: AccountId,
    /// Who watches.
    pub profile: ProfileId,
    /// On what.
    pub device: DeviceId,
    /// How many streams the account may have at once.
    pub streams: u32,
    /// Takes a stream and leaves nothing else behind.
    pub incognito: bool,
}

/// What a viewer can ask for beside playing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Mark a title watched, or unwatched.
    MarkWatched(TitleId, bool),
    /// Take a title off continue watching, or put it back.
    Hide(TitleId, bool),
    /// Forget all that was played of a title until now.
    Forget(TitleId),
    /// Take one entry off the history.
    Delete(SessionId),
    /// End a stream of the account.
    End(SessionId, EndReason),
}

/// The registers that a heartbeat moves. The same heartbeat gives the same bytes at every edge.
pub fn heartbeat_moves(viewer: &Viewer, beat: &Heartbeat, rules: &Rules) -> Vec<Entry> {
    if viewer.incognito {
        return Vec::new();
    }
    let entry = |fact, register| Entry { account: viewer.account.clone(), fact, register };
    let profile = || viewer.profile.clone();
    let (observed, moved) = (Stamp::from(beat.observed_at), Stamp::from(beat.moved_at));
    let session = Session {
        title: beat.title.clone(),
        device: viewer.device.clone(),
        event: beat.event,
        playing: beat.playing,
        position_ms: beat.position_ms,
        duration_ms: beat.duration_ms,
        watched_ms: beat.watched_ms,
        furthest_ms: beat.furthest_ms,
        moved_at: beat.moved_at,
        series: beat.series.clone(),
    };
    let mut moves = vec![
        entry(Fact::Profile(profile()), Register::new(Stamp(0), &Gone {})),
        entry(Fact::Session(profile(), beat.session), Register::new(observed, &session)),
    ];
    if beat.watched_ms >= rules.settled_ms {
        let latest = Latest {
            position_ms: beat.position_ms,
            duration_ms: beat.duration_ms,
            device: viewer.device.clone(),
            series: beat.series.clone(),
            next_title: beat.next_title.clone(),
        };
        moves.push(entry(Fact::Latest(profile(), beat.title.clone()), Register::new(moved, &latest)));
    }
    let watched_from = rules.watched_from_ms(beat.duration_ms, beat.credits_ms);
    if watched_from.is_some_and(|from| beat.furthest_ms >= from) {
        let watched = Register::new(moved, &Watched { watched: true });
        moves.push(entry(Fact::Watched(profile(), beat.title.clone()), watched));
    }
    moves
}

/// The register that a command moves. A retry with the same `observed_at` is the same register.
pub fn command_move(viewer: &Viewer, command: Command, observed_at: Millis) -> Entry {
    let stamp = Stamp::from(observed_at);
    let profile = viewer.profile.clone();
    let (fact, register) = match command {
        Command::MarkWatched(title, watched) => {
            (Fact::Watched(profile, title), Register::new(stamp, &Watched { watched }))
        }
        Command::Hide(title, hidden) => (Fact::Hidden(profile, title), Register::new(stamp, &Hidden { hidden })),
        Command::Forget(title) => (Fact::Forgotten(profile, title), Register::new(stamp, &Gone {})),
        Command::Delete(session) => (Fact::Deleted(profile, session), Register::new(stamp, &Gone {})),
        Command::End(session, reason) => {
            (Fact::Ended(session), Register::new(stamp, &Ended { reason, by: viewer.device.clone() }))
        }
    };
    Entry { account: viewer.account.clone(), fact, register }
}
