//! An actor that does what tests of the host need, good and bad: one action for each.

mod hostile;

use std::{
    hint::black_box,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ays_sdk::{events::Filter, prelude::*, schedules::Missed};

#[derive(Serialize, Deserialize, Schema)]
#[serde(crate = "ays_sdk::serde")]
struct Probe {
    /// How often `count` ran.
    count: u64,
    /// What `order` was given, in order.
    seen: Vec<Value>,
    /// Room for much data.
    blob: String,
}

#[actor(capabilities = ["events"])]
impl Probe {
    // Well-behaved.

    /// Nothing.
    #[action]
    fn noop(&self) {}

    /// Adds one.
    #[action]
    fn count(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Returns its args.
    #[action]
    fn echo(&self, job: &Job) -> Result<Value> {
        job.args()
    }

    /// Returns how many nanoseconds ago `pushed` was, in nanoseconds since 1970.
    #[action]
    fn since(&self, pushed: u64) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
        now.saturating_sub(pushed)
    }

    /// Returns what it is told: id, attempt, cause, service.
    #[action]
    fn whoami(&self, job: &Job) -> Result<Value> {
        let cause: Value = serde_from(job.cause_json())?;
        let producers: Vec<String> =
            service::producers("node").iter().map(|producer| producer.key().to_owned()).collect();
        Ok(json!({
            "id": job.id,
            "attempt": job.attempt,
            "created_at": job.created_at,
            "cause": cause,
            "service": job.service().key(),
            "data": job.service().data::<Value>()?,
            "parent": service::parent().map(|parent| parent.key().to_owned()),
            "producers": producers,
        }))
    }

    /// Emits an event.
    #[action]
    fn emit(&self, event: String, args: Value) -> Result<()> {
        events::emit(event, args)
    }

    /// Emits `n` events.
    #[action]
    fn emit_many(&self, event: String, n: u64) -> Result<()> {
        (0..n).try_for_each(|i| events::emit(&event, [i]))
    }

    /// Logs a line at each level, and prints to both outputs.
    #[action]
    fn log_lines(&self) {
        log::debug("a debug line");
        log::info("an info line");
        log::warn("a warn line");
        log::error!("an {} line", "error");
        println!("a line on stdout");
        eprintln!("a line on stderr");
        print!("a line without end");
    }

    /// Sets an event filter.
    #[action]
    fn set_filter(
        &self,
        event: String,
        action: String,
        channel: Option<String>,
        tags: Option<Vec<String>>,
    ) -> Result<()> {
        events::set_filter(filter(event, action, channel, tags))
    }

    /// Sets event filters on events with the numbers from `from`, and before `to`, in their names: why the first one was
    /// refused.
    #[action]
    fn subscribe(&self, from: u64, to: u64) -> String {
        let refused = (from..to).find_map(|n| {
            let event = if n % 2 == 0 { format!("Numbered_{n}") } else { format!("numbered_{n}") };
            events::set_filter((event, "noop")).err()
        });
        refused.map_or_else(String::new, |error| error.to_string())
    }

    /// Removes those event filters.
    #[action]
    fn unsubscribe(&self, from: u64, to: u64) -> Result<()> {
        (from..to).try_for_each(|n| events::remove_filter((format!("numbered_{n}"), "noop")))
    }

    /// Removes an event filter.
    #[action]
    fn remove_filter(
        &self,
        event: String,
        action: String,
        channel: Option<String>,
        tags: Option<Vec<String>>,
    ) -> Result<()> {
        events::remove_filter(filter(event, action, channel, tags))
    }

    /// Makes an action recur.
    #[action]
    fn set_schedule(&self, action: String, period: String, missed: Option<String>) -> Result<()> {
        let missed = match missed.as_deref() {
            None | Some("one") => Missed::One,
            Some("skip") => Missed::Skip,
            Some("all") => Missed::All,
            Some(other) => return Err(Error::fatal(format!("`{other}` is not skip, one or all"))),
        };
        schedules::every_with(&period, &action, missed)
    }

    /// Stops an action from recurring.
    #[action]
    fn remove_schedule(&self, action: String) -> Result<()> {
        schedules::remove(&action)
    }

    /// What the benchmark measures: reads data, emits an event, logs a line, writes data.
    #[action]
    fn four_calls(&mut self) -> Result<()> {
        self.count += 1;
        events::emit("counted", [self.count])?;
        log::info("counted");
        Ok(())
    }

    /// Appends its args to the data.
    #[action]
    fn order(&mut self, job: &Job) -> Result<()> {
        self.seen.push(job.args()?);
        Ok(())
    }

    /// As `order`, and fails until attempt `until`. Nothing overtakes it.
    #[action(order = "strict", retry(attempts = 5, delays = [1]))]
    fn order_strict(&mut self, job: &Job, item: Value, until: u32) -> Result<()> {
        fail_until(job, until)?;
        self.seen.push(item);
        Ok(())
    }

    /// As `order`, and fails until attempt `until`. Others overtake it meanwhile.
    #[action(retry(attempts = 5, delays = [1]))]
    fn order_aside(&mut self, job: &Job, item: Value, until: u32) -> Result<()> {
        fail_until(job, until)?;
        self.seen.push(item);
        Ok(())
    }

    /// Sleeps for `ms` milliseconds, and then adds one.
    #[action]
    fn slow(&mut self, ms: u64) -> u64 {
        thread::sleep(Duration::from_millis(ms));
        self.count += 1;
        self.count
    }

    // Failing.

    /// Fails, and is retried as the default policy says.
    #[action]
    fn fail(&self) -> Result<()> {
        Err(Error::new("failed as asked"))
    }

    /// Fails, and is retried twice, after a second each.
    #[action(retry(attempts = 3, delays = [1]))]
    fn fail_quickly(&self) -> Result<()> {
        Err(Error::new("failed as asked"))
    }

    /// Says which attempt it is and fails: the second follows after some seconds, the third after an hour.
    #[action(retry(attempts = 3, delays = [10, 3600]))]
    fn says_and_fails(&self, job: &Job) -> Result<()> {
        println!("attempt {}", job.attempt);
        Err(Error::new("failed as asked"))
    }

    /// Fails for good.
    #[action]
    fn fail_for_good(&self) -> Result<()> {
        Err(Error::fatal("failed for good, as asked"))
    }

    /// Fails until attempt `until`, which it returns.
    #[action(retry(attempts = 5, delays = [1]))]
    fn flaky(&self, job: &Job, until: u32) -> Result<u32> {
        fail_until(job, until)?;
        Ok(job.attempt)
    }

    /// Emits, changes data, filters and schedules, and then fails: nothing of it may happen.
    #[action(retry(attempts = 1))]
    fn fail_after_effects(&mut self) -> Result<()> {
        self.all_effects()?;
        Err(Error::new("failed after effects, as asked"))
    }

    /// The same, ending in a trap.
    #[action(retry(attempts = 1))]
    fn trap_after_effects(&mut self) -> Result<()> {
        self.all_effects()?;
        hostile::trap_outer(black_box(1));
        Ok(())
    }

    /// Emits, changes data, filters and schedules, and succeeds.
    #[action]
    fn all_effects(&mut self) -> Result<()> {
        self.count += 1000;
        service::set_data(self)?;
        events::emit("never", ["this must not be seen"])?;
        events::set_filter(("never", "count"))?;
        schedules::every("1s", "count")?;
        log::info("kept in the job's record");
        Ok(())
    }

    /// Traps, three named functions deep.
    #[action(retry(attempts = 1))]
    fn trap(&self) -> u32 {
        hostile::trap_outer(black_box(1))
    }

    /// Panics.
    #[action(retry(attempts = 1))]
    fn panic(&self) {
        panic!("panicked as asked");
    }

    // Greedy.

    /// Never ends.
    #[action(retry(attempts = 1))]
    fn spin(&self) -> u64 {
        hostile::spin()
    }

    /// As `spin`, within 100 ms of CPU time.
    #[action(retry(attempts = 1), cpu = "100ms")]
    fn spin_briefly(&self) -> u64 {
        hostile::spin()
    }

    /// Takes memory until there is none.
    #[action(retry(attempts = 1))]
    fn eat_memory(&self) -> usize {
        hostile::eat_memory()
    }

    /// Calls itself without end, until the engine's stack is exhausted.
    #[action(retry(attempts = 1))]
    fn recurse(&self) -> u64 {
        hostile::recurse(black_box(2))
    }

    /// The same, until the stack in linear memory is exhausted.
    #[action(retry(attempts = 1))]
    fn recurse_wide(&self) -> u64 {
        hostile::recurse_wide(black_box(1))
    }

    /// Is in a host call for `ms` milliseconds.
    #[action(retry(attempts = 1))]
    fn sleep(&self, ms: u64) {
        thread::sleep(Duration::from_millis(ms));
    }

    /// As `sleep`, within 200 ms of wall time.
    #[action(retry(attempts = 1), wall = "200ms")]
    fn sleep_briefly(&self, ms: u64) {
        thread::sleep(Duration::from_millis(ms));
    }

    /// Logs `lines` lines of 1000 bytes, a hundred thousand without a number.
    #[action(retry(attempts = 1))]
    fn chatty(&self, lines: Option<u64>, text: Option<String>) {
        let line = text.unwrap_or_else(|| "x".repeat(1000));
        for _ in 0..lines.unwrap_or(100_000) {
            log::info(&line);
        }
    }

    /// The same, on standard output.
    #[action(retry(attempts = 1))]
    fn chatty_stdout(&self, lines: Option<u64>) {
        let line = "x".repeat(1000);
        for _ in 0..lines.unwrap_or(100_000) {
            println!("{line}");
        }
    }

    /// Writes data of `bytes` bytes.
    #[action(retry(attempts = 1))]
    fn big_data(&mut self, bytes: usize) {
        self.blob = "x".repeat(bytes);
    }

    /// Returns a result of `bytes` bytes.
    #[action(retry(attempts = 1))]
    fn big_result(&self, bytes: usize) -> String {
        "x".repeat(bytes)
    }

    /// Emits an event with args of `bytes` bytes.
    #[action(retry(attempts = 1))]
    fn big_event(&self, bytes: usize) -> Result<()> {
        events::emit("big", ["x".repeat(bytes)])
    }

    /// Writes the data that it is given, whatever they are.
    #[action(retry(attempts = 1))]
    fn set_bad_data(&self, job: &Job) -> Result<()> {
        service::set_data_json(job.args_json())
    }

    /// Writes a text that is not JSON as its data.
    #[action(retry(attempts = 1))]
    fn set_broken_data(&self) -> Result<()> {
        service::set_data_json(r#"{"count": "#)
    }

    // Curious: nothing of this is granted.

    /// Writes a file.
    #[action(retry(attempts = 1))]
    fn write_file(&self, path: Option<String>) -> Result<()> {
        std::fs::write(path.as_deref().unwrap_or("/tmp/probe"), "written")?;
        Ok(())
    }

    /// Lists the directory `path`.
    #[action(retry(attempts = 1))]
    fn read_dir(&self, path: Option<String>) -> Result<Vec<String>> {
        let entries = std::fs::read_dir(path.as_deref().unwrap_or("/"))?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// Returns environment and arguments.
    #[action(retry(attempts = 1))]
    fn read_env(&self) -> Value {
        let vars: Vec<(String, String)> = std::env::vars().collect();
        json!({ "vars": vars, "args": std::env::args().collect::<Vec<_>>() })
    }

    /// Reads standard input to its end.
    #[action(retry(attempts = 1))]
    fn read_stdin(&self) -> Result<String> {
        Ok(std::io::read_to_string(std::io::stdin())?)
    }

    /// Connects to `address`.
    #[action(retry(attempts = 1))]
    fn connect(&self, address: Option<String>) -> Result<()> {
        std::net::TcpStream::connect(address.as_deref().unwrap_or("127.0.0.1:6379"))?;
        Ok(())
    }
}

fn fail_until(job: &Job, until: u32) -> Result<()> {
    if job.attempt < until {
        return Err(Error::new(format!("attempt {} fails, as asked; {until} will not", job.attempt)));
    }
    Ok(())
}

fn filter(event: String, action: String, channel: Option<String>, tags: Option<Vec<String>>) -> Filter {
    let filter = Filter::new(event, action).channel(channel.unwrap_or_default());
    tags.unwrap_or_default().into_iter().fold(filter, Filter::tag)
}

fn serde_from(text: &str) -> Result<Value> {
    Ok(ays_sdk::serde_json::from_str(text)?)
}
