use super::*;

/// Costs in money are the same numbers: one core for one second costs 1.
fn inputs() -> Inputs {
    Inputs {
        price_per_core_hour: 3600.0,
        reward: 10.0,
        gain: 4.0,
        stake: 30.0,
        ..Inputs::default()
    }
}

const COSTS: Costs = Costs {
    float: 0.5,
    inference: 1.0,
    prove: 20.0,
    verify: 2.0,
};

fn close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-12 * b.abs().max(1.0), "{a} is not {b}");
}

#[test]
fn money() {
    // Two core-hours at 5 cents; 18 s at 36 per hour.
    close(Inputs::default().money(7200.0), 0.1);
    close(
        Inputs {
            price_per_core_hour: 36.0,
            ..inputs()
        }
        .money(18.0),
        0.18,
    );
    close(
        Inputs {
            price_per_core_hour: 0.0,
            ..inputs()
        }
        .money(18.0),
        0.0,
    );
}

#[test]
fn break_even_rate_by_hand() {
    // (4 + 1) / (10 + 4 + 30).
    close(
        break_even_rate(&inputs(), 1.0, 0.0).unwrap().unwrap(),
        5.0 / 44.0,
    );
    // The provider pays 20 for a proof: (4 + 1) / (44 − 20).
    close(
        break_even_rate(&inputs(), 1.0, 20.0).unwrap().unwrap(),
        5.0 / 24.0,
    );
    // Nothing to gain, nothing to save: no checks are needed.
    let saint = Inputs {
        gain: 0.0,
        ..inputs()
    };
    close(break_even_rate(&saint, 0.0, 0.0).unwrap().unwrap(), 0.0);
    // Without a stake: (4 + 1) / 14; with nothing to lose at all, none.
    close(
        break_even_rate(
            &Inputs {
                stake: 0.0,
                ..inputs()
            },
            1.0,
            0.0,
        )
        .unwrap()
        .unwrap(),
        5.0 / 14.0,
    );
    let nothing = Inputs {
        stake: 0.0,
        reward: 0.0,
        ..inputs()
    };
    assert_eq!(break_even_rate(&nothing, 1.0, 0.0).unwrap(), None);
    // Exactly everything has to be checked.
    assert_eq!(
        break_even_rate(
            &Inputs {
                stake: 0.0,
                reward: 1.0,
                ..inputs()
            },
            1.0,
            0.0
        )
        .unwrap(),
        Some(1.0)
    );
    // Proofs that cost the provider more than all it can lose.
    assert_eq!(break_even_rate(&inputs(), 1.0, 44.0).unwrap(), None);
    assert_eq!(break_even_rate(&inputs(), 1.0, 50.0).unwrap(), None);
}

/// The definition: at the break-even rate both earn the same, a little above honesty pays, a little below it does not.
#[test]
fn honesty_pays_above_the_break_even_rate_only() {
    for payer in [Payer::Client, Payer::Provider] {
        let inputs = Inputs {
            proof_paid_by: payer,
            ..inputs()
        };
        let (run, prove) = (COSTS.inference, COSTS.prove);
        let rate = break_even_rate(&inputs, run, paid_by_provider(&inputs, prove))
            .unwrap()
            .unwrap();
        let at = |rate: f64| proofs(&inputs, Regime::SampledProof, run, prove, 0.0, rate, rate);
        assert!(
            at(rate + 1e-9).deters && !at(rate - 1e-9).deters,
            "{payer:?}"
        );
        let lie = (1.0 - rate) * (inputs.reward + inputs.gain) - rate * inputs.stake;
        close(at(rate).profit, lie);
    }
}

#[test]
fn regimes_by_hand() {
    let economics = Economics::new(&inputs(), &COSTS).unwrap();
    let of = |regime| *economics.outcome(regime).unwrap();
    // 1 + 20 + 2; the client pays for the proof, so the provider keeps 10 − 1.
    let always = of(Regime::AlwaysProve);
    close(always.cost, 23.0);
    close(always.profit, 9.0);
    assert!(always.deters);
    // 1 + 0.01 · 22; 9 > 0.5·14 − 0.5·30.
    let demand = of(Regime::OnDemand);
    close(demand.cost, 1.22);
    assert!(demand.deters);
    // Twice 5/44; 1 + 10/44 · 22.
    let sampled = of(Regime::SampledProof);
    close(sampled.rate, 10.0 / 44.0);
    close(sampled.cost, 6.0);
    assert!(sampled.deters);
    // Twice (4 + 0.5)/44; 0.5 + 9/44 · 0.5.
    let rerun = of(Regime::SampledRerun);
    close(rerun.rate, 9.0 / 44.0);
    close(rerun.cost, 0.5 + 4.5 / 44.0);
    // One in ten lies, one failure in 10⁹: see below.
    let n_fold = of(Regime::NFold);
    close(
        n_fold.cost,
        economics.executions_needed.unwrap() as f64 * 0.5,
    );
    // 23 / 0.5 = 46 runs cost as much.
    assert_eq!(economics.executions_that_cost_more, Some(47));
    close(economics.break_even_rate.unwrap(), 5.0 / 44.0);
}

#[test]
fn several_verifiers_pay_for_one_proof() {
    let many = Inputs {
        verifiers: 1000,
        ..inputs()
    };
    close(
        Economics::new(&many, &COSTS)
            .unwrap()
            .outcome(Regime::AlwaysProve)
            .unwrap()
            .cost,
        2021.0,
    );
}

#[test]
fn proof_on_demand_fails_where_nobody_suspects() {
    let trusting = Inputs {
        suspicion: 0.05,
        ..inputs()
    };
    let economics = Economics::new(&trusting, &COSTS).unwrap();
    assert!(!economics.outcome(Regime::OnDemand).unwrap().deters);
    // 0.05 < 5/44 < 0.2.
    let wary = Inputs {
        suspicion: 0.2,
        ..inputs()
    };
    assert!(
        Economics::new(&wary, &COSTS)
            .unwrap()
            .outcome(Regime::OnDemand)
            .unwrap()
            .deters
    );
}

#[test]
fn where_no_rate_deters_there_is_no_sampling() {
    let poor = Inputs {
        proof_paid_by: Payer::Provider,
        stake: 0.0,
        reward: 5.0,
        ..inputs()
    };
    let economics = Economics::new(&poor, &COSTS).unwrap();
    assert_eq!(
        (
            economics.break_even_rate,
            economics.outcome(Regime::SampledProof)
        ),
        (None, None)
    );
    // An honest provider would earn 5 − 1 − 20.
    let always = economics.outcome(Regime::AlwaysProve).unwrap();
    close(always.profit, -16.0);
    assert!(!always.deters, "a lie loses nothing here, honesty loses 16");
}

#[test]
fn sampling_never_exceeds_everything() {
    let tight = Inputs {
        stake: 0.0,
        reward: 2.0,
        ..inputs()
    };
    // 5/6, twice.
    assert_eq!(
        Economics::new(&tight, &COSTS)
            .unwrap()
            .outcome(Regime::SampledProof)
            .unwrap()
            .rate,
        1.0
    );
}

#[test]
fn majorities_by_hand() {
    // Of three: 3·0.01·0.9 + 0.001 = 0.028.
    assert_eq!(executions_needed(0.1, 0.1), Ok(Some(1)));
    assert_eq!(executions_needed(0.1, 0.099), Ok(Some(3)));
    assert_eq!(executions_needed(0.1, 0.028_000_1), Ok(Some(3)));
    // Of five: 10·0.001·0.81 + 5·0.0001·0.9 + 0.00001 = 0.00856.
    assert_eq!(executions_needed(0.1, 0.027_999), Ok(Some(5)));
    assert_eq!(executions_needed(0.1, 0.008_560_1), Ok(Some(5)));
    assert_eq!(executions_needed(0.1, 0.008_559), Ok(Some(7)));
    // Nobody lies, everybody lies, every second one lies, certainty is asked for.
    assert_eq!(executions_needed(0.0, 0.0), Ok(Some(1)));
    assert_eq!(executions_needed(1.0, 0.5), Ok(None));
    assert_eq!(executions_needed(0.5, 0.1), Ok(None));
    assert_eq!(executions_needed(0.1, 0.0), Ok(None));
    assert_eq!(executions_needed(0.7, 1.0), Ok(Some(1)));
}

/// The default inputs, by exact summation of the binomial distribution.
#[test]
fn majorities_by_summation() {
    let fails = |n: u64| -> f64 {
        (n.div_ceil(2)..=n)
            .map(|k| {
                (0..k)
                    .map(|i| (n - i) as f64 / (k - i) as f64)
                    .product::<f64>()
                    * 0.1f64.powi(k as i32)
                    * 0.9f64.powi((n - k) as i32)
            })
            .sum()
    };
    let needed = executions_needed(0.1, 1e-9).unwrap().unwrap();
    assert!(
        fails(needed) <= 1e-9 && fails(needed - 2) > 1e-9,
        "{needed}: {} {}",
        fails(needed),
        fails(needed - 2)
    );
}

#[test]
fn detection_by_hand() {
    close(detection(0.1, 1).unwrap(), 0.1);
    close(detection(0.1, 2).unwrap(), 0.19);
    close(detection(0.5, 3).unwrap(), 0.875);
    assert_eq!(detection(1.0, 1), Ok(1.0));
    assert_eq!(detection(1.0, 0), Ok(0.0));
    assert_eq!(detection(0.0, 1000), Ok(0.0));
    assert_eq!(
        detection(1.5, 1),
        Err(EconomicsError::NotAProbability {
            name: "rate",
            value: 1.5
        })
    );
}

#[test]
fn executions_that_cost_more_by_hand() {
    assert_eq!(executions_that_cost_more(10.0, 3.0), Ok(Some(4)));
    // Exactly three runs cost as much: the fourth makes it more.
    assert_eq!(executions_that_cost_more(9.0, 3.0), Ok(Some(4)));
    assert_eq!(executions_that_cost_more(0.0, 3.0), Ok(Some(1)));
    assert_eq!(executions_that_cost_more(9.0, 0.0), Ok(None));
    assert!(executions_that_cost_more(f64::INFINITY, 1.0).is_err());
}

#[test]
fn the_verifier_s_break_even_by_hand() {
    // 5 ms against 10 µs for 20 000 multiply-adds: 500 times as many.
    close(verifier_break_even(5e-3, 1e-5, 20_000).unwrap(), 1e7);
    assert_eq!(
        verifier_break_even(1.0, 0.0, 1),
        Err(EconomicsError::Zero {
            name: "float inference"
        })
    );
    assert_eq!(
        verifier_break_even(1.0, 1.0, 0),
        Err(EconomicsError::Zero {
            name: "multiply_adds"
        })
    );
}

#[test]
fn batches_by_hand() {
    // 4 ms for a batch, 1 ms for each proof.
    let exact = Amortisation::fit(&[(1, 5e-3), (4, 2e-3), (16, 1.25e-3)]).unwrap();
    close(exact.fixed, 4e-3);
    close(exact.each, 1e-3);
    close(exact.per_proof(8), 1.5e-3);
    // 4/(1.1 − 1).
    let size = exact.batch_for(1.1e-3).unwrap().unwrap();
    assert!((40..=41).contains(&size), "{size}");
    assert_eq!(exact.batch_for(5e-3), Ok(Some(1)));
    assert_eq!(exact.batch_for(2e-3 + 1e-9), Ok(Some(4)));
    assert_eq!(exact.batch_for(1e-3), Ok(None));
    assert_eq!(exact.batch_for(0.5e-3), Ok(None));
    assert_eq!(exact.batch_for(0.0), Ok(None));
    assert!(matches!(
        exact.batch_for(f64::NAN),
        Err(EconomicsError::NotAnAmount { .. })
    ));
}

#[test]
fn batches_have_no_negative_parts() {
    // Per proof it gets dearer: nothing is shared.
    let worse = Amortisation::fit(&[(1, 1e-3), (10, 1.2e-3), (100, 1.3e-3)]).unwrap();
    assert_eq!(worse.fixed, 0.0);
    assert!((1e-3..1.3e-3).contains(&worse.each));
    // Cheaper than sharing everything would be.
    let better = Amortisation::fit(&[(1, 1e-3), (10, 0.5e-4)]).unwrap();
    assert_eq!(better.each, 0.0);
    assert!(better.fixed > 0.0);
}

#[test]
fn batches_that_do_not_tell() {
    assert_eq!(
        Amortisation::fit(&[]),
        Err(EconomicsError::TooFewBatches { sizes: 0 })
    );
    assert_eq!(
        Amortisation::fit(&[(8, 1.0), (8, 1.1)]),
        Err(EconomicsError::TooFewBatches { sizes: 1 })
    );
    assert_eq!(
        Amortisation::fit(&[(0, 1.0), (8, 1.1)]),
        Err(EconomicsError::Zero { name: "a batch" })
    );
    assert_eq!(
        Amortisation::fit(&[(1, 0.0), (8, 1.1)]),
        Err(EconomicsError::Zero { name: "a batch" })
    );
    assert!(matches!(
        Amortisation::fit(&[(1, f64::NAN), (8, 1.1)]),
        Err(EconomicsError::NotAnAmount { .. })
    ));
}

#[test]
fn meaningless_inputs_are_refused_by_name() {
    let refused = |change: fn(&mut Inputs)| {
        let mut inputs = inputs();
        change(&mut inputs);
        Economics::new(&inputs, &COSTS).unwrap_err().to_string()
    };
    assert_eq!(
        refused(|i| i.demand = 1.5),
        "demand is 1.5, and a probability lies between 0 and 1"
    );
    assert!(refused(|i| i.suspicion = -0.1).starts_with("suspicion is -0.1"));
    assert!(refused(|i| i.dishonest = f64::NAN).starts_with("dishonest is NaN"));
    assert!(refused(|i| i.tolerated_failure = 2.0).starts_with("tolerated_failure is 2"));
    assert_eq!(
        refused(|i| i.stake = f64::INFINITY),
        "stake is inf, and must be finite and not negative"
    );
    assert!(refused(|i| i.gain = -1.0).starts_with("gain is -1"));
    assert!(refused(|i| i.reward = f64::NAN).starts_with("reward is NaN"));
    assert!(refused(|i| i.price_per_core_hour = -1.0).starts_with("price_per_core_hour"));
    assert!(refused(|i| i.target_verify_seconds = -1.0).starts_with("target_verify_seconds"));
    assert!(refused(|i| i.sampling_margin = 0.5).starts_with("sampling_margin"));
    assert_eq!(refused(|i| i.verifiers = 0), "verifiers must not be zero");
    let endless = Costs {
        prove: f64::INFINITY,
        ..COSTS
    };
    assert!(Economics::new(&inputs(), &endless).is_err());
}

#[test]
fn defaults_are_meaningful() {
    let inputs = Inputs::default();
    inputs.check().unwrap();
    let economics = Economics::new(&inputs, &COSTS).unwrap();
    assert_eq!(economics.outcomes.len(), 5);
    assert!(economics.outcomes.iter().all(|o| o.deters), "{economics:?}");
    let json = serde_json::to_string(&inputs).unwrap();
    assert_eq!(serde_json::from_str::<Inputs>(&json).unwrap(), inputs);
    assert_eq!(serde_json::from_str::<Inputs>("{}").unwrap(), inputs);
    assert!(serde_json::from_str::<Inputs>(r#"{"steak": 1}"#).is_err());
}
