//! What components can import.

use wasmtime::{
    Engine,
    component::{HasSelf, Linker, Resource},
};
use wasmtime_wasi::WasiView as _;

use crate::{bindings, capability, state::State};

/// Where the text of an error is defined, with the version that the crates of wasmtime define.
const ERROR: &str = "wasi:io/error@0.2.12";

/// Links what the actor world has, and those parts of WASI that need no capability, with HTTP.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::<State>::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    bindings::Actor::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    // Theirs tells a backtrace of the host, where `RUST_BACKTRACE` is set.
    linker.allow_shadowing(true);
    linker.instance(ERROR)?.func_wrap("[method]error.to-debug-string", |mut store, (error,)| {
        let error: Resource<wasmtime::Error> = error;
        Ok((format!("{:#}", store.data_mut().ctx().table.get(&error)?),))
    })?;
    capability::bound_requests(&mut linker)?;
    linker.allow_shadowing(false);
    Ok(linker)
}
