//! `interface service`.

use ays_core::{JsonText, ServiceKey};

use super::{json_without_secrets, not_json, within_limit};
use crate::{
    bindings::ays::actor::{
        service::{Host, Linked},
        types::Error,
    },
    state::{Call, State},
};

impl Host for State {
    fn key(&mut self) -> wasmtime::Result<String> {
        Ok(self.call()?.service.to_string())
    }

    fn data(&mut self) -> wasmtime::Result<String> {
        Ok(self.call()?.data.as_str().to_owned())
    }

    fn set_data(&mut self, data: String) -> wasmtime::Result<Result<(), Error>> {
        let call = self.call()?;
        Ok(set_data(call, &data))
    }

    fn parent(&mut self) -> wasmtime::Result<Option<Linked>> {
        let call = self.call()?;
        Ok(call.links.parent.as_ref().map(|key| linked(call, key)))
    }

    fn producers(&mut self, role: String) -> wasmtime::Result<Vec<Linked>> {
        let call = self.call()?;
        let keys = call.links.producers.get(&role);
        Ok(keys.into_iter().flatten().map(|key| linked(call, key)).collect())
    }
}

fn set_data(call: &mut Call, text: &str) -> Result<(), Error> {
    if text == call.data.as_str() {
        return Ok(());
    }
    within_limit(call, "data", text)?;
    let (data, value) = JsonText::parse_value(text).map_err(|e| not_json("data", &e))?;
    json_without_secrets(call, "data", &value)?;
    call.manifest.schema.check(&value).map_err(Error::Invalid)?;
    call.data = data;
    call.changed = true;
    Ok(())
}

fn linked(call: &Call, key: &ServiceKey) -> Linked {
    let data = call
        .linked
        .iter()
        .find(|(of, _)| of == key)
        .map_or_else(JsonText::empty_object, |(_, data)| data.clone());
    Linked { key: key.to_string(), data: data.as_str().to_owned() }
}
