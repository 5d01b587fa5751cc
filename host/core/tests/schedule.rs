//! Promise 4: one occurrence per period, without drift and without overlap; missed ones follow the policy.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may

use std::collections::BTreeSet;

use ays_core::{
    ServiceKey, Timestamp,
    job::{Cause, NewJob},
    schedule::{MAX_AT_ONCE, Missed, Period, Recurring, Schedule},
};
use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn period(text: &str) -> Period {
    text.parse().unwrap()
}

fn recurring(text: &str, missed: Missed) -> Recurring {
    Recurring { missed, ..Recurring::every(period(text)) }
}

fn schedule(service: &str, recurring: Recurring, now: Timestamp) -> Schedule {
    Schedule::new(service.parse().unwrap(), "tick".into(), recurring, Vec::new(), now)
}

fn due_at(job: &NewJob) -> Timestamp {
    match job.cause {
        Cause::Schedule { due_at, .. } => due_at,
        _ => panic!("not of a schedule: {job:?}"),
    }
}

fn due_times(jobs: &[NewJob]) -> Vec<Timestamp> {
    jobs.iter().map(due_at).collect()
}

// Periods as text.

#[test]
fn a_period_is_a_number_with_a_unit_or_a_cron_expression() {
    for (text, seconds) in [
        ("5s", 5),
        ("5", 5),
        (" 90 ", 90),
        ("3m", 180),
        ("2h", 7200),
        ("1d", 86_400),
        ("1w", 604_800),
        ("3650d", 315_360_000),
    ] {
        assert_eq!(period(text).fixed().map(|p| p.as_secs()), Some(seconds), "{text}");
    }
    for text in
        ["* * * * *", "*/5 * * * * *", "@daily", "CRON_TZ=Europe/Brussels 30 3 * * *", "TZ=UTC 0 0 1 * *"]
    {
        assert_eq!(period(text).fixed(), None, "{text}");
    }
    assert_eq!(period("1m"), period("60"));
    assert_ne!(period("0 3 * * *"), period("CRON_TZ=Europe/Brussels 0 3 * * *"));
    assert_eq!(Period::seconds(5).unwrap(), period("5s"));
}

#[test]
fn a_text_that_is_no_period_says_why_and_what_would_be_right() {
    for (text, why) in [
        ("", "it is empty"),
        ("  ", "it is empty"),
        ("0", "it is 0"),
        ("0w", "it is 0"),
        ("s", "it does not begin with a digit"),
        ("-5s", "it does not begin with a digit"),
        ("٣s", "it does not begin with a digit"),
        ("5x", "`x` is not a unit"),
        ("5S", "`S` is not a unit"),
        ("1.5h", "`.5h` is not a unit"),
        ("5ms", "`ms` is not a unit"),
        ("3651d", "it is more than ten years"),
        ("99999999999999999999w", "it is more than ten years"),
        ("18446744073709551615w", "it is more than ten years"),
        ("CRON_TZ=Mars/Base 0 0 * * *", "`Mars/Base` is not a time zone"),
    ] {
        let error = text.parse::<Period>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{text}` is not a period: {why}")), "{text}: {error}");
        assert!(error.contains("It takes a number with an optional unit s, m, h, d or w"), "{error}");
    }
    for text in
        ["5 s", "* * * *", "60 * * * *", "* * * * * * *", "CRON_TZ=UTC", "TZ=UTC 5s", "@never", "* * 0 * *"]
    {
        let error = text.parse::<Period>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{text}` is not a period: ")), "{text}: {error}");
    }
}

// A schedule in simulated time.

/// What happens to a schedule.
#[derive(Clone, Debug)]
enum Happening {
    /// This share of a period passes (in 1/1000), and the host ticks.
    Tick(i64),
    /// The host is down for so many periods (in 1/1000), then ticks.
    Downtime(i64),
    /// The clock is set back by so many periods (in 1/1000), and the host ticks.
    SetBack(i64),
    /// So many of its jobs end.
    Settle(u32),
    /// A blueprint is applied again.
    SameAgain,
    /// The store is closed and opened again.
    Stored,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        12 => (0..2500i64).prop_map(Happening::Tick),
        1 => (2_000..900_000i64).prop_map(Happening::Downtime),
        1 => (1..40_000i64).prop_map(Happening::SetBack),
        8 => (1..4u32).prop_map(Happening::Settle),
        1 => Just(Happening::SameAgain),
        1 => Just(Happening::Stored),
    ]
}

fn missed() -> impl Strategy<Value = Missed> {
    prop_oneof![Just(Missed::Skip), Just(Missed::One), Just(Missed::All)]
}

/// Periods, and about how long they are in milliseconds.
fn some_period() -> impl Strategy<Value = (String, i64)> {
    prop_oneof![
        3 => (1..200_000i64).prop_map(|s| (format!("{s}s"), s * 1000)),
        1 => Just(("* * * * *".to_owned(), 60_000)),
        1 => Just(("0-9 */5 * * * *".to_owned(), 30_000)),
        1 => Just(("CRON_TZ=Europe/Brussels 30 2 * * *".to_owned(), 86_400_000)),
        1 => Just(("CRON_TZ=America/New_York */30 * * * *".to_owned(), 1_800_000)),
        1 => Just(("CRON_TZ=Australia/Lord_Howe 15 1,2 * * *".to_owned(), 43_200_000)),
    ]
}

/// The rules, written down in the simplest way: all occurrences up to now are listed one by one.
struct Model {
    missed: Missed,
    period: Period,
    anchor: Timestamp,
    next: Option<Timestamp>,
    outstanding: u32,
    owed: Option<Timestamp>,
    missed_count: u64,
}

impl Model {
    fn tick(&mut self, now: Timestamp) -> Vec<Timestamp> {
        let mut fresh = Vec::new();
        while let Some(due) = self.next.filter(|due| *due <= now) {
            fresh.push(due);
            self.next = self.period.next(self.anchor, due);
        }
        let Some(latest) = fresh.last().copied() else { return fresh };
        if self.missed == Missed::All {
            self.outstanding += fresh.len() as u32;
            return fresh;
        }
        self.missed_count += fresh.len() as u64 - 1;
        let half = self.next.map_or(10_000, |next| (next.millis() - latest.millis()) / 2);
        let late = now.millis() - latest.millis() > half.min(10_000);
        match (self.missed, self.outstanding) {
            (Missed::Skip, 1..) => self.missed_count += 1,
            (Missed::Skip, 0) if late => self.missed_count += 1,
            (_, 0) => {
                self.outstanding = 1;
                return vec![latest];
            }
            _ => self.missed_count += u64::from(self.owed.replace(latest).is_some()),
        }
        Vec::new()
    }

    fn settle(&mut self) -> Option<Timestamp> {
        self.outstanding = self.outstanding.saturating_sub(1);
        let owed = if self.outstanding == 0 { self.owed.take() } else { None };
        self.outstanding += u32::from(owed.is_some());
        owed
    }
}

fn assert_agree(schedule: &Schedule, model: &Model) {
    assert_eq!(schedule.next_due, model.next);
    assert_eq!(schedule.outstanding, model.outstanding);
    assert_eq!(schedule.owed, model.owed);
    assert_eq!(schedule.missed_count, model.missed_count);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_occurrence_gets_its_job_once_or_counts_as_missed(
        (text, length_ms) in some_period(),
        missed in missed(),
        start_ms in 1_767_225_600_000..1_798_761_600_000i64, // the year 2026
        happenings in prop::collection::vec(happening(), 1..120),
    ) {
        let mut now = Timestamp::from_millis(start_ms);
        let mut tested = schedule("clock__c1", recurring(&text, missed), now);
        let anchor = tested.anchor.unwrap();
        let mut model = Model {
            missed, period: period(&text), anchor, next: tested.next_due, outstanding: 0, owed: None, missed_count: 0,
        };
        prop_assert!(tested.next_due.unwrap() >= now);
        let mut given: Vec<Timestamp> = Vec::new();
        for happening in happenings {
            let passed_ms = match happening {
                Happening::Tick(share) | Happening::Downtime(share) => length_ms * share / 1000,
                Happening::SetBack(share) => -length_ms * share / 1000,
                Happening::Settle(jobs) => {
                    for _ in 0..jobs.min(tested.outstanding) {
                        let owed = tested.settled().as_ref().map(due_at);
                        prop_assert_eq!(owed, model.settle());
                        given.extend(owed);
                    }
                    continue;
                }
                Happening::SameAgain => {
                    let before = tested.clone();
                    prop_assert!(!tested.change(recurring(&text, missed), now));
                    prop_assert_eq!(&tested, &before);
                    continue;
                }
                Happening::Stored => {
                    let json = serde_json::to_string(&tested).unwrap();
                    prop_assert_eq!(&serde_json::from_str::<Schedule>(&json).unwrap(), &tested);
                    continue;
                }
            };
            now = Timestamp::from_millis(now.millis() + passed_ms);
            let expected = model.tick(now);
            let mut jobs = Vec::new();
            loop {
                let some = tested.due(now);
                let full = some.len() >= MAX_AT_ONCE;
                jobs.extend(due_times(&some));
                if !full {
                    break;
                }
            }
            prop_assert_eq!(&jobs, &expected);
            prop_assert!(tested.next_due.unwrap() > now);
            prop_assert!(jobs.iter().all(|due| *due <= now));
            prop_assert!(tested.due(now).is_empty(), "the same tick again gives nothing");
            assert_agree(&tested, &model);
            prop_assert!(missed == Missed::All || tested.outstanding <= 1, "overlap");
            given.extend(jobs);
        }
        prop_assert!(given.is_sorted_by(|a, b| a < b), "due times grow, so none comes twice: {:?}", given);
        if let Some(fixed) = tested.recurring.period.fixed() {
            let fixed_ms = fixed.as_millis() as i64;
            for due in given.iter().chain(&tested.owed).chain(&tested.next_due) {
                prop_assert_eq!((due.millis() - anchor.millis()) % fixed_ms, 0, "drift");
            }
            let passed = (tested.next_due.unwrap().millis() - anchor.millis()) / fixed_ms;
            let accounted = given.len() as u64 + tested.missed_count + u64::from(tested.owed.is_some());
            prop_assert_eq!(accounted, passed as u64, "each is given, owed or missed");
        }
    }

    #[test]
    fn no_change_of_period_or_policy_repeats_an_occurrence_or_delays_the_next_beyond_its_period(
        steps in prop::collection::vec((0..400_000i64, prop::option::of((1..600u64, missed())), any::<bool>(), any::<bool>()), 1..60),
    ) {
        let mut now = at("2026-03-28T23:00:00Z");
        let mut tested = schedule("clock__c1", recurring("1w", Missed::One), now);
        let mut given = Vec::new();
        for (passed_ms, change, set_back, ended) in steps {
            now = Timestamp::from_millis(now.millis() + if set_back { -passed_ms / 4 } else { passed_ms });
            if let Some((seconds, missed)) = change {
                let changed = recurring(&format!("{seconds}s"), missed);
                let moves = changed.period != tested.recurring.period;
                tested.change(changed, now);
                let from = tested.last_due.map_or(now, |last| last.max(now));
                let latest = from.millis() + seconds as i64 * 1000 + 30_000;
                prop_assert!(!moves || tested.next_due.unwrap().millis() <= latest);
            }
            if ended {
                given.extend(tested.settled().as_ref().map(due_at));
            }
            given.extend(due_times(&tested.due(now)));
        }
        prop_assert!(given.is_sorted_by(|a, b| a < b), "{:?}", given);
    }
}

#[test]
fn a_long_downtime_is_caught_up_in_pieces_when_all_are_wanted() {
    let start = at("2026-01-01T00:00:00Z");
    let mut tested = schedule("clock__c1", recurring("1s", Missed::All), start);
    let now = start.after(std::time::Duration::from_secs(2500));
    let mut given = Vec::new();
    let mut pieces = Vec::new();
    while tested.next_due.unwrap() <= now {
        let jobs = tested.due(now);
        pieces.push(jobs.len());
        given.extend(due_times(&jobs));
    }
    assert_eq!(pieces[..2], [MAX_AT_ONCE, MAX_AT_ONCE]);
    assert!(given.windows(2).all(|pair| pair[1].millis() - pair[0].millis() == 1000));
    assert_eq!((given.len(), tested.outstanding as usize), (2500, 2500));
}

#[test]
fn a_clock_that_is_years_off_costs_no_search_through_all_of_them() {
    for text in ["1s", "* * * * * *"] {
        for missed in [Missed::One, Missed::Skip] {
            let mut tested = schedule("clock__c1", recurring(text, missed), at("1970-01-01T00:00:00Z"));
            let now = at("2026-03-29T01:00:00Z");
            let given = due_times(&tested.due(now));
            assert!(given.iter().all(|due| now.since(*due).as_millis() < 1000), "{text}: {given:?}");
            assert!(tested.next_due.unwrap() > now);
        }
    }
    // And at the end of time it stops.
    let mut tested = schedule("clock__c1", recurring("1w", Missed::All), Timestamp::MAX);
    tested.due(Timestamp::MAX);
    assert_eq!(tested.next_due, None);
    assert_eq!(tested.due(Timestamp::MAX), []);
}

#[test]
fn a_recurring_action_waits_until_its_service_is_installed() {
    let waits_for = vec!["init".to_owned(), "install".to_owned()];
    let start = at("2026-01-01T00:00:00Z");
    let hour = std::time::Duration::from_secs(3600);
    for text in ["5s", "* * * * *"] {
        let service: ServiceKey = "clock__c1".parse().unwrap();
        let rule = recurring(text, Missed::All);
        let mut tested = Schedule::new(service, "tick".into(), rule, waits_for.clone(), start);
        let later = start.after(hour);
        assert_eq!(tested.due(later), []);
        assert!(!tested.action_done("start", later));
        assert!(tested.action_done("install", later));
        assert!(!tested.action_done("install", later), "a second time changes nothing");
        assert_eq!((tested.due(later.after(hour)), tested.next_due), (vec![], None));
        // A change while it waits does not wake it.
        assert!(tested.change(recurring("7s", Missed::All), later));
        assert!(tested.change(recurring(text, Missed::All), later));
        assert_eq!(tested.next_due, None);
        let done = later.after(hour);
        assert!(tested.action_done("init", done));
        assert!(tested.next_due.unwrap() >= done, "what passed before was not missed");
        assert_eq!(due_times(&tested.due(done.after(hour)))[0], tested.anchor.unwrap().max(done));
    }
}

#[test]
fn services_created_together_are_not_all_due_together() {
    let now = at("2026-01-01T00:00:00Z");
    for (text, span_ms) in [("5s", 5_000), ("1w", 30_000)] {
        let mut tenths = [0; 10];
        for n in 0..1000 {
            let tested = schedule(&format!("clock__c{n}"), recurring(text, Missed::One), now);
            let wait_ms = tested.next_due.unwrap().millis() - now.millis();
            tenths[(wait_ms * 10 / span_ms) as usize] += 1;
            assert_eq!(tested, schedule(&format!("clock__c{n}"), recurring(text, Missed::One), now));
        }
        assert!(tenths.iter().all(|share| (50..200).contains(share)), "{text}: {tenths:?}");
    }
}

#[test]
fn a_changed_period_does_not_wait_for_the_old_one() {
    let start = at("2026-01-01T00:00:00Z");
    let mut tested = schedule("clock__c1", recurring("52w", Missed::One), start);
    let now = start.after(std::time::Duration::from_secs(60));
    assert_eq!(tested.due(now).len(), 1);
    assert!(tested.change(recurring("5s", Missed::One), now));
    assert!(now.since(tested.next_due.unwrap()).is_zero());
    assert!(tested.next_due.unwrap().since(now).as_secs() <= 5);
}

#[test]
fn an_owed_occurrence_follows_a_new_policy() {
    for (policy, given) in [(Missed::One, 1), (Missed::All, 1), (Missed::Skip, 0)] {
        let start = at("2026-01-01T00:00:00Z");
        let mut tested = schedule("clock__c1", recurring("1h", Missed::One), start);
        let second = |n: u64| start.after(std::time::Duration::from_secs(n * 3600 + 60));
        assert_eq!(tested.due(second(0)).len(), 1);
        assert_eq!(tested.due(second(1)), []);
        let owed = tested.owed.unwrap();
        assert_eq!(tested.change(recurring("1h", policy), second(1)), policy != Missed::One);
        let after = tested.settled();
        assert_eq!(after.iter().filter(|job| due_at(job) == owed).count(), given, "{policy:?}");
        assert_eq!(tested.missed_count as usize, 1 - given);
    }
}

// Cron expressions against an oracle that looks at every minute.

/// One field of a cron expression: its text, and the values that it allows.
#[derive(Clone)]
struct Field {
    text: String,
    values: BTreeSet<u32>,
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Field {
    fn is_star(&self) -> bool {
        self.text == "*"
    }

    /// Whether it names one value, also as `2-2`.
    fn is_one(&self) -> bool {
        self.values.len() == 1 && !self.text.starts_with('*')
    }
}

fn field(least: u32, most: u32) -> impl Strategy<Value = Field> {
    let value = least..=most;
    prop_oneof![
        4 => Just(Field { text: "*".into(), values: (least..=most).collect() }),
        4 => value.clone().prop_map(|v| Field { text: v.to_string(), values: [v].into() }),
        1 => (2..=20u32).prop_map(move |step| Field {
            text: format!("*/{step}"),
            values: (least..=most).step_by(step as usize).collect(),
        }),
        1 => (value.clone(), value.clone()).prop_map(|(a, b)| Field {
            text: format!("{}-{}", a.min(b), a.max(b)),
            values: (a.min(b)..=a.max(b)).collect(),
        }),
        1 => prop::collection::btree_set(value, 2..4).prop_map(|values| Field {
            text: values.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
            values,
        }),
    ]
}

fn star() -> Field {
    Field { text: "*".into(), values: (0..=59).collect() }
}

/// An expression of five fields.
#[derive(Clone, Debug)]
struct Expression {
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

impl Expression {
    fn text(&self) -> String {
        let Self { minute, hour, day, month, weekday } = self;
        format!("{} {} {} {} {}", minute.text, hour.text, day.text, month.text, weekday.text)
    }

    fn on_day(&self, local: NaiveDateTime) -> bool {
        let day = self.day.values.contains(&local.day());
        let weekday = self.weekday.values.contains(&local.weekday().num_days_from_sunday());
        self.month.values.contains(&local.month())
            && match (self.day.is_star(), self.weekday.is_star()) {
                (false, false) => day || weekday,
                _ => day && weekday,
            }
    }

    fn takes(&self, local: NaiveDateTime) -> bool {
        self.on_day(local)
            && self.hour.values.contains(&local.hour())
            && self.minute.values.contains(&local.minute())
    }

    /// Its occurrences in `from..to`, found by looking at every minute.
    fn occurrences(&self, zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<Timestamp> {
        let one_a_day = self.minute.is_one() && self.hour.is_one();
        let minute = TimeDelta::minutes(1);
        let local = |time: DateTime<Utc>| time.with_timezone(&zone).naive_local();
        let mut found = Vec::new();
        let mut time = from;
        while time < to {
            let (before, here) = (local(time - minute), local(time));
            let mut left_out = std::iter::successors(Some(before + minute), |m| Some(*m + minute))
                .take_while(|missing| *missing < here);
            let second_time = matches!(
                here.and_local_timezone(zone),
                chrono::LocalResult::Ambiguous(first, _) if first.with_timezone(&Utc) < time
            );
            let regular = self.takes(here) && !(one_a_day && second_time);
            let moved = one_a_day && self.on_day(here) && left_out.any(|missing| self.takes(missing));
            if regular || moved {
                found.push(Timestamp::from_millis(time.timestamp_millis()));
            }
            time += minute;
        }
        found
    }
}

fn expression() -> impl Strategy<Value = Expression> {
    let day = prop_oneof![2 => Just(star()), 1 => field(1, 31)];
    let month = prop_oneof![4 => Just(star()), 1 => field(1, 12)];
    let weekday = prop_oneof![2 => Just(star()), 1 => field(0, 6)];
    // Small hours, where clocks are changed, are as likely as all others.
    let small = (0..=3u32).prop_map(|hour| Field { text: hour.to_string(), values: [hour].into() });
    let hour = prop_oneof![field(0, 23), small];
    (field(0, 59), hour, day, month, weekday).prop_map(|(minute, hour, day, month, weekday)| Expression {
        minute,
        hour,
        day,
        month,
        weekday,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn cron_occurrences_are_those_found_by_looking_at_every_minute(
        expression in expression(),
        (zone, change) in prop::sample::select(vec![
            ("UTC", "2026-02-28T00:00:00Z"),
            ("Asia/Kathmandu", "2027-12-31T20:00:00Z"),
            ("Europe/Brussels", "2026-03-29T01:00:00Z"),
            ("Europe/Brussels", "2026-10-25T01:00:00Z"),
            ("America/New_York", "2026-03-08T07:00:00Z"),
            ("America/New_York", "2026-11-01T06:00:00Z"),
            ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
            ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
            ("Asia/Beirut", "2026-03-28T22:00:00Z"),
            ("Asia/Beirut", "2026-10-24T21:00:00Z"),
        ]),
        before_minutes in 0..3000i64,
        jitter_ms in 0..60_000i64,
    ) {
        let tz: Tz = zone.parse().unwrap();
        let from = change.parse::<DateTime<Utc>>().unwrap() - TimeDelta::minutes(before_minutes);
        let to = from + TimeDelta::days(4);
        let expected = expression.occurrences(tz, from, to);

        let text = format!("CRON_TZ={zone} {}", expression.text());
        let period = period(&text);
        let start = Timestamp::from_millis(from.timestamp_millis());
        let end = Timestamp::from_millis(to.timestamp_millis() - 1);
        let mut last = Timestamp::from_millis(start.millis() - 1);
        let mut found = Vec::new();
        while let Some(next) = period.next(start, last).filter(|next| *next <= end) {
            prop_assert!(next > last);
            // Also from anywhere between two.
            let between = Timestamp::from_millis((last.millis() + jitter_ms).min(next.millis() - 1));
            prop_assert_eq!(period.next(start, between), Some(next));
            found.push(next);
            last = next;
        }
        let differ = found.iter().zip(&expected).find(|(a, b)| a != b);
        prop_assert_eq!((found.len(), differ), (expected.len(), None), "{}", text);

        // What a host sees that was down all the time: the latest, and the number of those before.
        let mut down = schedule("clock__c1", recurring(&text, Missed::One), start);
        prop_assert_eq!(due_times(&down.due(end)).last().copied(), expected.last().copied());
        prop_assert_eq!(down.missed_count, expected.len().saturating_sub(1).min(1000) as u64);
    }
}

#[test]
fn cron_expressions_that_are_seldom_or_never_due_end_their_search() {
    let now = at("2026-03-01T00:00:00Z");
    for (text, next) in [
        ("0 0 30 2 *", None),
        ("0 0 0 31 4,6,9,11 *", None),
        ("0 0 29 2 *", Some("2028-02-29T00:00:00.000Z")),
        // Day of the month or weekday, as cron has it.
        ("0 0 29 2 0", Some("2027-02-07T00:00:00.000Z")),
        ("0 0 1 1 *", Some("2027-01-01T00:00:00.000Z")),
        ("*/7 * * * * *", Some("2026-03-01T00:00:07.000Z")),
    ] {
        let found = period(text).next(now, now);
        assert_eq!(found.map(|t| t.to_string()).as_deref(), next, "{text}");
    }
    let mut never = schedule("clock__c1", recurring("0 0 30 2 *", Missed::All), now);
    assert_eq!(never.next_due, None);
    assert_eq!(never.due(at("2030-01-01T00:00:00Z")), []);
}
