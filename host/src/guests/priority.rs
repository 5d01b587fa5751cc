//! How the operating system shares the cores between the threads of heavy guests and all others.

use std::io;

/// How much nicer than the others, of 19: where both kinds want a core, heavy guests have a quarter of it. Those that are
/// merely slow must still be done within their wall time.
const NICE: i32 = 5;

/// For how long the kernel may let such a thread go on, in nanoseconds. That is more than what others have (some 3 ms), and
/// who asks for less comes first as soon as it wakes up; otherwise it would wait for the end of a slice, which the kernel
/// looks for every 4 ms. Linux before 6.12 knows no such wish, and takes no notice.
const SLICE_NS: u64 = 20_000_000;

/// Has this thread come after others, for which it gets longer slices. See sched(7), `sched_runtime` in
/// `Documentation/scheduler/sched-eevdf.rst`.
///
/// # Errors
/// If the operating system does not let it, as in some sandboxes.
#[allow(unsafe_code, reason = "no library has this system call")]
pub(super) fn come_after_others() -> io::Result<()> {
    // SAFETY: all of its fields are numbers.
    let mut wish: libc::sched_attr = unsafe { std::mem::zeroed() };
    wish.size = u32::try_from(size_of::<libc::sched_attr>()).unwrap_or(0);
    wish.sched_policy = u32::try_from(libc::SCHED_BATCH).unwrap_or(0);
    wish.sched_nice = NICE;
    wish.sched_runtime = SLICE_NS;
    // SAFETY: the kernel only reads `wish`, whose size is in it; 0 is this thread, and the last 0 no flags.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wish, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The field of this number in proc_pid_stat(5), of this thread.
    fn stat(field: usize) -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("it is there");
        let (_, rest) = stat.rsplit_once(") ").expect("the name is in brackets");
        // The third field is the first one after the name.
        let field = rest.split(' ').nth(field - 3).expect("it has more fields");
        field.parse().expect("it is a number")
    }

    #[test]
    fn it_is_this_thread_alone_that_comes_after_others() {
        let (nice, policy) = (19, 41);
        let before = [stat(nice), stat(policy)];
        std::thread::spawn(move || {
            come_after_others().expect("it may");
            assert_eq!([stat(nice), stat(policy)], [NICE, libc::SCHED_BATCH]);
        })
        .join()
        .expect("it is so");
        assert_eq!([stat(nice), stat(policy)], before);
    }
}
