//! What is small and makes a parser, a validator or a compiler work without end.

use wasm_encoder::{
    BlockType, CodeSection, Component, ComponentSectionId, Encode as _, ExportKind, ExportSection, Function,
    FunctionSection, Instruction, Module, NestedComponentSection, RawSection, TypeSection, ValType,
};

use crate::{Guest, Hostile, Outcome, assemble, refused};

pub(crate) fn corpus() -> Vec<Hostile> {
    vec![
        refused("bomb_br_tables", in_component(&br_tables(20, 300, 1000)), "--compile-memory"),
        refused("bomb_many_br_tables", in_component(&br_tables(1500, 20, 400)), "--compile-"),
        refused("bomb_large_functions", in_component(&large_functions(150, 10_000)), "--compile-seconds"),
        refused("bomb_one_function", in_component(&large_functions(1, 1_000_000)), "exceeds limit"),
        refused("bomb_million_functions", in_component(&many_functions(1_000_001)), "not a valid component"),
        refused("bomb_many_locals", in_component(&locals(60_000)), "too many locals"),
        refused("bomb_many_types", in_component(&many_types(1_000_001)), "not a valid component"),
        refused("bomb_many_exports", in_component(&many_exports(1_000_001)), "not a valid component"),
        refused("bomb_nested_components", nested(1000), "does not fit ays:actor"),
        refused("bomb_doubling_instances", doubling_instances(40), ""),
        refused("bomb_doubling_types", doubling_types(60), "not a valid component"),
        refused("bomb_deep_type", deep_type(1000), "not a valid component"),
        refused("bomb_huge_name", huge_name(200_000), "not a valid component"),
        refused("bomb_count_of_four_billion", count_of_four_billion(), "not a valid component"),
        refused("too_large", with_custom_section(17 << 20), "--component-size"),
        harmless("custom_section_of_eight_mib", {
            let mut bytes = Guest::new("custom_section_of_eight_mib", "").bytes();
            bytes.extend(custom_section(8 << 20));
            bytes
        }),
        harmless("data_of_four_mib", {
            let mut guest = Guest::new("data_of_four_mib", "");
            guest.libc = guest.libc.replacen("\") 2)", "\") 80)", 1);
            guest.main += &format!("(data (i32.const 131072) \"{}\")", "x".repeat(4 << 20));
            guest.bytes()
        }),
        refused(
            "data_segments_without_number",
            {
                let mut guest = Guest::new("data_segments_without_number", "");
                guest.main += &"(data (i32.const 20000) \"x\")".repeat(50_000);
                guest.bytes()
            },
            "--compile-memory",
        ),
    ]
}

fn harmless(name: &'static str, bytes: Vec<u8>) -> Hostile {
    Hostile { name, bytes, outcome: Outcome::Harmless }
}

fn in_component(module: &Module) -> Vec<u8> {
    let mut component = Component::new();
    component.section(&wasm_encoder::ModuleSection(module));
    component.finish()
}

/// `functions` times the same type and body.
fn repeated(functions: u32, body: &Function) -> Module {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    let (mut declared, mut code) = (FunctionSection::new(), CodeSection::new());
    for _ in 0..functions {
        declared.function(0);
        code.function(body);
    }
    let mut module = Module::new();
    module.section(&types).section(&declared).section(&code);
    module
}

/// Tables of branches, each with many targets.
fn br_tables(functions: u32, tables: usize, targets: usize) -> Module {
    let mut body = Function::new([]);
    let to = vec![0; targets];
    for _ in 0..tables {
        body.instruction(&Instruction::Block(BlockType::Empty));
        body.instruction(&Instruction::LocalGet(0));
        body.instruction(&Instruction::BrTable(to.as_slice().into(), 0));
        body.instruction(&Instruction::End);
    }
    body.instruction(&Instruction::LocalGet(0)).instruction(&Instruction::End);
    repeated(functions, &body)
}

/// Long functions with values that live across calls.
fn large_functions(functions: u32, length: usize) -> Module {
    let mut body = Function::new([(20, ValType::I32)]);
    for n in 0..length {
        let (from, to) = (u32::try_from(n % 20).unwrap_or(0), u32::try_from(n * 7 % 20).unwrap_or(0));
        body.instruction(&Instruction::LocalGet(from));
        body.instruction(&Instruction::Call(0));
        body.instruction(&Instruction::LocalGet(to));
        body.instruction(&Instruction::I32Add);
        body.instruction(&Instruction::LocalSet(to));
    }
    body.instruction(&Instruction::LocalGet(1)).instruction(&Instruction::End);
    repeated(functions, &body)
}

fn many_functions(functions: u32) -> Module {
    let mut body = Function::new([]);
    body.instruction(&Instruction::LocalGet(0)).instruction(&Instruction::End);
    repeated(functions, &body)
}

fn locals(number: u32) -> Module {
    let mut body = Function::new([(number, ValType::V128)]);
    body.instruction(&Instruction::LocalGet(0)).instruction(&Instruction::End);
    repeated(1, &body)
}

fn many_types(number: u32) -> Module {
    let mut types = TypeSection::new();
    for _ in 0..number {
        types.ty().function([ValType::I32], []);
    }
    let mut module = Module::new();
    module.section(&types);
    module
}

fn many_exports(number: u32) -> Module {
    let mut module = many_functions(1);
    let mut exports = ExportSection::new();
    for n in 0..number {
        exports.export(&n.to_string(), ExportKind::Func, 0);
    }
    // Out of order as well: whatever is noticed first.
    module.section(&exports);
    module
}

/// Components in components.
fn nested(depth: usize) -> Vec<u8> {
    let mut inner = Component::new();
    for _ in 0..depth {
        let mut outer = Component::new();
        outer.section(&NestedComponentSection(&inner));
        inner = outer;
    }
    inner.finish()
}

/// Each component instantiates the one before twice: two to the power of `depth` instances.
fn doubling_instances(depth: usize) -> Vec<u8> {
    let mut text = String::from("(component $c0 (core module $m (func)) (core instance (instantiate $m)))");
    for n in 1..=depth {
        let inner = n - 1;
        text += &format!(
            "(component $c{n} (alias outer 1 $c{inner} (component $c)) (instance (instantiate $c)) (instance (instantiate $c)))"
        );
    }
    assemble(&format!("(component {text} (instance (instantiate $c{depth})))"))
}

/// Each type has the one before twice.
fn doubling_types(depth: usize) -> Vec<u8> {
    let mut text = String::from("(type $t0 (tuple u8 u8))");
    for n in 1..=depth {
        let inner = n - 1;
        text += &format!("(type $t{n} (tuple $t{inner} $t{inner}))");
    }
    assemble(&format!("(component {text})"))
}

fn deep_type(depth: usize) -> Vec<u8> {
    let mut text = String::from("(type $t0 (list u8))");
    for n in 1..=depth {
        text += &format!("(type $t{n} (list $t{}))", n - 1);
    }
    assemble(&format!("(component {text})"))
}

fn huge_name(length: usize) -> Vec<u8> {
    assemble(&format!("(component (core module (func (export \"{}\"))))", "x".repeat(length)))
}

/// A section of types that says it has all that a number can say.
fn count_of_four_billion() -> Vec<u8> {
    let mut component = Component::new();
    component
        .section(&RawSection { id: ComponentSectionId::Type.into(), data: &[0xff, 0xff, 0xff, 0xff, 0x0f] });
    component.finish()
}

fn custom_section(length: usize) -> Vec<u8> {
    let mut section = vec![0];
    (length + 2).encode(&mut section);
    section.extend([1, b'x']);
    section.resize(section.len() + length, 0);
    section
}

fn with_custom_section(length: usize) -> Vec<u8> {
    let mut bytes = Component::new().finish();
    bytes.extend(custom_section(length));
    bytes
}
