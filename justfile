# What can be done here. `./dev RECIPE` runs one, and installs `just` first where there is none.

set shell := ["bash", "-euo", "pipefail", "-c"]

redis_hint := "the tests need redis-server; install it (Debian: apt-get install redis-server, macOS: brew install redis)"

# List the recipes
default:
    @{{ just_executable() }} --list --unsorted

# Serve an example (init, eventfilters), and run `install`, until Ctrl-C; `./dev demo` does so without `just` in between
demo example="init":
    @exec ./dev demo {{ example }}

# Compile the host, and the actors of an example: where the blueprint sets the event filters, the consumer has no `init`
demo-build example="init": wasm-target
    cargo build --release
    target/release/ays-host build plugins/actproducer --out target/demo/actors
    target/release/ays-host build plugins/actconsumer --out target/demo/actors \
        {{ if example == "eventfilters" { "-- --no-default-features" } else { "" } }}

# Everything that must hold: format, lints, tests, docs
test: wasm-target redis registry lint
    cargo test --workspace --no-fail-fast
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Format and lints only
lint:
    rustup component add rustfmt clippy
    cargo fmt --all --check
    cargo fmt --all --check --manifest-path tests/guests/Cargo.toml
    cargo clippy --workspace --all-targets -- -D warnings

# Benchmarks: tables with ratios within one run
bench: wasm-target
    cargo build --release
    cargo bench -p ays-store
    cargo bench -p ays-tests

# Events out of Redis: ays-host beside a plain loop and two job queues, which need npm (a quarter of an hour)
bench-redis: wasm-target redis
    cargo build --release
    cargo bench -p ays-tests --bench redis_rivals

# Fuzz a target (hrd, blueprint, queue_entry, manifest, component, module) for so many seconds; needs nightly and cargo-fuzz
fuzz target seconds="60":
    mkdir -p fuzz/corpus/{{ target }} fuzz/seeds/{{ target }}
    {{ if target == "component" { "cargo run -q -p ays-hostile -- fuzz/seeds/component 65536" } else { "" } }}
    cargo +nightly fuzz run {{ target }} fuzz/corpus/{{ target }} fuzz/seeds/{{ target }} -- -max_total_time={{ seconds }}

# Add the target that actors are compiled for
wasm-target:
    @rustup target list --installed | grep -qx wasm32-wasip2 || rustup target add wasm32-wasip2

# Install redis-server where it is missing and possible, others under target/tools; the tests start their own on free ports
redis:
    @command -v redis-server >/dev/null && exit 0; \
    root=""; [ "$(id -u)" = 0 ] || root="sudo"; \
    if command -v apt-get >/dev/null; then $root apt-get update -q && $root apt-get install -yq redis-server; \
    elif command -v dnf >/dev/null; then $root dnf install -y redis; \
    elif command -v brew >/dev/null; then brew install redis; \
    else echo "{{ redis_hint }}" >&2; exit 1; fi
    @tests/newer-redis

# Serve a hundred hostile components, and print how much memory the host takes and what a neighbour notices (half an hour)
hostile: wasm-target
    cargo build
    cargo test -p ays-tests --test hostile_components -- --nocapture
    cargo build --release
    cargo bench -p ays-tests --bench neighbour

# Fetch an OCI registry for the tests into target/tools, where the machine has none
registry:
    @tests/registry

# Kill the host 200 times at random while 20 000 events are drained (a short form of it is among the tests)
crash kills="200" events="20000":
    AYS_TEST_KILLS={{ kills }} AYS_TEST_EVENTS={{ events }} cargo test -p ays-tests --test crash -- --nocapture

# Upgrade an actor ten times while 1000 events come in each second (a quarter of it is among the tests)
upgrade seconds="60":
    AYS_TEST_SECONDS={{ seconds }} cargo test -p ays-tests --test upgrade upgrades_under_load -- --nocapture

# Kill or pause one of three hosts on one Redis every second, while events come in (a fifth of it is among the tests)
hosts-crash rounds="250" events="500000":
    AYS_TEST_ROUNDS={{ rounds }} AYS_TEST_EVENTS={{ events }} cargo test -p ays-tests --test hosts_crash -- --nocapture
