//! How long the texts of a request may be.
//!
//! A request is kept by the host until it is sent or dropped, and its texts are no part of any memory that is counted: all that
//! bounds them together is the limit of handles.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::{
    WasiHttpView as _,
    p2::bindings::http::types::{HostOutgoingRequest as _, Method, OutgoingRequest, Scheme},
};

use crate::state::State;

/// The interface whose functions are replaced, with the version that wasmtime defines.
const TYPES: &str = "wasi:http/types@0.2.12";

/// The greatest method, in bytes, as in a manifest.
const METHOD: usize = 32;
/// The greatest scheme; there are only two that lead anywhere.
const SCHEME: usize = 16;
/// The greatest authority: a name has 253 bytes at most (RFC 1035, 2.3.4), and a port follows.
const AUTHORITY: usize = 300;
/// The greatest path with its query. Servers take 8 KiB, as a rule.
const PATH: usize = 16 << 10;
/// The greatest header, all of its fields together.
pub(super) const FIELDS: usize = 32 << 10;
/// The greatest piece of a body that is kept until it is sent.
pub(super) const CHUNK: usize = 64 << 10;

/// Has the functions that keep a text of the guest's refuse those that are too long, by the error that they have for those
/// that are wrong.
pub(crate) fn bound_requests(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Of<T> = (Resource<OutgoingRequest>, T);
    let mut types = linker.instance(TYPES)?;
    types.func_wrap("[method]outgoing-request.set-method", |mut store, (request, method): Of<Method>| {
        let long = matches!(&method, Method::Other(text) if text.len() > METHOD);
        Ok((if long { Err(()) } else { store.data_mut().http().set_method(request, method)? },))
    })?;
    types.func_wrap(
        "[method]outgoing-request.set-scheme",
        |mut store, (request, scheme): Of<Option<Scheme>>| {
            let long = matches!(&scheme, Some(Scheme::Other(text)) if text.len() > SCHEME);
            Ok((if long { Err(()) } else { store.data_mut().http().set_scheme(request, scheme)? },))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut store, (request, authority): Of<Option<String>>| {
            let long = authority.as_ref().is_some_and(|text| text.len() > AUTHORITY);
            Ok((if long { Err(()) } else { store.data_mut().http().set_authority(request, authority)? },))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |mut store, (request, path): Of<Option<String>>| {
            let long = path.as_ref().is_some_and(|text| text.len() > PATH);
            Ok((if long { Err(()) } else { store.data_mut().http().set_path_with_query(request, path)? },))
        },
    )
}
