//! What can be read of a component without compiling or running it: the manifest in its custom section, and the names of
//! what it imports and exports.

use std::ops::Range;

use wasm_encoder::{ComponentSection as _, CustomSection};
use wasmparser::{Chunk, Encoding, Parser, Payload};

/// The name of the section. Its content is the JSON text that the component's `describe` returns.
pub const NAME: &str = "ays:manifest";

/// Why a component's sections cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SectionError {
    /// The bytes are no component: a core module, a file of another kind, or cut off.
    #[error("it is not a component: {0}")]
    NotAComponent(String),
    /// There are several manifests, and no telling which counts.
    #[error("it has {0} sections `{NAME}`; one would be right")]
    Several(usize),
    /// It is not UTF-8.
    #[error("its section `{NAME}` is not text in UTF-8")]
    NotText,
}

/// A component's outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surface {
    /// The names of what it imports, in order.
    pub imports: Vec<String>,
    /// The names of what it exports, in order.
    pub exports: Vec<String>,
}

/// The manifest in a component, if it has one: JSON text as it was written there.
///
/// # Errors
/// If these bytes are no component, or there is more than one such section.
pub fn read(component: &[u8]) -> Result<Option<&str>, SectionError> {
    let mut found = Vec::new();
    walk(component, |_, payload| {
        found.extend(manifest(payload));
        Ok(())
    })?;
    match found.as_slice() {
        [] => Ok(None),
        [manifest] => std::str::from_utf8(manifest).map(Some).map_err(|_| SectionError::NotText),
        several => Err(SectionError::Several(several.len())),
    }
}

/// The component with this manifest in it, instead of any that it had. Written twice, it is the same bytes.
///
/// # Errors
/// If these bytes are no component.
pub fn write(component: &[u8], manifest_text: &str) -> Result<Vec<u8>, SectionError> {
    let mut new = Vec::with_capacity(component.len() + manifest_text.len() + 32);
    let mut kept = 0;
    walk(component, |section, payload| {
        if manifest(payload).is_some() {
            new.extend_from_slice(component.get(kept..section.start).unwrap_or_default());
            kept = section.end;
        }
        Ok(())
    })?;
    new.extend_from_slice(component.get(kept..).unwrap_or_default());
    CustomSection { name: NAME.into(), data: manifest_text.as_bytes().into() }.append_to_component(&mut new);
    Ok(new)
}

/// What a component imports and exports.
///
/// # Errors
/// If these bytes are no component.
pub fn surface(component: &[u8]) -> Result<Surface, SectionError> {
    let mut surface = Surface::default();
    walk(component, |_, payload| {
        match payload {
            Payload::ComponentImportSection(imports) => {
                for import in imports.clone() {
                    surface.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports.clone() {
                    surface.exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(surface)
}

/// The content of a section, if it is a manifest's.
fn manifest<'a>(payload: &Payload<'a>) -> Option<&'a [u8]> {
    match payload {
        Payload::CustomSection(section) if section.name() == NAME => Some(section.data()),
        _ => None,
    }
}

/// Visits the sections of the component itself, each with the bytes that it takes, head included. What it nests is not
/// entered: a manifest in there is another component's.
fn walk<'a>(
    component: &'a [u8],
    mut visit: impl FnMut(Range<usize>, &Payload<'a>) -> wasmparser::Result<()>,
) -> Result<(), SectionError> {
    let not = |why: &dyn std::fmt::Display| SectionError::NotAComponent(why.to_string());
    let mut parser = Parser::new(0);
    let mut at = 0;
    loop {
        let rest = component.get(at..).unwrap_or_default();
        let (payload, consumed) = match parser.parse(rest, true).map_err(|e| not(&e))? {
            Chunk::Parsed { payload, consumed } => (payload, consumed),
            Chunk::NeedMoreData(_) => return Err(not(&"it is cut off")),
        };
        let mut end = at + consumed;
        match &payload {
            Payload::Version { encoding: Encoding::Module, .. } => return Err(not(&"it is a core module")),
            Payload::ModuleSection { unchecked_range, .. }
            | Payload::ComponentSection { unchecked_range, .. } => {
                end += unchecked_range.len();
                if end > component.len() {
                    return Err(not(&"it is cut off"));
                }
            }
            Payload::End(_) => return Ok(()),
            _ => {}
        }
        visit(at..end, &payload).map_err(|e| not(&e))?;
        at = end;
    }
}
