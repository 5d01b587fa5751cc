//! What reaches for the outside: files, the environment, sockets, names, HTTP to where nobody should.
//!
//! Redirects need a server that sends them: `tests/tests/capabilities.rs` has one.

use crate::{Guest, Hostile, Outcome};

pub(crate) fn corpus() -> Vec<Hostile> {
    let mut all = environment();
    all.extend(sockets());
    all.extend(requests());
    all
}

/// Where results are put that need more room than the usual 24 bytes, and the alignment of 64-bit numbers.
const RESULT: u32 = 2048;

/// A guest that does no harm if it finds what it looks for empty.
fn harmless(guest: &Guest, name: &'static str) -> Hostile {
    Hostile { name, bytes: guest.bytes(), outcome: Outcome::Harmless }
}

/// Adds imports to a guest: those of its component, and what of them its main module calls, as `(name, lowering, type)`.
fn importing(mut guest: Guest, imports: &str, calls: &[(&str, &str, &str)]) -> Guest {
    guest.imports = imports.into();
    for (name, lowering, signature) in calls {
        let realloc = "(memory $memory) (realloc $realloc)";
        guest.lowered += &format!("(core func ${name} (canon lower (func {lowering}) {realloc}))\n");
        guest.more += &format!("(export \"{name}\" (func ${name}))\n");
        guest.main = format!("(import \"more\" \"{name}\" (func ${name} {signature}))\n{}", guest.main);
    }
    guest
}

fn environment() -> Vec<Hostile> {
    let unless_empty = "(call $get (i32.const 320)) (if (i32.ne (i32.load (i32.const 324)) (i32.const 0)) (then unreachable))";
    let empty = |name, imports: &str, lowering: &str| {
        harmless(
            &importing(Guest::new(name, unless_empty), imports, &[("get", lowering, "(param i32)")]),
            name,
        )
    };
    let of_environment = |function: &str, result: &str| {
        format!(
            r#"(import "wasi:cli/environment@0.2.0" (instance $i (export "{function}" (func (result {result})))))"#
        )
    };
    vec![
        empty(
            "reads_environment",
            &of_environment("get-environment", "(list (tuple string string))"),
            r#"$i "get-environment""#,
        ),
        empty("reads_arguments", &of_environment("get-arguments", "(list string)"), r#"$i "get-arguments""#),
        // Every path is opened from a folder that was given, and none was.
        empty(
            "reads_files",
            r#"(import "wasi:filesystem/types@0.2.0" (instance $files (export "descriptor" (type (sub resource)))))
               (alias export $files "descriptor" (type $descriptor))
               (import "wasi:filesystem/preopens@0.2.0" (instance $folders
                 (alias outer 1 $descriptor (type $x)) (export "descriptor" (type $d (eq $x)))
                 (export "get-directories" (func (result (list (tuple (own $d) string)))))))"#,
            r#"$folders "get-directories""#,
        ),
    ]
}

/// The interfaces that all sockets need. The codes of errors are numbered: `access-denied` is 1,
/// `permanent-resolver-failure` 20.
const SOCKETS: &str = r#"
    (import "wasi:sockets/network@0.2.0" (instance $network
      (export "network" (type (sub resource)))
      (type $c (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout"
        "concurrency-conflict" "not-in-progress" "would-block" "invalid-state" "new-socket-limit"
        "address-not-bindable" "address-in-use" "remote-unreachable" "connection-refused" "connection-reset"
        "connection-aborted" "datagram-too-large" "name-unresolvable" "temporary-resolver-failure"
        "permanent-resolver-failure"))
      (export "error-code" (type (eq $c)))
      (type $f (enum "ipv4" "ipv6")) (export "ip-address-family" (type (eq $f)))))
    (alias export $network "network" (type $net))
    (alias export $network "error-code" (type $code))
    (alias export $network "ip-address-family" (type $family))"#;

/// Traps unless the result at 320 is this error.
fn unless_error(code: u8) -> String {
    format!(
        "(if (i32.ne (i32.load8_u (i32.const 320)) (i32.const 1)) (then unreachable))
        (if (i32.ne (i32.load8_u (i32.const 324)) (i32.const {code})) (then unreachable))"
    )
}

fn sockets() -> Vec<Hostile> {
    // Without a socket there is nothing to connect, bind or listen on.
    let socket = |name: &'static str, protocol: &str| {
        let imports = format!(
            r#"{SOCKETS}
            (import "wasi:sockets/{protocol}@0.2.0" (instance $sockets
              (export "{protocol}-socket" (type (sub resource)))))
            (alias export $sockets "{protocol}-socket" (type $socket))
            (import "wasi:sockets/{protocol}-create-socket@0.2.0" (instance $maker
              (alias outer 1 $socket (type $sx)) (export "{protocol}-socket" (type $s (eq $sx)))
              (alias outer 1 $code (type $cx)) (export "error-code" (type $c (eq $cx)))
              (alias outer 1 $family (type $fx)) (export "ip-address-family" (type $f (eq $fx)))
              (export "create-{protocol}-socket" (func (param "address-family" $f)
                (result (result (own $s) (error $c)))))))"#
        );
        let go = format!("(call $create (i32.const 0) (i32.const 320)) {}", unless_error(1));
        let lowering = format!(r#"$maker "create-{protocol}-socket""#);
        let calls = [("create", lowering.as_str(), "(param i32 i32)")];
        harmless(&importing(Guest::new(name, &go), &imports, &calls), name)
    };
    let names = format!(
        r#"{SOCKETS}
        (import "wasi:sockets/instance-network@0.2.0" (instance $given
          (alias outer 1 $net (type $x)) (export "network" (type $n (eq $x)))
          (export "instance-network" (func (result (own $n))))))
        (import "wasi:sockets/ip-name-lookup@0.2.0" (instance $names
          (export "resolve-address-stream" (type $s (sub resource)))
          (alias outer 1 $net (type $nx)) (export "network" (type $n (eq $nx)))
          (alias outer 1 $code (type $cx)) (export "error-code" (type $c (eq $cx)))
          (export "resolve-addresses" (func (param "network" (borrow $n)) (param "name" string)
            (result (result (own $s) (error $c)))))))"#
    );
    let look_up = format!(
        "(call $resolve (call $network) (i32.const 700) (i32.const 9) (i32.const 320)) {}",
        unless_error(20)
    );
    let calls = [
        ("network", r#"$given "instance-network""#, "(result i32)"),
        ("resolve", r#"$names "resolve-addresses""#, "(param i32 i32 i32 i32)"),
    ];
    let mut looks = Guest::new("looks_names_up", &look_up);
    looks.main += r#"(data (i32.const 700) "localhost")"#;
    vec![
        socket("makes_tcp_socket", "tcp"),
        socket("makes_udp_socket", "udp"),
        harmless(&importing(looks, &names, &calls), "looks_names_up"),
    ]
}

/// What of `wasi:http` a request needs. <https://github.com/WebAssembly/wasi-http>
const HTTP: &str = r#"
    (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type $p (sub resource)))
      (export "[method]pollable.block" (func (param "self" (borrow $p))))))
    (alias export $poll "pollable" (type $pollable))
    (import "wasi:http/types@0.2.0" (instance $http
      (alias outer 1 $pollable (type $px)) (export "pollable" (type $p (eq $px)))
      (type $d (record (field "rcode" (option string)) (field "info-code" (option u16))))
      (export "DNS-error-payload" (type $dns (eq $d)))
      (type $t (record (field "alert-id" (option u8)) (field "alert-message" (option string))))
      (export "TLS-alert-received-payload" (type $tls (eq $t)))
      (type $z (record (field "field-name" (option string)) (field "field-size" (option u32))))
      (export "field-size-payload" (type $size (eq $z)))
      (type $c (variant (case "DNS-timeout") (case "DNS-error" $dns) (case "destination-not-found")
        (case "destination-unavailable") (case "destination-IP-prohibited") (case "destination-IP-unroutable")
        (case "connection-refused") (case "connection-terminated") (case "connection-timeout")
        (case "connection-read-timeout") (case "connection-write-timeout") (case "connection-limit-reached")
        (case "TLS-protocol-error") (case "TLS-certificate-error") (case "TLS-alert-received" $tls)
        (case "HTTP-request-denied") (case "HTTP-request-length-required")
        (case "HTTP-request-body-size" (option u64)) (case "HTTP-request-method-invalid")
        (case "HTTP-request-URI-invalid") (case "HTTP-request-URI-too-long")
        (case "HTTP-request-header-section-size" (option u32)) (case "HTTP-request-header-size" (option $size))
        (case "HTTP-request-trailer-section-size" (option u32)) (case "HTTP-request-trailer-size" $size)
        (case "HTTP-response-incomplete") (case "HTTP-response-header-section-size" (option u32))
        (case "HTTP-response-header-size" $size) (case "HTTP-response-body-size" (option u64))
        (case "HTTP-response-trailer-section-size" (option u32)) (case "HTTP-response-trailer-size" $size)
        (case "HTTP-response-transfer-coding" (option string))
        (case "HTTP-response-content-coding" (option string)) (case "HTTP-response-timeout")
        (case "HTTP-upgrade-failed") (case "HTTP-protocol-error") (case "loop-detected")
        (case "configuration-error") (case "internal-error" (option string))))
      (export "error-code" (type $code (eq $c)))
      (type $m (variant (case "get") (case "head") (case "post") (case "put") (case "delete") (case "connect")
        (case "options") (case "trace") (case "patch") (case "other" string)))
      (export "method" (type $method (eq $m)))
      (type $s (variant (case "HTTP") (case "HTTPS") (case "other" string)))
      (export "scheme" (type $scheme (eq $s)))
      (export "fields" (type $fields (sub resource)))
      (export "outgoing-request" (type $request (sub resource)))
      (export "request-options" (type (sub resource)))
      (export "incoming-response" (type $response (sub resource)))
      (export "future-incoming-response" (type $future (sub resource)))
      (export "[constructor]fields" (func (result (own $fields))))
      (export "[constructor]outgoing-request" (func (param "headers" (own $fields)) (result (own $request))))
      (export "[method]outgoing-request.set-scheme" (func (param "self" (borrow $request))
        (param "scheme" (option $scheme)) (result (result))))
      (export "[method]outgoing-request.set-authority" (func (param "self" (borrow $request))
        (param "authority" (option string)) (result (result))))
      (export "[method]outgoing-request.set-method" (func (param "self" (borrow $request))
        (param "method" $method) (result (result))))
      (export "[method]outgoing-request.set-path-with-query" (func (param "self" (borrow $request))
        (param "path-with-query" (option string)) (result (result))))
      (export "[method]future-incoming-response.subscribe" (func (param "self" (borrow $future))
        (result (own $p))))
      (export "[method]future-incoming-response.get" (func (param "self" (borrow $future))
        (result (option (result (result (own $response) (error $code)))))))))
    (alias export $http "error-code" (type $http_code))
    (alias export $http "outgoing-request" (type $http_request))
    (alias export $http "request-options" (type $http_options))
    (alias export $http "future-incoming-response" (type $http_future))
    (import "wasi:http/outgoing-handler@0.2.0" (instance $handler
      (alias outer 1 $http_code (type $cx)) (export "error-code" (type $c (eq $cx)))
      (alias outer 1 $http_request (type $rx)) (export "outgoing-request" (type $r (eq $rx)))
      (alias outer 1 $http_options (type $ox)) (export "request-options" (type $o (eq $ox)))
      (alias outer 1 $http_future (type $fx)) (export "future-incoming-response" (type $f (eq $fx)))
      (export "handle" (func (param "request" (own $r)) (param "options" (option (own $o)))
        (result (result (own $f) (error $c)))))))
    (import "ays:actor/capabilities@0.1.0" (instance $capabilities
      (export "denial" (func (result (option string))))))"#;

/// What of these interfaces a main module can call.
const CALLS: [(&str, &str, &str); 11] = [
    ("headers", r#"$http "[constructor]fields""#, "(result i32)"),
    ("make", r#"$http "[constructor]outgoing-request""#, "(param i32) (result i32)"),
    ("scheme", r#"$http "[method]outgoing-request.set-scheme""#, "(param i32 i32 i32 i32 i32) (result i32)"),
    (
        "authority",
        r#"$http "[method]outgoing-request.set-authority""#,
        "(param i32 i32 i32 i32) (result i32)",
    ),
    (
        "path",
        r#"$http "[method]outgoing-request.set-path-with-query""#,
        "(param i32 i32 i32 i32) (result i32)",
    ),
    ("method", r#"$http "[method]outgoing-request.set-method""#, "(param i32 i32 i32 i32) (result i32)"),
    ("handle", r#"$handler "handle""#, "(param i32 i32 i32 i32)"),
    ("subscribe", r#"$http "[method]future-incoming-response.subscribe""#, "(param i32) (result i32)"),
    ("block", r#"$poll "[method]pollable.block""#, "(param i32)"),
    ("answer", r#"$http "[method]future-incoming-response.get""#, "(param i32 i32)"),
    ("denial", r#"$capabilities "denial""#, "(param i32)"),
];

/// Hands over a request of `http://AUTHORITY/` in the local `$request`; what comes of it is at [`RESULT`].
fn sending(authority: &str) -> String {
    format!(
        "(local.set $request (call $make (call $headers)))
        (drop (call $scheme (local.get $request) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))
        (drop (call $authority (local.get $request) (i32.const 1) (i32.const 700) (i32.const {})))
        (drop (call $path (local.get $request) (i32.const 1) (i32.const 699) (i32.const 1)))
        (call $handle (local.get $request) (i32.const 0) (i32.const 0) (i32.const {RESULT}))",
        authority.len()
    )
}

/// The texts for [`sending`], at 699.
fn authority_data(authority: &str) -> String {
    format!("(data (i32.const 699) \"/{authority}\")")
}

/// Requests `http://AUTHORITY/`, traps if it is answered, and fails with what the host says of the denial.
fn requesting(name: &'static str, authority: &str, asks: bool, words: &'static str) -> Hostile {
    let mut guest = Guest::new(
        name,
        &format!(
            "(local $request i32) (local $future i32)
            {} (if (i32.load8_u (i32.const {RESULT})) (then return))
            (local.set $future (i32.load offset=8 (i32.const {RESULT})))
            (call $block (call $subscribe (local.get $future)))
            (call $answer (local.get $future) (i32.const {RESULT}))
            (if (i32.and (i32.load8_u (i32.const {RESULT}))
                  (i32.eqz (i32.or (i32.load8_u offset=8 (i32.const {RESULT}))
                    (i32.load8_u offset=16 (i32.const {RESULT})))))
              (then unreachable))",
            sending(authority)
        ),
    );
    guest.main += &authority_data(authority);
    guest.run = r#"(func (export "run") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64) (result i32)
        (call $go)
        (call $denial (i32.const 320))
        (i32.store8 (i32.const 400) (i32.const 1))
        (i32.store (i32.const 404) (i32.load (i32.const 324)))
        (i32.store (i32.const 408) (i32.load (i32.const 328)))
        (i32.const 400))"#
        .into();
    if asks {
        guest.manifest = r#","capabilities":["http http://*:*"]"#.into();
    }
    let bytes = importing(guest, HTTP, &CALLS).bytes();
    Hostile { name, bytes, outcome: Outcome::Fails("denied", words) }
}

/// 31 MB of `a`, from 65536 on.
const LONG_TEXT: &str = "(drop (memory.grow (i32.const 500)))
    (memory.fill (i32.const 65536) (i32.const 97) (i32.const 31000000))";

/// Makes twenty requests, and has the host keep a long text with each of them, unless it refuses.
fn keeping(name: &'static str, keep: &str) -> Hostile {
    let go = format!(
        "(local $left i32) {LONG_TEXT} (local.set $left (i32.const 20))
        (loop
          (if (i32.eqz ({keep})) (then unreachable))
          (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))"
    );
    harmless(&importing(Guest::new(name, &go), HTTP, &CALLS), name)
}

/// Makes thirty resources of the host's with each job, keeps them, and traps with the fourth job of the same instance.
pub fn keeping_resources() -> Vec<u8> {
    let go = "(local $left i32)
        (global.set $jobs (i32.add (global.get $jobs) (i32.const 1)))
        (if (i32.eq (global.get $jobs) (i32.const 4)) (then unreachable))
        (local.set $left (i32.const 30))
        (loop (drop (call $headers)) (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))";
    let mut guest = Guest::new("keeps", go);
    guest.main += "(global $jobs (mut i32) (i32.const 0))";
    importing(guest, HTTP, &CALLS).bytes()
}

/// Has sixteen names looked up, waits for a millisecond, and gives up: a hundred times.
pub fn looking_up() -> Vec<u8> {
    const NAME: &str = "name.invalid";
    let kept = |n: u32| 3000 + n * 4;
    let request = |n| {
        format!(
            "{} (if (i32.load8_u (i32.const {RESULT})) (then unreachable))
            (i32.store (i32.const {}) (i32.load offset=8 (i32.const {RESULT})))",
            sending(NAME),
            kept(n)
        )
    };
    let forget = |n| format!("(call $forget (i32.load (i32.const {})))", kept(n));
    let go = format!(
        "(local $left i32) (local $request i32) (local.set $left (i32.const 100))
        (loop
          {} (call $block (call $after (i64.const 1000000))) {}
          (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))",
        (0..16).map(request).collect::<String>(),
        (0..16).map(forget).collect::<String>()
    );
    let mut guest = Guest::new("looks_up", &go);
    guest.main = format!(r#"(import "more" "forget" (func $forget (param i32))) {}"#, guest.main);
    guest.main += &authority_data(NAME);
    guest.manifest = r#","capabilities":["http http://*:*"]"#.into();
    guest.lowered = "(core func $forget (canon resource.drop $http_future))".into();
    guest.more = r#"(export "forget" (func $forget))"#.into();
    let clock = r#"
        (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
          (alias outer 1 $pollable (type $x)) (export "pollable" (type $p (eq $x)))
          (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))"#;
    let after = ("after", r#"$clock "subscribe-duration""#, "(param i64) (result i32)");
    importing(guest, &format!("{HTTP}{clock}"), &[&CALLS[..], &[after]].concat()).bytes()
}

fn requests() -> Vec<Hostile> {
    let text = "(i32.const 65536) (i32.const 31000000)";
    let flood =
        importing(Guest::new("flood_of_headers", "(loop (drop (call $headers)) (br 0))"), HTTP, &CALLS);
    vec![
        keeping(
            "http_long_authorities",
            &format!("call $authority (call $make (call $headers)) (i32.const 1) {text}"),
        ),
        keeping(
            "http_long_methods",
            &format!("call $method (call $make (call $headers)) (i32.const 9) {text}"),
        ),
        keeping("http_long_paths", &format!("call $path (call $make (call $headers)) (i32.const 1) {text}")),
        keeping(
            "http_long_schemes",
            &format!("call $scheme (call $make (call $headers)) (i32.const 1) (i32.const 2) {text}"),
        ),
        Hostile {
            name: "flood_of_headers",
            bytes: flood.bytes(),
            outcome: Outcome::Fails("limit", "handles"),
        },
        requesting("http_not_asked_for", "example.com", false, "http GET http://example.com"),
        requesting("http_to_loopback", "127.0.0.1:8642", true, "127.0.0.1 is a loopback address"),
        requesting("http_to_loopback_v6", "[::1]:8642", true, "leads to ::1"),
        requesting("http_to_metadata", "169.254.169.254", true, "169.254.169.254 is"),
        requesting("http_to_private", "10.0.0.1", true, "10.0.0.1 is a private address"),
        requesting("http_by_name_to_loopback", "localhost:8642", true, "localhost leads to"),
        requesting("http_by_odd_address", "0x7f000001:8642", true, "leads to 127.0.0.1"),
    ]
}
