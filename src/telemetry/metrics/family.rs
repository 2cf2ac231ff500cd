//! A metric as it is declared, and samples made from the declaration.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// One metric: everything that is known about it before anything was counted.
#[derive(Debug)]
pub struct Family {
    /// `meetpoint_<area>_<noun>_<unit>[_total]`, or one of the `process_…` names that every Prometheus client uses.
    pub name: &'static str,
    /// What it counts, for a person.
    pub help: &'static str,
    /// How its values behave.
    pub kind: Kind,
    /// Its labels, each with every value it can have.
    pub labels: &'static [Label],
}

/// How a metric's values behave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Grows and shrinks.
    Gauge,
    /// Observations by these upper bounds, in ascending order.
    Histogram(&'static [f64]),
}

impl Kind {
    /// As in a `# TYPE` line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// A label and its closed set of values.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    /// The label's name.
    pub name: &'static str,
    /// Every value it can have.
    pub values: fn() -> Vec<&'static str>,
}

impl Family {
    pub(super) fn label_names(&self) -> Vec<&'static str> {
        self.labels.iter().map(|label| label.name).collect()
    }

    pub(super) fn opts(&self) -> prometheus::Opts {
        prometheus::Opts::new(self.name, self.help)
    }

    fn desc(&self) -> prometheus::Result<Desc> {
        let labels = self.label_names().into_iter().map(str::to_owned).collect();
        Desc::new(self.name.to_owned(), self.help.to_owned(), labels, HashMap::new())
    }

    /// The family with its only sample: a metric without labels.
    pub(super) fn single(&self, value: f64) -> MetricFamily {
        self.samples::<&str, 0>([([], value)])
    }

    /// The family with a sample per member of a closed set: a metric with one label. `counts` is in the order of the set.
    pub(super) fn by_label(&self, counts: &[u64]) -> MetricFamily {
        let words = self.labels.first().map(|label| (label.values)()).unwrap_or_default();
        debug_assert_eq!(words.len(), counts.len(), "{}", self.name);
        self.samples(
            words
                .into_iter()
                .zip(counts)
                .map(|(word, &count)| ([word], count as f64)),
        )
    }

    /// The family with these samples, each with the values of its labels in the order of [`Family::labels`].
    pub(super) fn samples<S: AsRef<str>, const N: usize>(
        &self,
        samples: impl IntoIterator<Item = ([S; N], f64)>,
    ) -> MetricFamily {
        debug_assert_eq!(N, self.labels.len(), "{}", self.name);
        let metrics = samples.into_iter().map(|(values, value)| {
            let pairs = self.labels.iter().zip(values).map(|(label, value)| {
                let mut pair = LabelPair::default();
                pair.set_name(label.name.to_owned());
                pair.set_value(value.as_ref().to_owned());
                pair
            });
            let mut metric = Metric::from_label(pairs.collect());
            match self.kind {
                Kind::Counter => {
                    let mut counter = Counter::default();
                    counter.set_value(value);
                    metric.set_counter(counter);
                }
                Kind::Gauge | Kind::Histogram(_) => {
                    let mut gauge = Gauge::default();
                    gauge.set_value(value);
                    metric.set_gauge(gauge);
                }
            }
            metric
        });
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(if self.kind == Kind::Counter {
            MetricType::COUNTER
        } else {
            MetricType::GAUGE
        });
        family.set_metric(metrics.collect());
        family
    }
}

/// A collector whose values are worked out at each scrape.
pub(super) struct AtScrape<F> {
    descs: Vec<Desc>,
    collect: F,
}

impl<F: Fn() -> Vec<MetricFamily> + Send + Sync> AtScrape<F> {
    /// `collect` yields samples of `families` and of no other.
    pub(super) fn new(families: &[&Family], collect: F) -> prometheus::Result<Self> {
        let descs = families.iter().map(|family| family.desc()).collect::<Result<_, _>>()?;
        Ok(Self { descs, collect })
    }
}

impl<F: Fn() -> Vec<MetricFamily> + Send + Sync> Collector for AtScrape<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        (self.collect)()
    }
}
