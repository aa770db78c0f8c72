//! `spin:variables`: what was given by `--variable`, and nothing from elsewhere.

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::component::{Accessor, HasData};

use crate::bindings::spin::variables::variables::{Error, Host, HostWithStore};

/// The component's variables by name; the same for all its instances.
pub(crate) type Values = Arc<HashMap<String, String>>;

/// Names the part of an instance's state that this interface works on.
pub(crate) struct Variables;

impl HasData for Variables {
    type Data<'a> = &'a Values;
}

impl Host for &Values {}

impl<T> HostWithStore<T> for Variables {
    async fn get(store: &Accessor<T, Self>, name: String) -> wasmtime::Result<Result<String, Error>> {
        let value = store.with(|mut access| access.get().get(&name).cloned());
        Ok(value.ok_or(Error::Undefined(name)))
    }
}

/// Takes `NAME=VALUE` apart. The value may be empty and may hold more `=`.
pub(crate) fn parse(argument: &str) -> Result<(String, String), String> {
    let (name, value) = argument.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
