//! What `build.rs` generated from Spin's WIT.
#![allow(missing_docs, unreachable_pub)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
