//! What `#[actor]` and `#[derive(Schema)]` implement, and how a job gets from the host to an action.

use std::{io::Write as _, marker::PhantomData};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Job, Result, bindings, bindings::ays::actor::service as host};

/// An actor. `#[actor]` implements it.
pub trait Actor {
    /// The manifest, as JSON.
    fn describe() -> String;

    /// Runs an action: its result as JSON text.
    ///
    /// # Errors
    /// The action's, or that there is no such action.
    fn run(action: &str, job: &Job) -> Result<String>;
}

/// The data of an actor's services. `#[derive(Schema)]` implements it.
///
/// The struct's fields are the schema's. It must be `Serialize` and `Deserialize`, unless it has no fields.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what data its services have",
    label = "no schema",
    note = "add `#[derive(Serialize, Deserialize, Schema)]` to it, or `#[derive(Schema)]` if it has no fields"
)]
pub trait Schema: Sized {
    /// The fields, as JSON.
    const SCHEMA: &'static str;

    /// The service's data, from the host.
    #[doc(hidden)]
    fn load() -> Result<Self>;

    /// The data as JSON text; empty if there are none.
    #[doc(hidden)]
    fn text(&self) -> Result<String>;
}

/// What the derive's `load` does for a struct with fields.
#[doc(hidden)]
pub fn load<T: DeserializeOwned>() -> Result<T> {
    serde_json::from_str(&host::data()).map_err(|error| {
        Error::fatal(format_args!("the data of {} do not fit the actor's struct: {error}", host::key()))
    })
}

/// What the derive's `text` does for a struct with fields.
#[doc(hidden)]
pub fn text<T: Serialize>(data: &T) -> Result<String> {
    serde_json::to_string(data)
        .map_err(|error| Error::fatal(format_args!("the service's data have no JSON form: {error}")))
}

/// Runs an action that reads the data.
pub fn reading<T: Schema>(action: impl FnOnce(&T) -> Result<String>) -> Result<String> {
    action(&T::load()?)
}

/// Runs an action that may change the data, and writes them if it did.
pub fn writing<T: Schema>(action: impl FnOnce(&mut T) -> Result<String>) -> Result<String> {
    let mut data = T::load()?;
    // Not the host's text: it may order or space the same data in another way.
    let before = data.text()?;
    let result = action(&mut data)?;
    let after = data.text()?;
    if after != before {
        crate::service::set_data_json(&after)?;
    }
    Ok(result)
}

/// The failure of a job whose action the actor does not have.
pub fn unknown_action(name: &str, actions: &[&str]) -> Error {
    let actions = if actions.is_empty() { "none".into() } else { actions.join(", ") };
    Error::fatal(format_args!("no action `{name}`; the actor has {actions}"))
}

/// The manifest from its parts: of the actions and filters only those that were compiled in.
pub fn manifest(head: &str, schema: &str, actions: &[&str], filters: &[&str]) -> String {
    format!(
        r#"{head},"schema":{schema},"actions":[{}],"filters":[{}]}}"#,
        actions.join(","),
        filters.join(",")
    )
}

/// The default of a field that holds any JSON.
pub fn value_from_default<T: DeserializeOwned + Default>(json: &str) -> T {
    serde_json::from_str(json).unwrap_or_default()
}

/// What `migrate` exports: data in, data out, as JSON text.
pub fn migrated<T: Serialize>(
    from: u32,
    data: &str,
    migrate: impl FnOnce(u32, serde_json::Value) -> Result<T>,
) -> std::result::Result<String, String> {
    let data = serde_json::from_str(data).map_err(|error| format!("the data are no JSON: {error}"))?;
    let migrated = migrate(from, data).map_err(|error| error.message().to_owned())?;
    serde_json::to_string(&migrated).map_err(|error| format!("the result has no JSON form: {error}"))
}

/// What an action returned. A `Result` is found by the method of its own, all else by the trait [`Plain`].
pub struct Returned<T>(pub T);

impl<T, E> Returned<std::result::Result<T, E>> {
    /// The result as JSON text.
    ///
    /// # Errors
    /// The action's, or that the result has no JSON form.
    pub fn text(self) -> Result<String>
    where
        T: Serialize,
        E: Into<Error>,
    {
        result_text(&self.0.map_err(Into::into)?)
    }
}

/// What an action returned that is not a `Result`.
pub trait Plain {
    /// Its type.
    type Value;

    /// The result as JSON text.
    ///
    /// # Errors
    /// If it has no JSON form.
    fn text(self) -> Result<String>
    where
        Self::Value: Serialize;
}

impl<T> Plain for Returned<T> {
    type Value = T;

    fn text(self) -> Result<String>
    where
        T: Serialize,
    {
        result_text(&self.0)
    }
}

fn result_text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::fatal(format_args!("the action's result has no JSON form: {error}")))
}

/// What the host calls, for the actor `A`.
pub struct Component<A>(PhantomData<A>);

impl<A: Actor> bindings::Guest for Component<A> {
    fn describe() -> String {
        A::describe()
    }

    fn run(action: String, job: bindings::Job) -> std::result::Result<String, bindings::Failure> {
        let outcome = A::run(&action, &Job::from(job)).map_err(Error::into_failure);
        // The instance may be kept: what was printed without an end of line would appear in another job's log.
        std::io::stdout().flush().ok();
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_the_ok_value_and_all_else_is_itself() {
        assert_eq!(Returned(()).text().unwrap(), "null");
        assert_eq!(Returned(vec![1, 2]).text().unwrap(), "[1,2]");
        assert_eq!(Returned(Ok::<_, Error>("x")).text().unwrap(), r#""x""#);
        assert_eq!(
            Returned(Err::<(), _>(std::fmt::Error)).text().unwrap_err().message(),
            std::fmt::Error.to_string()
        );
    }

    #[test]
    fn an_unknown_action_names_those_there_are_and_is_not_retried() {
        let error = unknown_action("foo", &["bar", "baz"]);
        assert_eq!(error.message(), "no action `foo`; the actor has bar, baz");
        assert!(!error.retries());
    }
}
