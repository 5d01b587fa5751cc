//! The side of the host: it starts the child, watches it, and says what became of it.

use std::{
    fs, io,
    os::{fd::AsFd as _, unix::process::ExitStatusExt as _},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::{pipe::fcntl_setpipe_size, process::Signal};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
};

use super::{
    ChildCompiler, CompileLimits, WALL_PER_CPU,
    child::{REFUSED, environment},
};
use crate::{Clock, LoadError};

/// How often the child's use of memory and CPU is looked at: it is gone with the child.
const WATCH: Duration = Duration::from_millis(20);

/// The size of the pipes to and from the child, in bytes: components have megabytes, and each time that a pipe is full three
/// threads take turns.
const PIPE: usize = 1 << 20;

/// What is read of a child's words, in bytes.
const WORDS: u64 = 16 << 10;

/// Compiles `wasm`; code that is longer than `most` bytes is not taken.
pub(crate) async fn compile(
    compiler: &ChildCompiler,
    wasm: &[u8],
    most: u64,
    clock: &dyn Clock,
) -> Result<Vec<u8>, LoadError> {
    let limits = &compiler.limits;
    let failed = |e: io::Error| {
        LoadError::Compiler(format!("cannot run the compiler {}: {e}", compiler.program.display()))
    };
    let mut child = start(compiler).map_err(failed)?;
    let (Some(mut stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(failed(io::Error::other("it has no pipes")));
    };
    for pipe in [stdin.as_fd(), stdout.as_fd()] {
        // Where a user may not have so many, they stay as they are.
        let _ = fcntl_setpipe_size(pipe, PIPE);
    }
    let mut usage = Usage::default();
    let deadline = Duration::from_secs(limits.cpu_s.saturating_mul(WALL_PER_CPU));
    let talk = async {
        let give = async move {
            // A child that has ended before it has read all says why by its end.
            let _ = stdin.write_all(wasm).await;
        };
        tokio::join!(give, read(stdout, most.saturating_add(1)), read(stderr, WORDS))
    };
    let talked = tokio::select! {
        ((), code, words) = talk => Some((code, words)),
        () = clock.sleep(deadline) => None,
        () = watch(&child, clock, &mut usage) => None,
    };
    let Some((code, words)) = talked else {
        let _ = child.kill().await;
        return Err(LoadError::Limit(format!(
            "compiling it had not ended after {} s; {}",
            deadline.as_secs(),
            raise("--compile-seconds", "AYS_COMPILE_SECONDS")
        )));
    };
    if code.len() as u64 > most {
        let _ = child.kill().await;
        return Err(LoadError::Limit(format!(
            "its code has more than {most} bytes, eight for each byte that a component may have; {}",
            raise("--component-size", "AYS_COMPONENT_SIZE")
        )));
    }
    let status = child.wait().await.map_err(failed)?;
    if status.success() {
        return Ok(code);
    }
    Err(why(status, &String::from_utf8_lossy(&words), &usage, limits))
}

fn start(compiler: &ChildCompiler) -> io::Result<Child> {
    // It dies with the thread that starts it (PR_SET_PDEATHSIG): that is one of the runtime's, which live as long as
    // the runtime.
    Command::new(&compiler.program)
        .arg0("ays-host")
        .args(&compiler.args)
        .args(compiler.limits.arguments(std::process::id()))
        .env_clear()
        .envs(environment(compiler.threads))
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

async fn read(from: impl AsyncRead + Unpin, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A pipe that breaks has ended; the child's end tells why.
    let _ = from.take(most).read_to_end(&mut bytes).await;
    bytes
}

/// What a child was last seen to use.
#[derive(Default)]
struct Usage {
    memory_bytes: u64,
}

/// Looks at the child again and again, and never ends by itself.
async fn watch(child: &Child, clock: &dyn Clock, usage: &mut Usage) {
    let Some(pid) = child.id() else { return std::future::pending().await };
    loop {
        clock.sleep(WATCH).await;
        if let Some(bytes) = data_bytes(pid) {
            usage.memory_bytes = usage.memory_bytes.max(bytes);
        }
    }
}

/// What counts towards the limit of memory, by proc_pid_status(5).
fn data_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

fn why(status: ExitStatus, words: &str, usage: &Usage, limits: &CompileLimits) -> LoadError {
    let out_of_memory = [
        "memory allocation of",
        "Cannot allocate memory",
        "out of memory",
        "os error 12",
        "capacity overflow",
    ]
    .iter()
    .any(|sign| words.contains(sign));
    let words = words.trim();
    if out_of_memory {
        return LoadError::Limit(format!(
            "compiling it takes more than {} MiB of memory: it had {} MiB when it asked for more than it may; {}",
            limits.memory_bytes >> 20,
            usage.memory_bytes >> 20,
            raise("--compile-memory", "AYS_COMPILE_MEMORY")
        ));
    }
    match (status.code(), status.signal()) {
        (Some(code), _) if code == i32::from(REFUSED) => {
            LoadError::NotAnActor(format!("it is not a valid component: {words}"))
        }
        // The kernel kills at a hard limit that equals the soft one.
        (_, Some(signal)) if [Signal::XCPU.as_raw(), Signal::KILL.as_raw()].contains(&signal) => {
            LoadError::Limit(format!(
                "compiling it took its {} s of CPU time; {}",
                limits.cpu_s,
                raise("--compile-seconds", "AYS_COMPILE_SECONDS")
            ))
        }
        (_, Some(signal)) => LoadError::NotAnActor(format!(
            "the compiler crashed on it (signal {signal}, with {} MiB of memory); the host goes on. {words}",
            usage.memory_bytes >> 20
        )),
        _ => LoadError::Compiler(format!("the compiler failed ({status}): {words}")),
    }
}

/// Where a limit of compiling is raised, for the end of a sentence.
fn raise(flag: &str, variable: &str) -> String {
    format!("`{flag}` ({variable}) allows more, if you trust it")
}
