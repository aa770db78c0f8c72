//! What browsers ask for: who may call from which page, and what may be kept.

use playhead_tests::client::{Answer, Ask};
use playhead_tests::edge::ALLOWED_PAGE;
use playhead_tests::play::Play;
use playhead_tests::stage::Stage;

use crate::bad_tokens::every_route;

crate::cases![preflights_are_answered, answers_open_to_allowed_pages_only, reads_are_told_apart_by_their_tag];

fn words(answer: &Answer, header: &str) -> Vec<String> {
    let mut words: Vec<String> = answer.header(header).split(',').map(|word| word.trim().to_lowercase()).collect();
    words.sort();
    words.retain(|word| !word.is_empty());
    words
}

fn preflights_are_answered(stage: &Stage) {
    let nobody = stage.device("ada", "tv").showing(None);
    for route in every_route(&Play::new("film")) {
        let ask = Ask::new("OPTIONS", route.path.clone())
            .header("access-control-request-method", route.method.as_str())
            .header("access-control-request-headers", "authorization,content-type");
        let answer = nobody.send(ask.clone().header("origin", ALLOWED_PAGE));
        assert_eq!((answer.status, answer.text()), (204, String::new()), "{}", route.path);
        assert_eq!(answer.header("access-control-allow-origin"), ALLOWED_PAGE);
        assert_eq!(words(&answer, "access-control-allow-methods"), ["delete", "get", "post", "put"]);
        let allowed = words(&answer, "access-control-allow-headers");
        assert_eq!(allowed, ["authorization", "cache-control", "content-type", "if-none-match"]);
        assert!(answer.header("access-control-max-age").parse::<u32>().unwrap() >= 600);
        assert!(words(&answer, "vary").contains(&"origin".to_owned()));

        for page in ["https://watch.example.evil", "http://watch.example", "null"] {
            let answer = nobody.send(ask.clone().header("origin", page));
            let opened: Vec<_> =
                answer.headers.keys().filter(|name| name.as_str().starts_with("access-control-")).collect();
            assert!(opened.is_empty(), "{page}: {opened:?}");
            assert!(words(&answer, "vary").contains(&"origin".to_owned()));
        }
    }
}

/// Errors too: a page that cannot read why it was refused can do nothing about it.
fn answers_open_to_allowed_pages_only(stage: &Stage) {
    let device = stage.device("ada", "tv");
    let nobody = device.showing(None);
    let play = Play::new("film");
    let mut asks: Vec<(Ask, bool)> = every_route(&play).into_iter().map(|ask| (ask, true)).collect();
    asks.extend(every_route(&play).into_iter().map(|ask| (ask, false)));
    asks.push((Ask::new("GET", "/v1/nothing"), true));
    asks.push((Ask::new("GET", "/v1/heartbeats"), true));
    asks.push((Ask::new("POST", "/v1/heartbeats").body("x"), true));
    asks.push((Ask::new("GET", "/v1/history?limit=0"), true));
    for (ask, known) in asks {
        let device = if known { &device } else { &nobody };
        let what = format!("{} {} {known}", ask.method, ask.path);
        let answer = device.send(ask.clone().header("origin", ALLOWED_PAGE));
        assert_eq!(answer.header("access-control-allow-origin"), ALLOWED_PAGE, "{what}");
        assert_eq!(words(&answer, "access-control-expose-headers"), ["etag", "retry-after"], "{what}");
        assert!(words(&answer, "vary").contains(&"origin".to_owned()), "{what}");
        assert_eq!(answer.header("access-control-allow-credentials"), "", "{what}");
        for page in [Some("https://evil.example"), None] {
            let ask = page.map_or(ask.clone(), |page| ask.clone().header("origin", page));
            let answer = device.send(ask);
            assert_eq!(answer.header("access-control-allow-origin"), "", "{what}");
            assert!(words(&answer, "vary").contains(&"origin".to_owned()), "{what}");
        }
    }
}

fn reads_are_told_apart_by_their_tag(stage: &Stage) {
    let device = stage.device("ada", "tv");
    let play = Play::new("film");
    device.open(&play);
    device.beat(&[play.beat("pause", 600_000)]);
    let mut position = 600_000;
    for path in [
        "/v1/resume?titles=film",
        "/v1/resume?titles=one,two,film,three,four",
        "/v1/continue-watching",
        "/v1/history",
        "/v1/streams",
    ] {
        let first = device.send(Ask::new("GET", path));
        let tag = first.header("etag");
        assert!(tag.len() > 2 && tag.starts_with('"'), "{path}: {tag}");
        assert_eq!(first.header("cache-control"), "private, no-cache", "{path}");
        assert_eq!(words(&first, "vary"), ["authorization", "origin"], "{path}");
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}")] {
            let again = device.send(Ask::new("GET", path).header("if-none-match", known.as_str()));
            assert_eq!(
                (again.status, again.text()),
                (304, String::new()),
                "{path}: {known}, not {}",
                again.header("etag")
            );
            assert_eq!((again.header("etag"), words(&again, "vary")), (tag.clone(), words(&first, "vary")), "{path}");
            assert_eq!(again.header("cache-control"), "private, no-cache", "{path}");
        }
        // The end of the pause changes them all.
        position += 60_000;
        device.beat(&[play.beat(if position % 120_000 == 0 { "pause" } else { "resume" }, position)]);
        let changed = device.send(Ask::new("GET", path).header("if-none-match", tag.as_str()));
        assert_eq!(changed.status, 200, "{path}");
        assert_ne!(changed.header("etag"), tag, "{path}");
    }
    for ask in every_route(&play).into_iter().filter(|ask| ask.method != "GET") {
        let answer = device.send(ask.clone());
        if !answer.body.is_empty() {
            assert_eq!(answer.header("cache-control"), "no-store", "{} {}", ask.method, ask.path);
        }
    }
}
