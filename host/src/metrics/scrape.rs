//! What is not counted, but looked at when somebody asks.

use ays_store::StoreStatus;
use prometheus::TextEncoder;

use super::{Metrics, book::Book};

/// How things are at the moment.
#[derive(Debug, Default)]
pub struct Seen {
    /// How the store is doing; none if it cannot be used.
    pub store: Option<StoreStatus>,
    /// How many actors are in service.
    pub actors: usize,
    /// The versions of actors that are quarantined: the actors' names and the versions' digests.
    pub quarantined: Vec<(String, String)>,
}

impl Seen {
    fn book(&self) -> prometheus::Result<Book> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let mut book = Book::default();
        let up = book.gauges("ays_store_up", "Whether the store can be used.", [])?;
        up.of([]).set(self.store.is_some().into());
        let waiting = book.gauges(
            "ays_jobs_pending",
            "Jobs that have not ended: they wait, are being executed, or are to be tried again.",
            [],
        )?;
        let dead = book.gauges("ays_dead_letters", "Letters in the dead-letter list.", [])?;
        let services = book.gauges("ays_services", "Services.", [])?;
        if let Some(store) = &self.store {
            waiting.of([]).set(number(store.pending));
            dead.of([]).set(number(store.dead));
            services.of([]).set(number(store.services));
        }
        let actors = book.gauges("ays_actors_loaded", "Actors that are loaded.", [])?;
        actors.of([]).set(number(self.actors as u64));
        let quarantined = book.gauges(
            "ays_actor_quarantined",
            "1 for each version of an actor that is out of service since it kept being stopped.",
            ["actor", "digest"],
        )?;
        for (actor, digest) in &self.quarantined {
            quarantined.of([actor, digest]).set(1);
        }
        Ok(book)
    }
}

impl Metrics {
    /// All metrics, in the text format.
    ///
    /// # Errors
    /// If one has no text.
    pub fn text(&self, seen: &Seen) -> prometheus::Result<String> {
        let mut families = self.0.book.gather();
        families.extend(seen.book()?.gather());
        TextEncoder::new().encode_to_string(&families)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::book::Definition;

    /// The rows of the documentation's tables: `` | `name` | kind | `label`, `label` | … ``.
    fn documented() -> Vec<(String, String, Vec<String>)> {
        let text = include_str!("../../../docs/metrics.md");
        let rows = text.lines().filter(|line| line.starts_with("| `ays_"));
        let words = |cell: &str| -> Vec<String> {
            cell.split(',')
                .map(|word| word.trim().trim_matches('`').to_owned())
                .filter(|word| !word.is_empty())
                .collect()
        };
        let mut rows: Vec<_> = rows
            .map(|row| {
                let mut cells = row.trim_matches('|').split('|');
                let mut cell = || cells.next().expect("a row has four cells");
                (words(cell()).concat(), words(cell()).concat(), words(cell()))
            })
            .collect();
        rows.sort();
        rows
    }

    #[test]
    fn the_documentation_and_the_host_name_the_same_metrics() {
        let metrics = Metrics::new().expect("the definitions are right");
        let scraped = Seen::default().book().expect("the definitions are right");
        let all = metrics.0.book.definitions().iter().chain(scraped.definitions());
        let mut defined: Vec<_> = all
            .map(|Definition { name, kind, labels }| {
                (
                    (*name).to_owned(),
                    (*kind).to_owned(),
                    labels.iter().map(|&label| label.to_owned()).collect(),
                )
            })
            .collect();
        defined.sort();
        assert_eq!(documented(), defined);
    }
}
