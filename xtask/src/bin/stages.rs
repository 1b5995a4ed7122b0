//! Time of the engine's stages for the circuit of a card, on random columns, as a bar chart.
//!
//! ```text
//! cargo xtask stages -- model.zkcard [portable|ifma] [proofs] [runs]
//! ```

use ff::Field;
use halo2_proofs::poly::commitment::Params;
use halo2_proofs::transcript::{Blake2bWrite, Challenge255};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::sync::Arc;
use std::time::Instant;
use zkinfer_circuits::card::Card;
use zkinfer_circuits::verify::{Limits, Plan};
use zkinfer_engine::{C, F, Generators, Key, Prover, Stages};
use zkinfer_kernels::vector::{Backend, Portable};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let bytes = std::fs::read(&args[1]).expect("the first argument is a card file");
    let card = Card::from_bytes(&bytes, usize::MAX).expect("a card");
    let plan = Plan::new(card.segments[0].program.clone(), card.k, &Limits::default())
        .expect("a valid program");
    let number = |i: usize, default| {
        args.get(i)
            .map_or(default, |v| v.parse().expect("a number"))
    };
    let (proofs, runs) = (number(3, 20), number(4, 1));
    match args.get(2).map_or("ifma", String::as_str) {
        "portable" => stages::<Portable>(&plan, proofs, runs),
        #[cfg(target_arch = "x86_64")]
        "ifma" => stages::<zkinfer_kernels::vector::Ifma>(&plan, proofs, runs),
        other => eprintln!("unknown backend {other}"),
    }
}

fn stages<B: Backend>(plan: &Plan, proofs: usize, runs: usize) {
    let backend = B::detect().expect("this machine has the backend");
    let params = Params::<C>::new(plan.layout.k);
    let circuit = plan.circuit();
    let clock = Instant::now();
    let vk = circuit.verifying_key(&params).expect("the plan fits");
    println!("verifying key {:?}", clock.elapsed());
    let clock = Instant::now();
    let generators = Arc::new(Generators::new(backend, &params).expect("known format"));
    println!("generators {:?}", clock.elapsed());
    let clock = Instant::now();
    let key = Key::new(generators, circuit.description(), &plan.fixed, vk).expect("it fits");
    println!("key {:?}", clock.elapsed());

    let columns = &plan.layout.columns;
    let rows = plan.layout.last + 1;
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let small: Vec<Vec<F>> = (0..columns.phase1())
        .map(|_| (0..rows).map(|_| F::from(rng.next_u64() >> 52)).collect())
        .collect();
    let wide: Vec<Vec<F>> = (columns.phase1()..columns.advice())
        .map(|_| (0..rows).map(|_| F::random(&mut rng)).collect())
        .collect();
    println!(
        "k {}, small columns {}, wide columns {}",
        plan.layout.k,
        small.len(),
        wide.len()
    );
    println!(
        "gates: {:?}",
        zkinfer_engine::gates::lower(circuit.description(), 2)
            .program
            .cost()
    );
    let instances = vec![vec![vec![F::ONE]; circuit.description().instance]; runs];
    let mut all = Vec::new();
    for _ in 0..proofs {
        let repeated = plan.repeated_columns();
        let mut prover = Prover::of_many(&key, runs, &repeated, ChaCha20Rng::seed_from_u64(2));
        for run in 0..runs {
            prover.commit(run, &small).expect("it fits");
        }
        for run in 0..runs {
            let mut at = 0;
            for same in repeated[columns.phase1()..].chunk_by(|a, b| a == b) {
                if run > 0 && same[0] {
                    prover.repeat(run, same.len()).expect("announced");
                } else {
                    prover
                        .commit(run, &wide[at..at + same.len()])
                        .expect("it fits");
                }
                at += same.len();
            }
        }
        let mut transcript = Blake2bWrite::<_, C, Challenge255<C>>::init(Vec::new());
        all.push(
            prover
                .finish(&instances, &mut transcript)
                .expect("complete"),
        );
    }
    // The proof of median length.
    all.sort_by_key(Stages::total);
    let stages = all[all.len() / 2];
    let total = stages.total();
    println!("total {:.1} ms", total.as_secs_f64() * 1e3);
    for (name, time) in stages.list() {
        let share = time.as_secs_f64() / total.as_secs_f64();
        let bar = "█".repeat((share * 50.0).round() as usize);
        println!(
            "{name:30} {:8.2} ms {:5.1} % {bar}",
            time.as_secs_f64() * 1e3,
            share * 100.0
        );
    }
}
