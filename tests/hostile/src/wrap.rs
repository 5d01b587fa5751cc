//! Components made by hand, so that each part of one can lie.

/// The parts of an actor in the component text format. All but the name and `go` have a decent default.
#[derive(Clone, Debug)]
pub struct Guest {
    /// The actor's name.
    pub name: String,
    /// The module with the memory and `realloc`.
    pub libc: String,
    /// Fields of the main module. They define `$go`, which `run` calls.
    pub main: String,
    /// The function `describe` of the main module.
    pub describe: String,
    /// The function `run` of the main module.
    pub run: String,
    /// Members of the manifest beside `interface`, `name` and `actions`, each with a comma before it.
    pub manifest: String,
    /// Fields of the component before its modules: types and imports.
    pub imports: String,
    /// Fields that lower imports or make built-ins, after the memory is there.
    pub lowered: String,
    /// What of that the main module is instantiated with, as exports of its import `more`.
    pub more: String,
    /// Options of the lifted `run`.
    pub run_options: String,
}

/// A memory of two pages, whose upper one is handed out from below and never taken back.
pub const LIBC: &str = r#"
    (memory (export "memory") 2)
    (global $top (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.set $top (i32.add (local.get $at) (local.get 3)))
      (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
        (then (drop (memory.grow (i32.add (i32.shr_u (local.get 3) (i32.const 16)) (i32.const 1))))))
      (local.get $at))"#;

/// Where the main module has its manifest.
const MANIFEST_AT: usize = 4096;

impl Guest {
    /// A guest whose `run` does what `go` does, and returns `null`.
    pub fn new(name: &str, go: &str) -> Self {
        Self {
            name: name.into(),
            libc: LIBC.into(),
            main: format!("(func $go {go})"),
            // The result is at 256: address and length.
            describe: r#"(func (export "describe") (result i32) (i32.const 256))"#.into(),
            // The result is at 272: `ok`, address and length of `null`.
            run: r#"(func (export "run") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64) (result i32)
                (call $go) (i32.const 272))"#
                .into(),
            manifest: String::new(),
            imports: String::new(),
            lowered: String::new(),
            more: String::new(),
            run_options: String::new(),
        }
    }

    /// The manifest.
    pub fn manifest(&self) -> String {
        format!(
            r#"{{"interface":"ays:actor@0.1.0","name":"{}","actions":[{{"name":"go","retry":{{"attempts":1}}}}]{}}}"#,
            self.name, self.manifest
        )
    }

    /// The component's text.
    pub fn text(&self) -> String {
        let Self { libc, main, describe, run, imports, lowered, more, run_options, .. } = self;
        let manifest = self.manifest();
        let (at, length) = (quote(&le(MANIFEST_AT)), quote(&le(manifest.len())));
        let null = format!("{}{}{}", quote(&le(0)), quote(&le(288)), quote(&le(4)));
        let manifest = quote(manifest.as_bytes());
        format!(
            r#"(component
  (import "ays:actor/types@0.1.0" (instance $types
    (type $j (record (field "id" string) (field "args" string) (field "attempt" u32) (field "cause" string)
      (field "created-at" u64)))
    (export "job" (type (eq $j)))
    (type $f (record (field "message" string) (field "retry" bool)))
    (export "failure" (type (eq $f)))
    (type $e (variant (case "invalid" string) (case "denied" string) (case "limit" string)))
    (export "error" (type (eq $e)))))
  (alias export $types "job" (type $job))
  (alias export $types "failure" (type $failure))
  (alias export $types "error" (type $error))
  (import "ays:actor/events@0.1.0" (instance $events
    (alias outer 1 $error (type $x))
    (export "error" (type $e (eq $x)))
    (type $fl (record (field "event" string) (field "action" string) (field "channel" string)
      (field "tags" (list string))))
    (export "filter" (type $filter (eq $fl)))
    (export "emit" (func (param "event" string) (param "args" string) (result (result (error $e)))))
    (export "set-filter" (func (param "filter" $filter) (param "secret" (option string))
      (result (result (error $e)))))))
  (import "ays:actor/schedules@0.1.0" (instance $schedules
    (alias outer 1 $error (type $x))
    (export "error" (type $e (eq $x)))
    (export "remove" (func (param "action" string) (result (result (error $e)))))))
  (import "ays:actor/log@0.1.0" (instance $log
    (type $l (enum "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $l)))
    (export "log" (func (param "level" $level) (param "message" string)))))
  {imports}
  (core module $libc_module {libc})
  (core instance $libc (instantiate $libc_module))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $emit (canon lower (func $events "emit") (memory $memory) (realloc $realloc)))
  (core func $set_filter (canon lower (func $events "set-filter") (memory $memory) (realloc $realloc)))
  (core func $unschedule (canon lower (func $schedules "remove") (memory $memory) (realloc $realloc)))
  (core func $say (canon lower (func $log "log") (memory $memory)))
  {lowered}
  (core module $main_module
    (import "libc" "memory" (memory 1))
    (import "host" "emit" (func $emit (param i32 i32 i32 i32 i32)))
    (import "host" "set-filter" (func $set_filter (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "unschedule" (func $unschedule (param i32 i32 i32)))
    (import "host" "log" (func $log (param i32 i32 i32)))
    {main}
    {describe}
    {run}
    (data (i32.const 256) "{at}{length}")
    (data (i32.const 272) "{null}\00\00\00\00null")
    (data (i32.const {MANIFEST_AT}) "{manifest}"))
  (core instance $host
    (export "emit" (func $emit))
    (export "set-filter" (func $set_filter))
    (export "unschedule" (func $unschedule))
    (export "log" (func $say)))
  (core instance $more {more})
  (core instance $main (instantiate $main_module
    (with "libc" (instance $libc)) (with "host" (instance $host)) (with "more" (instance $more))))
  (func $describe (result string)
    (canon lift (core func $main "describe") (memory $memory) (realloc $realloc)))
  (func $run (param "action" string) (param "job" $job) (result (result string (error $failure)))
    (canon lift (core func $main "run") (memory $memory) (realloc $realloc) {run_options}))
  (export "describe" (func $describe))
  (export "run" (func $run)))"#
        )
    }

    /// The component.
    pub fn bytes(&self) -> Vec<u8> {
        assemble(&self.text())
    }
}

/// The component or module of a text.
pub fn assemble(text: &str) -> Vec<u8> {
    match wat::parse_str(text) {
        Ok(bytes) => bytes,
        Err(error) => {
            // The text is a test's own.
            #[allow(clippy::panic, reason = "a test's own text is wrong")]
            {
                panic!("{error}\n{text}")
            }
        }
    }
}

fn le(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

fn quote(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}
