//! The optional export `migrate`: data of an older version of the schema in the form of the component's own.

use std::pin::pin;

use ays_core::{
    JsonText,
    job::{Failure, FailureKind},
    limits::beyond,
    manifest::Limits,
};
use wasmtime::component::ComponentExportIndex;

use crate::{Actor, breach, instance::new_store, meter::Metered};

/// The export's name, as `wit/actor.wit` has it.
const EXPORT: &str = "migrate";

impl Actor {
    /// Whether it exports `migrate`.
    pub fn migrates(&self) -> bool {
        self.migrate_export().is_some()
    }

    /// Has data that were written with version `from` of the schema brought into the form of this one's. It happens on an
    /// instance of its own, which has no service and no capability.
    ///
    /// # Errors
    /// If the component has no such export, or it says that it cannot, or traps, or breaches a limit, or returns no object.
    pub async fn migrate(&self, from: u32, data: &JsonText, limits: &Limits) -> Result<JsonText, Failure> {
        let Some(export) = self.migrate_export() else {
            return Err(Failure::new(FailureKind::App, "the component has no export `migrate`"));
        };
        let mut store = new_store(&self.pre, &self.clock, limits, self.limited);
        let meter = store.data().meter.clone();
        meter.begin(limits);
        let migrating = async {
            let instance = self.pre.instance_pre().instantiate_async(&mut store).await?;
            let migrate = instance
                .get_typed_func::<(u32, &str), (Result<String, String>,)>(&mut store, &export)
                .map_err(|e| e.context("its `migrate` is not as in `wit/actor.wit`"))?;
            migrate.call_async(&mut store, (from, data.as_str())).await
        };
        let returned = Metered { future: pin!(migrating), meter: &meter, timer: None }.await;
        let (migrated,) = returned.map_err(|error| breach::failure(&error, limits))?;
        let refused = |what: String| {
            Failure::new(FailureKind::App, Failure::cut(format!("migrate from version {from}: {what}")))
        };
        let text = migrated.map_err(refused)?;
        if text.len() as u64 > limits.data_bytes {
            let what = format_args!("returned {} bytes of JSON", text.len());
            return Err(refused(beyond("data_bytes", what, limits.data_bytes)));
        }
        let migrated = JsonText::parse(&text).map_err(|e| refused(format!("its result is not JSON: {e}")))?;
        if !migrated.is_object() {
            return Err(refused("its result is no object; the data's members would be right".into()));
        }
        Ok(migrated)
    }

    fn migrate_export(&self) -> Option<ComponentExportIndex> {
        self.pre.instance_pre().component().get_export_index(None, EXPORT)
    }
}
