//! Random numbers that are the same for the same seed, on every machine and for ever: SplitMix64 and the distributions
//! that the traces need.

use std::f64::consts::TAU;

/// A seeded generator.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// From 0 up to and without 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of `0..count`.
    pub fn below(&mut self, count: usize) -> usize {
        (self.unit() * count as f64) as usize
    }

    /// One of `least..=most`.
    pub fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.below(most - least + 1)
    }

    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// Standard normal.
    pub fn gauss(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (TAU * self.unit()).cos()
    }

    /// A whole number around `median`, within bounds.
    pub fn lognormal(&mut self, median: f64, sigma: f64, least: u32, most: u32) -> u32 {
        let value = median * (sigma * self.gauss()).exp();
        (value as u32).clamp(least, most)
    }

    /// An index, by weight.
    pub fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut left = self.unit() * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return index;
            }
        }
        weights.len().saturating_sub(1)
    }
}

/// Spreads the bits of a number over all of it.
pub fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(count: usize, mut draw: impl FnMut() -> f64) -> f64 {
        (0..count).map(|_| draw()).sum::<f64>() / count as f64
    }

    #[test]
    fn the_same_seed_draws_the_same_and_another_does_not() {
        let draw = |seed| (0..4).scan(Rng::new(seed), |rng, _| Some(rng.bits())).collect::<Vec<_>>();
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn distributions_have_their_means() {
        let mut rng = Rng::new(1);
        assert!((mean(100_000, || rng.unit()) - 0.5).abs() < 0.01);
        assert!((mean(100_000, || rng.exponential(25.0)) - 25.0).abs() < 0.5);
        assert!(mean(100_000, || rng.gauss()).abs() < 0.02);
        assert!((mean(100_000, || rng.gauss().powi(2)) - 1.0).abs() < 0.03);
        // The mean of a lognormal is median * exp(sigma^2 / 2).
        let around = mean(100_000, || f64::from(rng.lognormal(200.0, 0.8, 1, 100_000)));
        assert!((around - 275.0).abs() < 6.0, "{around}");
        assert!((mean(100_000, || rng.between(4, 12) as f64) - 8.0).abs() < 0.05);
        assert!((mean(100_000, || rng.weighted(&[0.5, 0.35, 0.15]) as f64) - 0.65).abs() < 0.02);
    }
}
