//! What a hostile or broken actor does. Nothing is inlined or optimised away, so that backtraces have its names.

use std::hint::black_box;

/// Traps in [`trap_inner`].
#[inline(never)]
pub fn trap_outer(n: u32) -> u32 {
    trap_middle(black_box(n)) + 1
}

#[inline(never)]
fn trap_middle(n: u32) -> u32 {
    trap_inner(black_box(n)) + 1
}

#[inline(never)]
fn trap_inner(n: u32) -> u32 {
    if black_box(n) > 0 {
        #[cfg(target_family = "wasm")]
        core::arch::wasm32::unreachable();
        #[cfg(not(target_family = "wasm"))]
        std::process::abort();
    }
    n
}

/// Never ends.
#[inline(never)]
pub fn spin() -> u64 {
    let mut n = 0u64;
    while black_box(true) {
        n = black_box(n.wrapping_add(1));
    }
    n
}

/// Takes memory, and touches it, until there is none.
#[inline(never)]
pub fn eat_memory() -> usize {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    while black_box(true) {
        eaten.push(black_box(vec![1; 1 << 20]));
    }
    eaten.len()
}

/// Calls itself without end. What follows the call keeps it from becoming a loop. Its frame takes next to nothing of the
/// stack in linear memory, so that the stack of the engine is exhausted first.
#[inline(never)]
pub fn recurse(n: u64) -> u64 {
    // Never so, since `n` is even; the compiler does not know.
    if n == u64::MAX {
        return n;
    }
    recurse(n.wrapping_add(2)).wrapping_mul(3) ^ n
}

/// The same, with a frame that exhausts the stack in linear memory first.
#[inline(never)]
pub fn recurse_wide(n: u64) -> u64 {
    let mut frame = [n; 64];
    if black_box(true) {
        frame[0] = recurse_wide(black_box(n.wrapping_add(1)));
    }
    black_box(frame).iter().fold(0, |sum, item| sum.wrapping_add(*item))
}
