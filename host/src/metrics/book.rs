//! Metrics as they are defined: name, kind, labels, help.

use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, Result,
    core::{MetricVec, MetricVecBuilder},
    proto::MetricFamily,
};

/// Metrics of one name, one for each of the values that its labels have.
pub(super) struct Family<V, const LABELS: usize>(V);

pub(super) type Counters<const LABELS: usize> = Family<IntCounterVec, LABELS>;
pub(super) type Gauges<const LABELS: usize> = Family<IntGaugeVec, LABELS>;
pub(super) type Histograms<const LABELS: usize> = Family<HistogramVec, LABELS>;

impl<B: MetricVecBuilder, const LABELS: usize> Family<MetricVec<B>, LABELS> {
    /// The one with these labels, which is made when it is asked for first.
    pub(super) fn of(&self, labels: [&str; LABELS]) -> B::M {
        // This panics for a wrong number of labels; it was made with as many.
        self.0.with_label_values(&labels)
    }
}

/// A metric's definition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Definition {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) labels: Vec<&'static str>,
}

/// Metrics, and how they are defined.
#[derive(Default)]
pub(super) struct Book {
    registry: Registry,
    definitions: Vec<Definition>,
}

impl Book {
    /// Its metrics as they are now, in order of name. Those of which there is none yet are left out.
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// How they are defined.
    #[cfg(test)]
    pub(super) fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    pub(super) fn counters<const LABELS: usize>(
        &mut self,
        name: &'static str,
        help: &str,
        labels: [&'static str; LABELS],
    ) -> Result<Counters<LABELS>> {
        self.add(name, "counter", &labels, IntCounterVec::new(Opts::new(name, help), &labels)?)
    }

    pub(super) fn gauges<const LABELS: usize>(
        &mut self,
        name: &'static str,
        help: &str,
        labels: [&'static str; LABELS],
    ) -> Result<Gauges<LABELS>> {
        self.add(name, "gauge", &labels, IntGaugeVec::new(Opts::new(name, help), &labels)?)
    }

    pub(super) fn histograms<const LABELS: usize>(
        &mut self,
        name: &'static str,
        help: &str,
        buckets: &[f64],
        labels: [&'static str; LABELS],
    ) -> Result<Histograms<LABELS>> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add(name, "histogram", &labels, HistogramVec::new(options, &labels)?)
    }

    fn add<B: MetricVecBuilder + 'static, const LABELS: usize>(
        &mut self,
        name: &'static str,
        kind: &'static str,
        labels: &[&'static str; LABELS],
        metrics: MetricVec<B>,
    ) -> Result<Family<MetricVec<B>, LABELS>> {
        self.registry.register(Box::new(metrics.clone()))?;
        self.definitions.push(Definition { name, kind, labels: labels.to_vec() });
        Ok(Family(metrics))
    }
}
