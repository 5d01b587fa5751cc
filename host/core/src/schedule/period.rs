//! Periods: `5s`, `3m`, `90`, `30 3 * * *`, `CRON_TZ=Europe/Brussels 30 3 * * *`.

use std::{fmt, str::FromStr, time::Duration};

use chrono::Utc;
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The most bytes that a period's text has: it is kept with the schedule, and an actor may write it.
const MOST_BYTES: usize = 1 << 10;

/// When an action recurs.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period {
    /// As it was written.
    text: String,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    /// Every so many milliseconds; never 0.
    Every(i64),
    /// By a calendar.
    Cron(Box<Cron>, Tz),
}

/// A period that is not one: says what is wrong and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a period: {why}. It takes a number with an optional unit s, m, h, d or w (`5s`; seconds without \
     one), or a cron expression of five or six fields (`30 3 * * *`), with `CRON_TZ=Europe/Brussels ` before it for a \
     time zone other than UTC"
)]
pub struct InvalidPeriod {
    text: String,
    why: String,
}

/// The longest fixed period: 10 years of 365 days.
const LONGEST_S: u64 = 10 * 365 * 86_400;

impl Period {
    /// Every so often, in whole seconds.
    ///
    /// # Errors
    /// If it is 0 or more than ten years.
    pub fn seconds(seconds: u64) -> Result<Self, InvalidPeriod> {
        format!("{seconds}s").parse()
    }

    /// The fixed distance of two occurrences; none for a cron expression.
    pub fn fixed(&self) -> Option<Duration> {
        match self.kind {
            Kind::Every(ms) => Some(Duration::from_millis(ms.unsigned_abs())),
            Kind::Cron(..) => None,
        }
    }

    /// The first occurrence after `time`. A fixed period counts from `anchor`, which is itself one. None if there is
    /// no further one, as for 30 February.
    ///
    /// Where a zone sets its clocks forward, an hour that is left out has no occurrences, but an expression that names
    /// one time of the day has it at the end of the gap. Where they are set back, the hour that comes twice has
    /// occurrences both times, but one time of the day only the first time.
    pub fn next(&self, anchor: Timestamp, time: Timestamp) -> Option<Timestamp> {
        match &self.kind {
            Kind::Every(_) if time < anchor => Some(anchor),
            Kind::Every(ms) => {
                let since = time.millis().checked_sub(anchor.millis())?;
                let n = since.div_euclid(*ms).checked_add(1)?;
                let due = anchor.millis().checked_add(n.checked_mul(*ms)?)?;
                (due <= Timestamp::MAX.millis()).then_some(Timestamp::from_millis(due))
            }
            Kind::Cron(cron, zone) => {
                let found = cron.find_next_occurrence(&time.to_chrono().with_timezone(zone), false).ok()?;
                let found = Timestamp::from_millis(found.with_timezone(&Utc).timestamp_millis());
                // Never at or before `time`, whatever the library makes of an hour that the zone has twice.
                (found > time).then_some(found)
            }
        }
    }

    /// The last occurrence at or before `time`, if it is later than `after`, which must be an occurrence.
    pub(super) fn latest(&self, anchor: Timestamp, after: Timestamp, time: Timestamp) -> Option<Timestamp> {
        let mut latest = self.next(anchor, after).filter(|next| *next <= time)?;
        if let Kind::Every(ms) = self.kind {
            let since = time.millis().checked_sub(anchor.millis())?;
            return Some(Timestamp::from_millis(anchor.millis() + since.div_euclid(ms) * ms));
        }
        // Bisection over `next`, which never falls, instead of a search backwards, which might see other occurrences
        // where clocks are changed. There is none after `none_after`, and they lie on whole seconds.
        let mut none_after = time;
        while none_after.millis() - latest.millis() >= 1000 {
            let middle =
                Timestamp::from_millis(latest.millis() + (none_after.millis() - latest.millis()) / 2);
            match self.next(anchor, middle).filter(|next| *next <= time) {
                Some(next) => latest = next,
                None => none_after = middle,
            }
        }
        Some(latest)
    }
}

impl FromStr for Period {
    type Err = InvalidPeriod;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |why: String| InvalidPeriod { text: text.into(), why };
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(wrong("it is empty".into()));
        }
        if trimmed.len() > MOST_BYTES {
            let shown = trimmed.chars().take(20).collect::<String>() + "…";
            let why = format!("it has {} bytes; {MOST_BYTES} are the most", trimmed.len());
            return Err(InvalidPeriod { text: shown, why });
        }
        let kind =
            if trimmed.contains(char::is_whitespace) || trimmed.contains('*') || trimmed.starts_with('@') {
                cron(trimmed).map_err(wrong)?
            } else {
                every(trimmed).map_err(wrong)?
            };
        Ok(Self { text: trimmed.into(), kind })
    }
}

fn every(text: &str) -> Result<Kind, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("it does not begin with a digit".into());
    }
    let unit_s = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(format!("`{unit}` is not a unit")),
    };
    let seconds = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit_s)).filter(|s| *s <= LONGEST_S);
    match seconds {
        Some(0) => Err("it is 0".into()),
        Some(seconds) => Ok(Kind::Every(i64::try_from(seconds * 1000).map_err(|e| e.to_string())?)),
        None => Err("it is more than ten years".into()),
    }
}

fn cron(text: &str) -> Result<Kind, String> {
    let (zone, pattern) = match text.strip_prefix("CRON_TZ=").or_else(|| text.strip_prefix("TZ=")) {
        Some(rest) => {
            let (name, pattern) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let zone = name.parse::<Tz>().map_err(|_| {
                format!("`{name}` is not a time zone of the IANA database, as `Europe/Brussels` is")
            })?;
            (zone, pattern.trim())
        }
        None => (Tz::UTC, text),
    };
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    let cron = parser.parse(pattern).map_err(|e| e.to_string().trim_end_matches('.').to_owned())?;
    Ok(Kind::Cron(Box::new(cron), zone))
}

impl TryFrom<String> for Period {
    type Error = InvalidPeriod;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.text
    }
}

impl PartialEq for Period {
    fn eq(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Every(a), Kind::Every(b)) => a == b,
            (Kind::Cron(..), Kind::Cron(..)) => self.text == other.text,
            _ => false,
        }
    }
}

impl Eq for Period {}

impl fmt::Debug for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Period({})", self.text)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
