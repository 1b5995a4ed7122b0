//! The economics closed: hosts that cheat at a rate against clients that ask at another, and what comes of it against
//! the formulas of `zkinfer-bench`.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use zkinfer_bench::economics::{Inputs, break_even_rate, detection};
use zkinfer_client::Rate;

/// What a host earns in an answer on average that cheats in a share of them, is asked about a share, and loses reward
/// and stake when it is asked about a lie.
fn profit(
    inputs: &Inputs,
    run: f64,
    cheats: f64,
    asks: Rate,
    answers: u32,
    rng: &mut ChaCha20Rng,
) -> f64 {
    let cheats = Rate::new(cheats).unwrap();
    let one = |rng: &mut ChaCha20Rng| match (cheats.draw(rng), asks.draw(rng)) {
        (false, _) => inputs.reward - run,
        (true, false) => inputs.reward + inputs.gain,
        (true, true) => -inputs.stake,
    };
    (0..answers).map(|_| one(rng)).sum::<f64>() / f64::from(answers)
}

#[test]
fn detection_is_what_the_formula_says() {
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let trials = 20_000;
    for (rate, lies) in [(0.02, 1), (0.02, 50), (0.1, 10), (0.5, 3)] {
        let asks = Rate::new(rate).unwrap();
        let caught = |rng: &mut ChaCha20Rng| (0..lies).fold(false, |c, _| asks.draw(rng) || c);
        let found = (0..trials).filter(|_| caught(&mut rng)).count() as f64 / f64::from(trials);
        let expected = detection(rate, lies).unwrap();
        // Five standard deviations of a share of the trials.
        let room = 5.0 * (expected * (1.0 - expected) / f64::from(trials)).sqrt();
        assert!(
            (found - expected).abs() < room,
            "{rate}, {lies}: {found} for {expected}"
        );
    }
}

#[test]
fn lying_pays_below_the_break_even_rate_alone() {
    let mut inputs = Inputs::default();
    (inputs.reward, inputs.gain, inputs.stake) = (0.01, 1.0, 10.0);
    let run = 0.001;
    let rate = break_even_rate(&inputs, run, 0.0).unwrap().unwrap();
    let mut rng = ChaCha20Rng::from_seed([2; 32]);
    let answers = 400_000;
    let honest = inputs.reward - run;
    for (times, cheats) in [(0.5, 0.2), (0.5, 1.0), (1.0, 1.0), (2.0, 0.2), (2.0, 1.0)] {
        let asks = Rate::new(times * rate).unwrap();
        let found = profit(&inputs, run, cheats, asks, answers, &mut rng);
        // (1 − s)(R + G) − s·S of the lies, R − c of the others.
        let s = times * rate;
        let lie = (1.0 - s) * (inputs.reward + inputs.gain) - s * inputs.stake;
        let expected = cheats * lie + (1.0 - cheats) * honest;
        // A lie is worth between −S and R + G: five standard deviations, at most.
        let spread = inputs.reward + inputs.gain + inputs.stake;
        let variance = cheats * s * (1.0 - s) * spread * spread
            + cheats * (1.0 - cheats) * (lie - honest).powi(2);
        let room = 5.0 * (variance / f64::from(answers)).sqrt();
        assert!(
            (found - expected).abs() < room,
            "{times}, {cheats}: {found} for {expected}, {room}"
        );
        match times {
            t if t < 1.0 => assert!(found > honest),
            t if t > 1.0 => assert!(found < honest),
            _ => assert!((found - honest).abs() < room),
        }
    }
}

#[test]
fn draws_cannot_be_foreseen_from_those_before() {
    assert!(Rate::new(1.01).is_err() && Rate::new(-0.1).is_err() && Rate::new(f64::NAN).is_err());
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    let (never, always) = (Rate::new(0.0).unwrap(), Rate::new(1.0).unwrap());
    assert!((0..10_000).all(|_| !never.draw(&mut rng) && always.draw(&mut rng)));
    // A draw takes what the generator gives next, nothing else.
    let half = Rate::new(0.5).unwrap();
    let mut same = rng.clone();
    for _ in 0..1000 {
        assert_eq!(half.draw(&mut rng), same.next_u64() >> 63 == 0);
    }
}
