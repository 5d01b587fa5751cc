//! What a script or a command is given: many short texts, in one buffer.

use std::fmt::Write as _;

/// A list of arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Args {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Args {
    pub(super) fn push(&mut self, arg: impl AsRef<[u8]>) -> &mut Self {
        self.bytes.extend_from_slice(arg.as_ref());
        self.ends.push(self.bytes.len());
        self
    }

    /// A number, or anything else that is written out.
    pub(super) fn show(&mut self, arg: impl std::fmt::Display) -> &mut Self {
        struct Into<'a>(&'a mut Vec<u8>);
        impl std::fmt::Write for Into<'_> {
            fn write_str(&mut self, text: &str) -> std::fmt::Result {
                self.0.extend_from_slice(text.as_bytes());
                Ok(())
            }
        }
        // Writing to a vector does not fail.
        let _ = write!(Into(&mut self.bytes), "{arg}");
        self.ends.push(self.bytes.len());
        self
    }

    pub(super) fn append(&mut self, other: &Self) -> &mut Self {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| end + from));
        self
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default())
    }

    /// A command: its name and its arguments.
    pub(super) fn command(name: &str) -> Self {
        let mut args = Self::default();
        args.push(name);
        args
    }
}

/// Arguments that follow their number.
#[derive(Clone, Debug, Default)]
pub(super) struct Section {
    count: usize,
    args: Args,
}

impl Section {
    /// One more; its parts are to be pushed.
    pub(super) fn one(&mut self) -> &mut Args {
        self.count += 1;
        &mut self.args
    }

    pub(super) fn into(self, args: &mut Args) {
        args.show(self.count).append(&self.args);
    }
}
