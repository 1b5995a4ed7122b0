//! What errors are measured by.

use super::size;

#[test]
fn a_few_large_elements_are_no_scale_and_a_distribution_is_one() {
    // One element in two hundred is far larger.
    let mut outlier: Vec<f32> = (0..200).map(|i| 1.0 + i as f32 / 200.0).collect();
    outlier[7] = 50.0;
    assert!((1.9..2.1).contains(&size(&mut outlier)));
    // One class in a thousand has all of the probability.
    let mut classes = vec![1e-9f32; 1000];
    classes[3] = 1.0;
    assert!((size(&mut classes) - 1e-3).abs() < 1e-8);
    assert_eq!(size(&mut []), 0.0);
}
