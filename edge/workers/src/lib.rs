//! The edge on Cloudflare Workers: convert, call the core, convert.
//!
//! The Worker stands at the door; behind it a Durable Object holds what the devices of its accounts sent. A panic
//! resets the whole instance with all of its objects, so nothing in here may panic.

mod convert;
mod host;
mod shard;
mod sql;

use std::cell::RefCell;
use std::rc::Rc;

use playhead_edge::config::{BadConfig, Config};
use playhead_edge::door::{self, LARGEST_BODY, Visitor};
use playhead_edge::problem::Problem;
use playhead_shared::time::Millis;
use worker::{Cf, Context, Date, Env, Request, Response, Result, console_log, event};

/// Accounts of a region are spread over so many objects, unless `SHARD_COUNT` says otherwise.
const SHARD_COUNT: u64 = 8;

/// What the operator has set: the core's, and how the accounts of a region are spread.
struct Settings {
    config: Config,
    shard_count: u64,
}

thread_local! {
    static SETTINGS: RefCell<Option<Rc<Settings>>> = const { RefCell::new(None) };
}

#[event(fetch)]
async fn fetch(mut request: Request, env: Env, _context: Context) -> Result<Response> {
    let Some(settings) = settings(&env) else {
        return convert::response_out(Problem::unavailable().into_response());
    };
    let head = convert::head_in(&request, &convert::AT_THE_DOOR)?;
    let mut response = match door::enter(&settings.config, &head, Millis(Date::now().as_millis())) {
        Visitor::Answered(response) => {
            // Left unread, it would close the connection before the answer is seen.
            convert::body_in(&mut request, LARGEST_BODY).await?;
            response
        }
        Visitor::Device(_, caller) => {
            let region = caller.region.clone().unwrap_or_else(|| region_of(request.cf()));
            match ask_shard(&env, &region, caller.shard(settings.shard_count), request).await {
                // The shard has made it what the device gets.
                Ok(response) => return Ok(response),
                Err(error) => {
                    console_log!("a shard did not answer: {error}");
                    Problem::unavailable().into_response()
                }
            }
        }
        // Alarms flush by themselves; asked for, the named region's shards do it at once.
        Visitor::Timer => return flush_all(&env, settings.shard_count, &request).await,
    };
    door::open_to_browsers(&settings.config, &head.headers, &mut response);
    convert::response_out(response)
}

/// Hands the request on as it came, its body unread. The shard judges it anew, and knows the token from here if the
/// two share an instance.
async fn ask_shard(env: &Env, region: &str, shard: u64, request: Request) -> Result<Response> {
    let shards = env.durable_object("SHARDS")?;
    let name = format!("{region}:{shard}");
    let stub = match location_hint(region) {
        Some(hint) => shards.get_by_name_with_location_hint(&name, hint)?,
        None => shards.get_by_name(&name)?,
    };
    stub.fetch_with_request(request).await
}

async fn flush_all(env: &Env, shard_count: u64, request: &Request) -> Result<Response> {
    let region = region_of(request.cf());
    let mut answered = Response::empty()?;
    for shard in 0..shard_count {
        // The timer's request has no body that the first could take from the others.
        answered = ask_shard(env, &region, shard, request.clone()?).await?;
    }
    Ok(answered)
}

/// The settings, read once; what is wrong with them is the operator's to read.
fn settings(env: &Env) -> Option<Rc<Settings>> {
    if let Some(settings) = SETTINGS.with_borrow(Clone::clone) {
        return Some(settings);
    }
    match config(env) {
        Ok(config) => {
            let set = env.var("SHARD_COUNT").ok().and_then(|count| count.to_string().parse().ok());
            let shard_count = set.filter(|count| *count > 0).unwrap_or(SHARD_COUNT);
            let settings = Rc::new(Settings { config, shard_count });
            SETTINGS.set(Some(Rc::clone(&settings)));
            Some(settings)
        }
        Err(bad) => {
            console_log!("this edge cannot start: {bad}");
            None
        }
    }
}

/// The core's settings: variables of the Worker, by their names in capitals.
fn config(env: &Env) -> std::result::Result<Config, BadConfig> {
    Config::from_settings(|name| env.var(&name.to_ascii_uppercase()).ok().map(|value| value.to_string()))
}

/// Where the device is, by continent; `local` where the platform does not say.
fn region_of(cf: Option<&Cf>) -> String {
    cf.and_then(Cf::continent).map_or_else(|| "local".to_owned(), |continent| continent.to_ascii_lowercase())
}

/// Where an object of that region should live, in the words of the platform.
fn location_hint(region: &str) -> Option<&'static str> {
    Some(match region {
        "af" => "afr",
        "as" => "apac",
        "eu" => "weur",
        "na" => "enam",
        "oc" => "oc",
        "sa" => "sam",
        _ => return None,
    })
}
