//! What is loaded, and whose jobs fail: loops, memory, handles, floods, and answers that break the canonical ABI.

use crate::{Guest, Hostile, Outcome};

pub(crate) fn corpus() -> Vec<Hostile> {
    let mut all = loops();
    all.extend(memory());
    all.extend(floods());
    all.extend(answers());
    all.extend(reallocs());
    all.extend(wasi());
    all.extend(storms());
    all
}

/// A quarter of a second of CPU time: a loop need not take longer to be stopped.
const BRIEFLY: &str = r#","limits":{"cpu_ms":250}"#;

fn guest(name: &'static str, go: &str) -> Guest {
    Guest { manifest: BRIEFLY.into(), ..Guest::new(name, go) }
}

fn fails(guest: &Guest, name: &'static str, kind: &'static str, words: &'static str) -> Hostile {
    Hostile { name, bytes: guest.bytes(), outcome: Outcome::Fails(kind, words) }
}

fn goes(name: &'static str, go: &str, kind: &'static str, words: &'static str) -> Hostile {
    fails(&guest(name, go), name, kind, words)
}

fn loops() -> Vec<Hostile> {
    vec![
        goes("loop_plain", "(loop (br 0))", "cpu", "cpu_ms"),
        goes("loop_of_calls", "(loop (call $nothing) (br 0))) (func $nothing", "cpu", "cpu_ms"),
        goes(
            "loop_indirect",
            "(loop (call_indirect $t (i32.const 0)) (br 0))) (table $t 1 funcref) (elem (i32.const 0) $nothing) (func $nothing",
            "cpu",
            "cpu_ms",
        ),
        goes(
            "loop_of_host_calls",
            "(loop (call $unschedule (i32.const 288) (i32.const 0) (i32.const 320)) (br 0))",
            "limit",
            "",
        ),
        goes(
            "fill_gigabytes",
            "(drop (memory.grow (i32.const 900))) (loop (memory.fill (i32.const 65536) (i32.const 1) (i32.const 59000000)) (br 0))",
            "cpu",
            "cpu_ms",
        ),
        goes(
            "copy_gigabytes",
            "(drop (memory.grow (i32.const 900))) (loop (memory.copy (i32.const 65536) (i32.const 131072) (i32.const 58000000)) (br 0))",
            "cpu",
            "cpu_ms",
        ),
        goes(
            "fill_tables",
            "(drop (table.grow $t (ref.null func) (i32.const 90000))) (loop (table.fill $t (i32.const 0) (ref.null func) (i32.const 90000)) (br 0))) (table $t 1 funcref) (func",
            "cpu",
            "cpu_ms",
        ),
        goes("recursion", "(call $go)", "trap", "call stack"),
        goes("mutual_recursion", "(call $other)) (func $other (call $go)", "trap", "call stack"),
        {
            let locals = "v128 ".repeat(40_000);
            goes_owned("wide_frames", format!("(local {locals}) (call $go)"), "trap", "call stack")
        },
    ]
}

fn goes_owned(name: &'static str, go: String, kind: &'static str, words: &'static str) -> Hostile {
    goes(name, &go, kind, words)
}

fn memory() -> Vec<Hostile> {
    vec![
        goes(
            "grow_page_by_page",
            "(loop (drop (memory.grow (i32.const 1))) (br 0))",
            "memory",
            "memory_bytes",
        ),
        goes("grow_at_once", "(drop (memory.grow (i32.const 16000)))", "memory", "memory_bytes"),
        goes(
            "grow_tables",
            "(loop (drop (table.grow $t (ref.null func) (i32.const 1000))) (br 0))) (table $t 1 funcref) (func",
            "limit",
            "table",
        ),
        goes("out_of_bounds", "(drop (i32.load (i32.const 0x7ffffff0)))", "trap", "out of bounds"),
        goes("null_call", "(call_indirect $t (i32.const 0))) (table $t 1 funcref) (func", "trap", ""),
        goes("divide_by_zero", "(drop (i32.div_u (i32.const 1) (i32.const 0)))", "trap", "divide by zero"),
        goes(
            "huge_string_to_the_host",
            "(drop (memory.grow (i32.const 900))) (loop (call $log (i32.const 0) (i32.const 65536) (i32.const 58000000)) (br 0))",
            "limit",
            "",
        ),
        goes(
            "string_beyond_memory",
            "(call $log (i32.const 0) (i32.const 0) (i32.const 0x7fffffff))",
            "trap",
            "out of bounds",
        ),
        goes(
            "string_that_wraps",
            "(call $log (i32.const 0) (i32.const -16) (i32.const 64))",
            "trap",
            "out of bounds",
        ),
        goes(
            "string_no_utf8",
            "(i32.store (i32.const 400) (i32.const -1)) (call $log (i32.const 0) (i32.const 400) (i32.const 4))",
            "trap",
            "utf-8",
        ),
        goes("level_that_is_none", "(call $log (i32.const 77) (i32.const 288) (i32.const 4))", "trap", ""),
        goes(
            "result_area_beyond_memory",
            "(call $emit (i32.const 288) (i32.const 4) (i32.const 288) (i32.const 4) (i32.const 0x7ffffff0))",
            "trap",
            "out of bounds",
        ),
        goes(
            "result_area_unaligned",
            "(call $emit (i32.const 288) (i32.const 4) (i32.const 288) (i32.const 4) (i32.const 321))",
            "trap",
            "aligned",
        ),
        goes(
            "list_of_a_billion_tags",
            "(call $set_filter (i32.const 288) (i32.const 4) (i32.const 288) (i32.const 4) (i32.const 288) (i32.const 0) (i32.const 0) (i32.const 1000000000) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 320))",
            "trap",
            "",
        ),
    ]
}

fn floods() -> Vec<Hostile> {
    // An event's name at 288, `null`, is its args as well.
    let emit = "(call $emit (i32.const 288) (i32.const 4) (i32.const 288) (i32.const 4) (i32.const 320))";
    let text = "(drop (memory.grow (i32.const 20))) (memory.fill (i32.const 65536) (i32.const 32) (i32.const 1000000)) (i32.store8 (i32.const 65536) (i32.const 49))";
    vec![
        goes("flood_of_events", &format!("(loop {emit} (br 0))"), "limit", "`events`"),
        goes(
            "flood_of_large_events",
            &format!(
                "{text} (loop (call $emit (i32.const 288) (i32.const 4) (i32.const 65536) (i32.const 1000000) (i32.const 320)) (br 0))"
            ),
            "limit",
            "turn_bytes",
        ),
        goes(
            "flood_of_empty_lines",
            "(loop (call $log (i32.const 1) (i32.const 0) (i32.const 0)) (br 0))",
            "limit",
            "`log_lines`",
        ),
        goes(
            "flood_of_long_lines",
            "(loop (call $log (i32.const 1) (i32.const 1024) (i32.const 60000)) (br 0))",
            "limit",
            "log_bytes",
        ),
        goes(
            "flood_of_schedules",
            "(loop (call $unschedule (i32.const 288) (i32.const 4) (i32.const 320)) (br 0))",
            "limit",
            "`changes`",
        ),
        goes(
            "flood_of_large_schedules",
            "(drop (memory.grow (i32.const 400))) (loop (call $unschedule (i32.const 65536) (i32.const 20000000) (i32.const 320)) (br 0))",
            "limit",
            "turn_bytes",
        ),
        // Event `null`, action `go`, a channel of 5000 bytes, no tags, no secret: each is refused.
        goes(
            "flood_of_filters",
            "(drop (memory.grow (i32.const 1))) (memory.fill (i32.const 65536) (i32.const 97) (i32.const 5000)) (i32.store (i32.const 690) (i32.const 0x6f67)) (loop (call $set_filter (i32.const 288) (i32.const 4) (i32.const 690) (i32.const 2) (i32.const 65536) (i32.const 5000) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 320)) (br 0))",
            "limit",
            "`changes`",
        ),
    ]
}

/// `run` as these instructions.
fn answering(name: &'static str, run: &str, kind: &'static str, words: &'static str) -> Hostile {
    let mut lying = guest(name, "");
    lying.run = format!(
        r#"(func (export "run") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64) (result i32) {run})"#
    );
    fails(&lying, name, kind, words)
}

fn answers() -> Vec<Hostile> {
    let ok = |address: &str, length: &str| {
        format!(
            "(i32.store (i32.const 400) (i32.const 0)) (i32.store (i32.const 404) (i32.const {address}))
             (i32.store (i32.const 408) (i32.const {length})) (i32.const 400)"
        )
    };
    let post = |name, body: &str, kind, words| {
        let mut lying = guest(name, "");
        lying.main += &format!(r#"(func (export "after") (param i32) {body})"#);
        lying.run_options = r#"(post-return (func $main "after"))"#.into();
        fails(&lying, name, kind, words)
    };
    vec![
        answering("answer_beyond_memory", "(i32.const 0x7ffffff0)", "trap", "out of bounds"),
        answering("answer_unaligned", "(i32.const 401)", "trap", "aligned"),
        answering(
            "answer_of_no_case",
            "(i32.store8 (i32.const 400) (i32.const 7)) (i32.const 400)",
            "trap",
            "discriminant",
        ),
        answering("answer_text_beyond_memory", &ok("0x7fff0000", "100"), "trap", "out of bounds"),
        answering("answer_text_wraps", &ok("-16", "64"), "trap", "out of bounds"),
        answering(
            "answer_text_huge",
            &format!("(drop (memory.grow (i32.const 900))) {}", ok("65536", "58000000")),
            "limit",
            "",
        ),
        answering(
            "answer_of_two_mib",
            &format!("(drop (memory.grow (i32.const 40))) {}", ok("65536", "2097152")),
            "limit",
            "data_bytes",
        ),
        answering(
            "answer_no_utf8",
            &format!("(i32.store (i32.const 500) (i32.const -1)) {}", ok("500", "4")),
            "trap",
            "utf-8",
        ),
        answering("answer_no_json", &ok("4097", "20"), "app", "not JSON"),
        answering(
            "answer_deep_json",
            &format!(
                "(drop (memory.grow (i32.const 20))) (memory.fill (i32.const 65536) (i32.const 91) (i32.const 500000)) {}",
                ok("65536", "500000")
            ),
            "app",
            "not JSON",
        ),
        answering(
            "answer_failure_beyond_memory",
            "(i32.store8 (i32.const 400) (i32.const 1)) (i32.store (i32.const 404) (i32.const 0x7fff0000)) (i32.store (i32.const 408) (i32.const 100)) (i32.const 400)",
            "trap",
            "out of bounds",
        ),
        answering(
            "answer_failure_of_ten_mib",
            "(drop (memory.grow (i32.const 200))) (i32.store8 (i32.const 400) (i32.const 1)) (i32.store (i32.const 404) (i32.const 65536)) (i32.store (i32.const 408) (i32.const 10485760)) (i32.const 400)",
            "app",
            "…",
        ),
        answering("traps", "unreachable", "trap", "unreachable"),
        post("post_return_traps", "unreachable", "trap", "unreachable"),
        post("post_return_loops", "(loop (br 0))", "cpu", "cpu_ms"),
        post(
            "post_return_calls_the_host",
            "(call $log (i32.const 0) (i32.const 288) (i32.const 4))",
            "trap",
            "leave",
        ),
    ]
}

/// `realloc` is called by the host, with the job's texts.
fn reallocs() -> Vec<Hostile> {
    // The first calls are for `describe` only if it takes texts, which it does not.
    let with = |name, realloc: &str, kind, words| {
        let mut lying = guest(name, "");
        lying.libc = format!(
            r#"(memory (export "memory") 2) (func $r (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc})"#
        );
        fails(&lying, name, kind, words)
    };
    vec![
        with("realloc_beyond_memory", "(i32.const 0x7ffffff0)", "trap", "beyond end of memory"),
        with("realloc_at_the_last_byte", "(i32.const 131071)", "trap", "beyond end of memory"),
        with("realloc_traps", "unreachable", "trap", "unreachable"),
        with("realloc_loops", "(loop (br 0)) (i32.const 0)", "cpu", "cpu_ms"),
        with(
            "realloc_recurses",
            "(call $r (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))",
            "trap",
            "call stack",
        ),
        with(
            "realloc_grows",
            "(loop (drop (memory.grow (i32.const 16))) (br 0)) (i32.const 0)",
            "memory",
            "memory_bytes",
        ),
    ]
}

fn wasi() -> Vec<Hostile> {
    // Handles of the component's own making are kept by the host.
    let mut handles = guest("flood_of_handles", "(loop (drop (call $new (i32.const 1))) (br 0))");
    handles.lowered = "(type $r (resource (rep i32))) (core func $new (canon resource.new $r))".into();
    handles.more = r#"(export "new" (func $new))"#.into();
    handles.main = format!(r#"(import "more" "new" (func $new (param i32) (result i32))) {}"#, handles.main);

    let clocks = r#"
      (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type $p (sub resource)))
        (export "[method]pollable.block" (func (param "self" (borrow $p))))))
      (alias export $poll "pollable" (type $pollable))
      (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
        (alias outer 1 $pollable (type $x)) (export "pollable" (type $p (eq $x)))
        (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))"#;
    let with_clock = |name, go: &str| {
        let mut guest = guest(name, go);
        guest.imports = clocks.into();
        guest.lowered = r#"(core func $subscribe (canon lower (func $clock "subscribe-duration")))
            (core func $block (canon lower (func $poll "[method]pollable.block")))"#
            .into();
        guest.more = r#"(export "subscribe" (func $subscribe)) (export "block" (func $block))"#.into();
        guest.main = format!(
            r#"(import "more" "subscribe" (func $subscribe (param i64) (result i32)))
               (import "more" "block" (func $block (param i32))) {}"#,
            guest.main
        );
        guest
    };
    let pollables = with_clock("flood_of_pollables", "(loop (drop (call $subscribe (i64.const 1))) (br 0))");
    let brief = |mut guest: Guest, limits: &str| {
        guest.manifest = format!(r#","limits":{{{limits}}}"#);
        guest
    };
    let year =
        with_clock("sleeps_for_a_year", "(call $block (call $subscribe (i64.const 31536000000000000)))");
    let for_ever = with_clock("sleeps_for_ever", "(call $block (call $subscribe (i64.const -1)))");
    let naps = with_clock("naps_without_end", "(loop (call $block (call $subscribe (i64.const 0))) (br 0))");
    let forged = with_clock("forged_handle", "(call $block (i32.const 12345))");

    let random = |name, go: &str| {
        let mut guest = guest(name, go);
        guest.imports = r#"(import "wasi:random/random@0.2.0" (instance $random
            (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))"#
            .into();
        guest.lowered = r#"(core func $bytes (canon lower (func $random "get-random-bytes") (memory $memory) (realloc $realloc)))"#.into();
        guest.more = r#"(export "bytes" (func $bytes))"#.into();
        guest.main = format!(r#"(import "more" "bytes" (func $bytes (param i64 i32))) {}"#, guest.main);
        guest
    };
    let much_chance = random("random_without_end", "(call $bytes (i64.const -1) (i32.const 320))");
    let more_chance =
        random("random_again_and_again", "(loop (call $bytes (i64.const 65536) (i32.const 320)) (br 0))");

    let mut exit = guest("exits", "(call $exit (i32.const 1))");
    exit.imports =
        r#"(import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))"#
            .into();
    exit.lowered = r#"(core func $exits (canon lower (func $exit "exit")))"#.into();
    exit.more = r#"(export "exit" (func $exits))"#.into();
    exit.main = format!(r#"(import "more" "exit" (func $exit (param i32))) {}"#, exit.main);

    vec![
        fails(&handles, "flood_of_handles", "limit", "handles"),
        fails(&pollables, "flood_of_pollables", "limit", "handles"),
        fails(&brief(year, r#""wall_ms":500"#), "sleeps_for_a_year", "wall", "wall_ms"),
        fails(&brief(for_ever, r#""wall_ms":500"#), "sleeps_for_ever", "wall", "wall_ms"),
        fails(&brief(naps, r#""handles":300"#), "naps_without_end", "limit", "handles"),
        fails(&forged, "forged_handle", "trap", "handle"),
        fails(&much_chance, "random_without_end", "limit", "random_bytes"),
        fails(
            &brief(more_chance, r#""memory_bytes":4194304"#),
            "random_again_and_again",
            "memory",
            "memory_bytes",
        ),
        fails(&exit, "exits", "trap", "exit(1)"),
    ]
}

/// Events that cause themselves.
fn storms() -> Vec<Hostile> {
    let storm = |name: &'static str, emits: usize, limits: &str, outcome| {
        let emit = format!(
            "(call $emit (i32.const 700) (i32.const {}) (i32.const 288) (i32.const 4) (i32.const 320))",
            name.len()
        );
        let mut guest = Guest::new(name, &emit.repeat(emits));
        guest.main += &format!(r#"(data (i32.const 700) "{name}")"#);
        guest.manifest = format!(
            r#","filters":[{{"event":"{name}","action":"go","channel":"","tags":[]}}],"limits":{{{limits}}}"#
        );
        Hostile { name, bytes: guest.bytes(), outcome }
    };
    vec![
        storm("storm", 1, "", Outcome::Buried("goes round: `storm__s go -> storm`")),
        storm(
            "storm_that_doubles",
            2,
            r#""events_per_s":1,"events":20"#,
            Outcome::Fails("limit", "events_per_s"),
        ),
        storm(
            "storm_that_multiplies",
            500,
            r#""events_per_s":100,"events":500"#,
            Outcome::Fails("limit", "events_per_s"),
        ),
    ]
}
