//! A job's args as the parameters of an action.

use std::{borrow::Cow, collections::BTreeMap};

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::{Error, Job, Result};

/// The args of a job whose action has parameters of its own. `#[actor]` writes the calls.
pub struct Args<'a> {
    job: &'a Job,
    /// The action with its parameters, for messages.
    signature: &'a str,
    names: &'a [&'a str],
    values: Vec<Option<&'a RawValue>>,
}

impl<'a> Args<'a> {
    /// Splits the args: a list has one for each of `names`, in that order; an object has them by name.
    ///
    /// # Errors
    /// If the args are neither, or a list of more.
    pub fn read(job: &'a Job, signature: &'a str, names: &'a [&'a str]) -> Result<Self> {
        let text = job.args_json();
        let mut args = Self { job, signature, names, values: Vec::new() };
        if text.trim_start().starts_with('{') {
            // Borrowed where it can be; a name with an escape in it cannot.
            let mut members: BTreeMap<Cow<'a, str>, &'a RawValue> =
                serde_json::from_str(text).map_err(|error| args.wrong(error))?;
            args.values = names.iter().map(|name| members.remove(*name)).collect();
        } else {
            let items: Vec<&'a RawValue> = serde_json::from_str(text).map_err(|error| args.wrong(error))?;
            if items.len() > names.len() {
                return Err(args.wrong(format_args!("{} are too many", items.len())));
            }
            args.values = items.into_iter().map(Some).collect();
        }
        Ok(args)
    }

    /// The arg at this position. An `optional` one may be missing.
    ///
    /// # Errors
    /// If it is missing or of another type.
    pub fn take<T: DeserializeOwned>(&self, nth: usize, optional: bool) -> Result<T> {
        let name = self.names.get(nth).copied().unwrap_or_default();
        let text = match self.values.get(nth).copied().flatten() {
            Some(value) => value.get(),
            None if optional => "null",
            None => return Err(self.wrong(format_args!("`{name}` is missing"))),
        };
        serde_json::from_str(text).map_err(|error| self.wrong(format_args!("`{name}`: {error}")))
    }

    fn wrong(&self, why: impl std::fmt::Display) -> Error {
        let (signature, shown) = (self.signature, self.job.shown_args());
        Error::fatal(format_args!("the job's args do not fit {signature}: {why}; they are {shown}"))
    }
}
