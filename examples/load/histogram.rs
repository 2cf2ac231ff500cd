//! Latency counts in buckets of at most 1.6 % width, so that a percentile needs no list of samples.

/// Buckets per power of two.
const STEPS: u64 = 64;
/// Enough powers of two for 2^40 ns, eighteen minutes.
const BUCKETS: usize = (40 * STEPS) as usize;

pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
        }
    }

    fn bucket(nanos: u64) -> usize {
        if nanos < STEPS {
            return nanos as usize;
        }
        let power = u64::from(nanos.ilog2()) - 6;
        let within = (nanos >> power) - STEPS;
        ((power + 1) * STEPS + within).min(BUCKETS as u64 - 1) as usize
    }

    fn lower_edge(bucket: usize) -> u64 {
        let bucket = bucket as u64;
        if bucket < STEPS {
            return bucket;
        }
        let power = bucket / STEPS - 1;
        (STEPS + bucket % STEPS) << power
    }

    pub(crate) fn record(&mut self, nanos: u64) {
        self.counts[Self::bucket(nanos)] += 1;
        self.total += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
    }

    /// The value below which `share` (0..=1) of the samples lie, in nanoseconds; `None` without samples.
    pub(crate) fn quantile(&self, share: f64) -> Option<u64> {
        if self.total == 0 {
            return None;
        }
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(Self::lower_edge(bucket));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Histogram;

    #[test]
    fn quantiles_stay_within_two_percent_of_the_samples() {
        let mut histogram = Histogram::new();
        for nanos in 1..=100_000 {
            histogram.record(nanos);
        }
        for (share, expected) in [(0.5, 50_000.0), (0.99, 99_000.0), (1.0, 100_000.0)] {
            let found = histogram.quantile(share).unwrap() as f64;
            assert!((found - expected).abs() / expected < 0.02, "{share}: {found}");
        }
        assert_eq!(Histogram::new().quantile(0.5), None);
    }

    #[test]
    fn a_sample_beyond_the_last_bucket_is_kept_in_it() {
        let mut histogram = Histogram::new();
        histogram.record(u64::MAX);
        assert!(histogram.quantile(0.5).unwrap() > 1 << 39);
    }
}
