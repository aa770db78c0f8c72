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

use http::{HeaderName, HeaderValue};
use playhead_edge::answer;
use playhead_edge::config::Config;
use playhead_edge::door::{self, LARGEST_BODY, Visitor};
use playhead_edge::problem::Problem;
use playhead_edge::token::Caller;
use playhead_shared::time::Millis;
use worker::{Cf, Context, Date, Env, Request, Response, Result, console_log, event};

/// Carries what the door found out to the object: the viewer. Only the Worker can reach an object.
const VIEWER: HeaderName = HeaderName::from_static("playhead-viewer");
/// Says how many rows the object has written since it woke, as the platform bills them.
const ROWS_WRITTEN: HeaderName = HeaderName::from_static("playhead-rows-written");
/// Accounts of a region are spread over so many objects, unless `SHARD_COUNT` says otherwise.
const SHARD_COUNT: u64 = 8;

thread_local! {
    static CONFIG: RefCell<Option<Rc<Config>>> = const { RefCell::new(None) };
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, _context: Context) -> Result<Response> {
    let Some(config) = config(&env) else {
        return convert::response_out(Problem::unavailable().into_response());
    };
    let region = region_of(request.cf());
    let (head, body) = convert::request_in(request, LARGEST_BODY).await?.into_parts();
    let asked = head.headers.clone();
    let visitor = door::enter(&config, &head, Millis(Date::now().as_millis()));
    let request = http::Request::from_parts(head, body);
    let mut response = match visitor {
        Visitor::Answered(response) => response,
        Visitor::Device(_, caller) => {
            let region = caller.region.clone().unwrap_or(region);
            let shard = caller.shard(shard_count(&env));
            ask_shard(&env, &region, shard, Some(&caller), request).await.unwrap_or_else(|error| {
                console_log!("a shard did not answer: {error}");
                Problem::unavailable().into_response()
            })
        }
        // Alarms flush by themselves; asked for, the named region's shards do it at once.
        Visitor::Timer => flush_all(&env, &region, request).await?,
    };
    door::open_to_browsers(&config, &asked, &mut response);
    convert::response_out(response)
}

async fn ask_shard(
    env: &Env,
    region: &str,
    shard: u64,
    caller: Option<&Caller>,
    mut request: answer::Request,
) -> Result<answer::Response> {
    request.headers_mut().remove(VIEWER);
    if let Some(caller) = caller {
        let value = HeaderValue::from_str(&caller.viewer_line()).map_err(|error| error.to_string())?;
        request.headers_mut().insert(VIEWER, value);
    }
    let shards = env.durable_object("SHARDS")?;
    let name = format!("{region}:{shard}");
    let stub = match location_hint(region) {
        Some(hint) => shards.get_by_name_with_location_hint(&name, hint)?,
        None => shards.get_by_name(&name)?,
    };
    convert::response_in(stub.fetch_with_request(convert::request_out(request)?).await?).await
}

async fn flush_all(env: &Env, region: &str, request: answer::Request) -> Result<answer::Response> {
    let mut answered = answer::Response::default();
    for shard in 0..shard_count(env) {
        answered = ask_shard(env, region, shard, None, request.clone()).await?;
    }
    Ok(answered)
}

/// The settings, read once; what is wrong with them is the operator's to read.
fn config(env: &Env) -> Option<Rc<Config>> {
    if let Some(config) = CONFIG.with_borrow(Clone::clone) {
        return Some(config);
    }
    let setting = |name: &str| env.var(&name.to_ascii_uppercase()).ok().map(|value| value.to_string());
    match Config::from_settings(setting) {
        Ok(config) => {
            let config = Rc::new(config);
            CONFIG.set(Some(Rc::clone(&config)));
            Some(config)
        }
        Err(bad) => {
            console_log!("this edge cannot start: {bad}");
            None
        }
    }
}

fn shard_count(env: &Env) -> u64 {
    let set = env.var("SHARD_COUNT").ok().and_then(|count| count.to_string().parse().ok());
    set.filter(|count| *count > 0).unwrap_or(SHARD_COUNT)
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
