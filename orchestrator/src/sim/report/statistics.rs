//! Means and quantiles of figures.

/// Of sorted values.
pub(super) fn quantile(values: &[f64], share: f64) -> f64 {
    let index = (share * values.len() as f64) as usize;
    values.get(index.min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / (values.len() as f64).max(1.0)
}

/// The standard deviation; 0 of one value.
pub(super) fn spread(values: &[f64]) -> f64 {
    let middle = mean(values);
    let squares: f64 = values.iter().map(|value| (value - middle).powi(2)).sum();
    (squares / (values.len() as f64 - 1.0).max(1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_and_a_spread_that_of_a_sample() {
        let values: Vec<_> = (0..100).map(f64::from).collect();
        assert_eq!((quantile(&values, 0.5), quantile(&values, 0.99)), (50.0, 99.0));
        assert_eq!((quantile(&[], 0.5), mean(&[]), spread(&[3.0])), (0.0, 0.0, 0.0));
        assert!((spread(&[1.0, 3.0]) - 2.0_f64.sqrt()).abs() < 1e-12);
    }
}
