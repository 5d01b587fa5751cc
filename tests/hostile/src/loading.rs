//! What is refused, or does no harm, before it runs: bytes that are no actor, forged manifests, proposals that are off,
//! `describe` and `start` functions that misbehave.

use wasm_encoder::{ComponentSection as _, CustomSection};

use crate::{Guest, Hostile, assemble, refused};

pub(crate) fn corpus() -> Vec<Hostile> {
    let mut all = bytes();
    all.extend(worlds());
    all.extend(manifests());
    all.extend(starts());
    all.extend(proposals());
    all
}

fn bytes() -> Vec<Hostile> {
    let whole = Guest::new("truncated", "").bytes();
    let mut flipped = whole.clone();
    // In the middle of a module's code: the lengths no longer fit.
    let at = flipped.len() / 2;
    flipped.iter_mut().skip(at).take(16).for_each(|byte| *byte = !*byte);
    vec![
        refused("empty", b"", "not WebAssembly"),
        refused("text", b"hello", "not WebAssembly"),
        refused("module", b"\0asm\x01\0\0\0", "core module"),
        refused("cwasm", b"\x7fELF\x02\x01\x01\0 code that was compiled elsewhere", "compiled ahead of time"),
        refused("truncated", whole.get(..at).unwrap_or_default(), "not a valid component"),
        refused("flipped", flipped, "not a valid component"),
        refused("odd_version", b"\0asm\xff\xff\x01\0", "not a valid component"),
        refused(
            "junk_after_header",
            b"\0asm\x0d\0\x01\0\xff\xff\xff\xff\xff\xff\xff\xff",
            "not a valid component",
        ),
    ]
}

fn worlds() -> Vec<Hostile> {
    let component = |name, text: &str, words| refused(name, assemble(text), words);
    let lifting = |name, result: &str, core: &str, words| {
        let text = format!(
            r#"(component (core module $m (func (export "f") {core}))
                (core instance $i (instantiate $m))
                (func $f {result} (canon lift (core func $i "f")))
                (export "describe" (func $f)) (export "run" (func $f)))"#
        );
        refused(name, assemble(&text), words)
    };
    let importing = |name, import: &str, words| {
        let mut guest = Guest::new(name, "");
        guest.imports = import.into();
        refused(name, guest.bytes(), words)
    };
    vec![
        component("nothing", "(component)", "does not fit ays:actor"),
        component("only_types", "(component (type (func)))", "does not fit ays:actor"),
        lifting("wrong_result", "(result u32)", "(result i32) (i32.const 0)", "does not fit ays:actor"),
        lifting("no_result", "", "", "does not fit ays:actor"),
        importing(
            "unknown_import",
            r#"(import "evil:host/shell@1.0.0" (instance (export "run" (func (param "command" string)))))"#,
            "evil:host/shell",
        ),
        importing(
            "odd_wasi",
            r#"(import "wasi:cli/environment@9.0.0" (instance (export "get-environment" (func (result (list (tuple string string)))))))"#,
            "wasi:cli/environment@9.0.0",
        ),
        importing(
            "old_wasi",
            r#"(import "wasi:cli/environment@0.1.0" (instance (export "get-environment" (func (result u32)))))"#,
            "wasi:cli/environment@0.1.0",
        ),
        importing(
            "lying_import",
            r#"(import "ays:actor/service@0.1.0" (instance (export "key" (func (result u64)))))"#,
            "ays:actor/service",
        ),
        importing("import_of_a_module", r#"(import "module" (core module))"#, "does not fit ays:actor"),
    ]
}

/// A decent guest with this text as its section `ays:manifest`.
fn with_section(name: &'static str, text: &str, words: &'static str) -> Hostile {
    let mut bytes = Guest::new(name, "").bytes();
    let section = CustomSection { name: "ays:manifest".into(), data: text.as_bytes().into() };
    section.append_to_component(&mut bytes);
    refused(name, bytes, words)
}

fn manifests() -> Vec<Hostile> {
    // The text that `describe` returns, where the default manifest is.
    let says = |name: &'static str, json: &str, words| {
        let mut guest = Guest::new(name, "");
        let bytes: String = json.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        guest.libc = guest.libc.replacen("\") 2)", "\") 40)", 1);
        guest.main += &format!(
            r#"(data (i32.const 131072) "{bytes}")
               (func $set (i32.store (i32.const 300) (i32.const 131072)) (i32.store (i32.const 304) (i32.const {})))"#,
            json.len()
        );
        guest.describe = r#"(func (export "describe") (result i32) (call $set) (i32.const 300))"#.into();
        refused(name, guest.bytes(), words)
    };
    let answers = |name: &'static str, describe: &str, words| {
        let mut guest = Guest::new(name, "");
        guest.describe = describe.into();
        refused(name, guest.bytes(), words)
    };
    let at = |address: &str, length: &str| {
        format!(
            r#"(func (export "describe") (result i32)
                (i32.store (i32.const 300) (i32.const {address})) (i32.store (i32.const 304) (i32.const {length}))
                (i32.const 300))"#
        )
    };
    vec![
        {
            // Each item takes the host forty times its length, were it read.
            let section = format!("[{}0]", "{\"\":0},".repeat(300_000));
            with_section("manifest_section_bomb", &section, "1048576 are the most")
        },
        with_section(
            "manifest_section_twofold",
            r#"{"interface":"ays:actor@0.1.0","name":"manifest_section_twofold","actions":[{"name":"go","retry":{"attempts":1}}],"actions":[{"name":"go","retry":{"attempts":1}}]}"#,
            "its manifest is forged",
        ),
        says("manifest_no_json", "hello", "its manifest is wrong"),
        says("manifest_empty", "", "its manifest is wrong"),
        says("manifest_list", "[]", "its manifest is wrong"),
        says("manifest_deep", &"[".repeat(100_000), "its manifest is wrong"),
        says(
            "manifest_of_another_interface",
            r#"{"interface":"evil:actor@9.0.0","name":"x","actions":[]}"#,
            "this host offers ays:actor",
        ),
        says(
            "manifest_bad_name",
            r#"{"interface":"ays:actor@0.1.0","name":"../../etc/passwd","actions":[]}"#,
            "its manifest is wrong",
        ),
        says(
            "manifest_bad_action",
            r#"{"interface":"ays:actor@0.1.0","name":"x","actions":[{"name":"a\u0000b"}]}"#,
            "its manifest is wrong",
        ),
        says(
            "manifest_huge_number",
            r#"{"interface":"ays:actor@0.1.0","name":"x","actions":[],"limits":{"cpu_ms":1e400}}"#,
            "its manifest is wrong",
        ),
        says(
            "manifest_bomb_regex",
            r#"{"interface":"ays:actor@0.1.0","name":"x","actions":[],"schema":[{"name":"a","type":"str","regex":"((((a{999}){999}){999}){999})"}]}"#,
            "its manifest is wrong",
        ),
        says(
            "manifest_of_another_actor",
            r#"{"interface":"ays:actor@0.1.0","name":"probe","actions":[]}"#,
            "was loaded from",
        ),
        answers("manifest_out_of_bounds", &at("0x7fff0000", "100"), "out of bounds"),
        answers("manifest_huge_length", &at("0", "0x7fffffff"), "its `describe` failed"),
        answers("manifest_of_two_mib", &at("0", "2097152"), "out of bounds"),
        answers(
            "manifest_no_utf8",
            r#"(func (export "describe") (result i32) (i32.store (i32.const 400) (i32.const -1))
            (i32.store (i32.const 300) (i32.const 400)) (i32.store (i32.const 304) (i32.const 4)) (i32.const 300))"#,
            "its `describe` failed",
        ),
        answers(
            "manifest_unaligned",
            r#"(func (export "describe") (result i32) (i32.const 257))"#,
            "its `describe` failed",
        ),
        answers(
            "describe_loops",
            r#"(func (export "describe") (result i32) (loop (br 0)) (i32.const 256))"#,
            "CPU time",
        ),
        answers("describe_traps", r#"(func (export "describe") (result i32) unreachable)"#, "unreachable"),
        answers(
            "describe_recurses",
            r#"(func $d (export "describe") (result i32) (call $d) (drop) (i32.const 256))"#,
            "call stack",
        ),
        answers(
            "describe_emits",
            r#"(func (export "describe") (result i32) (call $emit (i32.const 288) (i32.const 4) (i32.const 288) (i32.const 4) (i32.const 320)) (i32.const 256))"#,
            "while no job",
        ),
        answers(
            "describe_logs_a_flood",
            r#"(func (export "describe") (result i32) (loop (call $log (i32.const 0) (i32.const 0) (i32.const 60000)) (br 0)) (i32.const 256))"#,
            "its `describe` failed",
        ),
    ]
}

fn starts() -> Vec<Hostile> {
    let starting = |name: &'static str, main: &str, words| {
        let mut guest = Guest::new(name, "");
        guest.main += main;
        refused(name, guest.bytes(), words)
    };
    let libc = |name: &'static str, memory: &str, words| {
        let mut guest = Guest::new(name, "");
        guest.libc = guest.libc.replacen("(memory (export \"memory\") 2)", memory, 1);
        refused(name, guest.bytes(), words)
    };
    let also = |name: &'static str, module: &str, copies: usize, words| {
        let mut guest = Guest::new(name, "");
        guest.lowered =
            format!("(core module $x {module}) {}", "(core instance (instantiate $x))".repeat(copies));
        refused(name, guest.bytes(), words)
    };
    vec![
        starting("start_loops", "(func $s (loop (br 0))) (start $s)", "CPU time"),
        starting("start_traps", "(func $s unreachable) (start $s)", "unreachable"),
        starting(
            "start_grows",
            "(func $s (loop (drop (memory.grow (i32.const 1))) (br 0))) (start $s)",
            "memory_bytes",
        ),
        starting("data_out_of_bounds", "(data (i32.const 0x7fffffff) \"x\")", "out of bounds"),
        starting("elements_out_of_bounds", "(table 1 funcref) (elem (i32.const 1000) $go)", "out of bounds"),
        libc("memory_of_half_a_gib", "(memory (export \"memory\") 8192)", "memory_bytes"),
        libc("memory_of_four_gib", "(memory (export \"memory\") 65536)", "more than any component may have"),
        also("many_memories", "(memory 1)", 10, "memories"),
        also("many_instances", "", 60, "instances"),
        also("many_tables", &"(table 1 funcref)".repeat(8), 5, "tables"),
        also("huge_table", "(table 50000000 funcref)", 1, "table"),
    ]
}

/// What `docs/sandbox.md` says is off, is off.
fn proposals() -> Vec<Hostile> {
    let module = |name, module: &str| {
        let text = format!("(component (core module {module}))");
        refused(name, assemble(&text), "not a valid component")
    };
    let component = |name, text: &str| refused(name, assemble(text), "not a valid component");
    vec![
        module("proposal_threads", "(memory 1 1 shared) (func (drop (i32.atomic.load (i32.const 0))))"),
        module("proposal_memory64", "(memory i64 1)"),
        module("proposal_multi_memory", "(memory 1) (memory 1)"),
        module("proposal_custom_page_sizes", "(memory 1 (pagesize 1))"),
        module(
            "proposal_relaxed_simd",
            "(func (param v128 v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 1)))",
        ),
        module("proposal_tail_call", "(func $f (return_call $f))"),
        module("proposal_exceptions", "(tag $t) (func (throw $t))"),
        module("proposal_gc", "(type (struct (field i32)))  (func (result (ref 0)) (struct.new_default 0))"),
        module(
            "proposal_function_references",
            "(type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0)))",
        ),
        module("proposal_externref", "(func (param externref))"),
        module(
            "proposal_wide_arithmetic",
            "(func (param i64 i64 i64 i64) (result i64 i64) (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3)))",
        ),
        module(
            "proposal_stack_switching",
            "(type $f (func)) (type $c (cont $f)) (func (param (ref $c)) (resume $c (local.get 0)))",
        ),
        component(
            "proposal_component_async",
            "(component (core module $m (func (export \"f\") (result i32) (i32.const 0)) (func (export \"c\") (param i32 i32 i32) (result i32) (i32.const 0))) (core instance $i (instantiate $m)) (func (export \"f\") async (canon lift (core func $i \"f\") async (callback (func $i \"c\")))))",
        ),
        component("proposal_streams", "(component (type $s (stream u8)) (core func (canon stream.new $s)))"),
        component("proposal_error_context", "(component (type (func (param \"e\" error-context))))"),
        component("proposal_threading", "(component (core func (canon thread.available_parallelism)))"),
    ]
}
