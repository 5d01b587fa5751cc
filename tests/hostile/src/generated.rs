//! Actors out of arbitrary bytes: a module of wasm-smith's, whose functions `run` calls.

use arbitrary::Unstructured;
use wasm_smith::{Config, Module};
use wasmparser::{ExternalKind, FuncType, Parser, Payload, TypeRef, ValType};

use crate::Guest;

/// How many of its functions are called.
const CALLED: usize = 20;

/// The actor `g`, whose `go` calls whatever wasm-smith made of `seed`. None if that was too short, or has nothing that can
/// be called.
pub fn generated(seed: &[u8]) -> Option<Vec<u8>> {
    let module = Module::new(config(), &mut Unstructured::new(seed)).ok()?.to_bytes();
    let functions = callable(&module);
    if functions.is_empty() {
        return None;
    }
    let text = wasmprinter::print_bytes(&module).ok()?;
    let fields = text.trim_start().strip_prefix("(module")?;
    let mut guest = Guest::new("g", "");
    guest.lowered = format!("(core module $smith {fields} (core instance $smith (instantiate $smith))");
    let (mut imports, mut calls) = (String::new(), String::new());
    for (n, (name, ty)) in functions.iter().enumerate() {
        let list = |types: &[ValType]| types.iter().map(|ty| format!(" {ty}")).collect::<String>();
        guest.lowered += &format!("(alias core export $smith {name:?} (core func $s{n}))");
        guest.more += &format!("(export \"s{n}\" (func $s{n}))");
        imports += &format!(
            "(import \"more\" \"s{n}\" (func $s{n} (param{}) (result{})))",
            list(ty.params()),
            list(ty.results())
        );
        ty.params().iter().for_each(|param| calls += some(*param));
        calls += &format!("(call $s{n})");
        calls += &"drop ".repeat(ty.results().len());
    }
    guest.main = format!("{imports} (func $go {calls})");
    wat::parse_str(guest.text()).ok()
}

/// What the host has on, so that most get past validation. The rest is tried by bytes at random.
fn config() -> Config {
    Config {
        // It knows no reference types without `externref`.
        reference_types_enabled: false,
        gc_enabled: false,
        exceptions_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        memory64_enabled: false,
        relaxed_simd_enabled: false,
        wide_arithmetic_enabled: false,
        custom_page_sizes_enabled: false,
        custom_descriptors_enabled: false,
        max_imports: 0,
        max_memories: 1,
        max_memory32_bytes: 2 << 20,
        max_table_elements: 1000,
        min_types: 2,
        min_funcs: 1,
        max_instructions: 1000,
        export_everything: true,
        ..Config::default()
    }
}

/// A value of this type.
fn some(ty: ValType) -> &'static str {
    match ty {
        ValType::I32 => "(i32.const 77)",
        ValType::I64 => "(i64.const -1)",
        ValType::F32 => "(f32.const nan)",
        ValType::F64 => "(f64.const 1e300)",
        ValType::V128 => "(v128.const i64x2 1 -1)",
        ValType::Ref(_) => "(ref.null func)",
    }
}

/// The exported functions whose values have a text above.
fn callable(module: &[u8]) -> Vec<(String, FuncType)> {
    let mut types = Vec::new();
    let mut functions = Vec::new();
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload {
            Ok(Payload::TypeSection(section)) => {
                types.extend(section.into_iter_err_on_gc_types().flatten());
            }
            Ok(Payload::ImportSection(section)) => {
                functions.extend(section.into_imports().flatten().filter_map(|import| match import.ty {
                    TypeRef::Func(ty) => Some(ty),
                    _ => None,
                }));
            }
            Ok(Payload::FunctionSection(section)) => functions.extend(section.into_iter().flatten()),
            Ok(Payload::ExportSection(section)) => {
                let exports = section.into_iter().flatten().filter(|e| e.kind == ExternalKind::Func);
                found.extend(exports.filter_map(|export| {
                    let ty: &FuncType = types.get(*functions.get(export.index as usize)? as usize)?;
                    let plain = ty.params().iter().chain(ty.results()).all(|ty| match ty {
                        ValType::Ref(ty) => *ty == wasmparser::RefType::FUNCREF,
                        _ => true,
                    });
                    plain.then(|| (export.name.to_owned(), ty.clone()))
                }));
            }
            _ => {}
        }
    }
    found.truncate(CALLED);
    found
}
