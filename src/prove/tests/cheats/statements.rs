//! Lies about challenges, weights, inputs, outputs, cards and bytes: what no gate but the transcript, the link, the support
//! proof or the decoder catches.

use super::*;
use crate::prove::tests::zoo::supported;
use group::Curve;

// --- challenges -------------------------------------------------------------------------------------------------------

/// Tells a lie about public columns that satisfies every gate; the link is not satisfied.
#[track_caller]
fn unlinked(mut lie: Lie<'_>) {
    let secret = secret(K, 1);
    let proven = prove(&secret, &mut lie);
    assert_eq!(lie.violated, BTreeSet::new());
    assert_eq!(
        judged(&verifier(&secret), &expected(), &proven.proof),
        Err(Rejection::Link)
    );
}

#[test]
fn constant_that_changes_on_the_way() {
    let public = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], _: &Challenges| {
        if phase == 4 {
            // No gate reads it there.
            columns[plan.description.sums.y_constants[0]][plan.layout.last] += F::ONE;
        }
    };
    unlinked(Lie {
        columns: Some(&public),
        ..Lie::default()
    });
}

#[test]
fn constant_that_is_not_the_challenge() {
    let challenges = |c: &mut Challenges| c.alpha += F::ONE;
    unlinked(Lie {
        challenges: Some(&challenges),
        ..Lie::default()
    });
}

/// A wrong accumulator that a public column makes up for, chosen by `choose`: which column, which row, and by what a change
/// there is multiplied in the sum of products.
fn absorbed_by(choose: &dyn Fn(&Plan, &[Vec<F>]) -> (usize, usize, F)) {
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let lane = lane(plan, linear);
        p.cells[lane.x][1] += 1;
        p.accumulators[lane.first_candidate][1] += 1 << plan.layout.range_bits;
    };
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], challenges: &Challenges| {
        if phase != 4 {
            return;
        }
        let lane = lane(plan, linear);
        let coefficients =
            Coefficients::new(&plan.program, &plan.expanded, &plan.layout, challenges);
        let index = plan.layout.lanes.iter().position(|l| l.x == lane.x);
        let gap = coefficients.rho(index.unwrap(), 0, 1) * F::from(1 << plan.layout.range_bits);
        let (column, row, factor) = choose(plan, columns);
        columns[column][row] += gap * factor.invert().unwrap();
    };
    unlinked(Lie {
        cells: Some(&cells),
        columns: Some(&columns),
        output: &[(0, 1)],
        ..Lie::default()
    });
}

#[test]
fn another_kappa() {
    absorbed_by(&|plan, _| (plan.description.sums.kappa.unwrap(), 0, -F::ONE));
}

#[test]
fn another_beta() {
    absorbed_by(&|plan, columns| {
        let table = &columns[plan.layout.table_column(0)];
        let row = table.iter().position(|t| *t != F::ZERO).unwrap();
        (plan.description.sums.beta[0], row, -table[row])
    });
}

#[test]
fn challenges_chosen_before_phase_1() {
    // With challenges of one's choice every gate can be satisfied; the verifier derives its own.
    let secret = secret(K, 1);
    let challenges = |c: &mut Challenges| {
        *c = Challenges {
            alpha: F::from(5),
            theta: c.theta.map(|_| F::from(6)),
            y: vec![F::from(7); c.y.len()],
        }
    };
    let mut lie = Lie {
        challenges: Some(&challenges),
        ..Lie::default()
    };
    let proven = prove(&secret, &mut lie);
    assert_eq!(lie.violated, BTreeSet::new());
    assert_eq!(
        verifier(&secret).verify(&expected(), &proven.proof),
        Err(Rejection::Link)
    );
}

// --- link: no gate is violated ----------------------------------------------------------------------------------------

/// A prover with other weights for one node under the same card.
fn other_weights(node: u32) {
    let honest = secret(K, 1);
    let mut model = zoo(6);
    let tensor = model.weights.iter_mut().find(|w| w.node == node).unwrap();
    tensor.data[0] += 1;
    let parts = vec![(model, honest.blinds().to_vec())];
    let cheat = Secret::from_parts(parts, honest.card().clone(), params(K)).unwrap();
    let mut lie = Lie::default();
    let proven = prove(&cheat, &mut lie);
    assert_eq!(lie.violated, BTreeSet::new());
    assert_eq!(
        verifier(&honest).verify(&expected(), &proven.proof),
        Err(Rejection::Link)
    );
}

#[test]
fn folded_weights_of_another_model() {
    for node in [4, 6, 8, 13, 16] {
        other_weights(node); // convolution (T), dense (S), table, output, grouped (T)
    }
}

#[test]
fn other_input_or_output_than_stated() {
    let secret = secret(K, 1);
    let run = secret.infer_integers(&image()).unwrap();
    let verifier = verifier(&secret);
    for claims in [(true, false), (false, true)] {
        let mut forged = run.clone();
        forged.forge(claims.0, claims.1);
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let visibility = Visibility {
            attach_input: true,
            ..Visibility::default()
        };
        let mut lie = Lie::default();
        let proven = secret
            .prove_with(&forged, &visibility, b"ctx", &mut lie, &mut rng)
            .unwrap();
        assert_eq!(lie.violated, BTreeSet::new());
        assert_eq!(
            verifier.verify(&expected(), &proven.proof),
            Err(Rejection::Link)
        );
    }
}

#[test]
fn commitment_to_another_input() {
    let secret = secret(K, 1);
    let run = secret.infer_integers(&image()).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let visibility = Visibility {
        input: SideVisibility::Committed,
        output: SideVisibility::Committed,
        attach_input: false,
    };
    let proven = secret.prove(&run, &visibility, b"ctx", &mut rng).unwrap();
    let verifier = verifier(&secret);
    let verdict = verifier.verify(&expected(), &proven.proof).unwrap();
    assert!(matches!(verdict.input, Side::Committed(_)));
    // The same values under another commitment: the statement differs, and so do all challenges.
    let again = secret.prove(&run, &visibility, b"ctx", &mut rng).unwrap();
    let other = Expected {
        input: Some(Side::Committed(again.input.clone().unwrap().points)),
        ..expected()
    };
    assert_eq!(
        verifier.verify(&other, &proven.proof),
        Err(Rejection::Statement { which: "input" })
    );
    let mut swapped = proven.proof.clone();
    swapped.runs[0].0 = again.proof.runs[0].0.clone();
    assert_eq!(verifier.verify(&other, &swapped), Err(Rejection::Link));
    // An opening of something else is refused by the prover.
    let wrong = Opening {
        points: again.output.unwrap().points,
        ..proven.input.unwrap()
    };
    let visibility = Visibility {
        input: SideVisibility::Opened(wrong),
        ..Visibility::default()
    };
    assert!(matches!(
        secret.prove(&run, &visibility, b"", &mut rng),
        Err(ProveError::Opening)
    ));
}

#[test]
fn committed_input_with_an_entry_on_the_constants_row() {
    // The commitment itself carries the entry, so the link holds; the biases would be scaled by 1 + entry.
    let cells = |plan: &Plan, p: &mut witness::Phase1| p.cells[plan.layout.lanes[0].x][0] = 1;
    let secret = secret(K, 1);
    let mut lie = Lie {
        cells: Some(&cells),
        ..Lie::default()
    };
    let _ = prove(&secret, &mut lie);
    // The zoo has biases, so the fold notices as well. Biases that are zero would leave the first gate alone.
    let found: Vec<&str> = lie.violated.iter().map(String::as_str).collect();
    assert_eq!(found, ["fold: sums agree", "input: first row is empty 0"]);
}

#[test]
fn weights_outside_the_architecture() {
    // A commitment with an entry from a neuron to itself: the support proof of the card cannot be made.
    let honest = secret(K, 1);
    let generators = engine::generators(engine::Engine::Auto, &params(K)).unwrap();
    let mut card = honest.card().clone();
    let group = honest
        .plan()
        .groups
        .iter()
        .position(|g| g.rows.len() < honest.plan().layout.last)
        .unwrap();
    let outside = (1..)
        .find(|r| !honest.plan().groups[group].rows.contains(r))
        .unwrap();
    let first: usize = honest.plan().groups[..group].iter().map(|g| g.points).sum();
    card.segments[0].points[first] = (card.segments[0].points[first]
        + engine::lagrange(&generators, outside as usize))
    .to_affine();
    let card = supported(&honest, card);
    assert_eq!(
        Verifier::new(card, bases(K), &Limits::default()).unwrap_err(),
        CardError::Support
    );
}

// --- statements -------------------------------------------------------------------------------------------------------

#[test]
fn other_card_context_or_claims() {
    let secret_a = secret(K, 1);
    let secret_b = secret(K, 2); // same architecture and weights, other blinds
    let proof = prove(&secret_a, &mut Lie::default()).proof;
    let (a, b) = (verifier(&secret_a), verifier(&secret_b));
    assert!(a.verify(&expected(), &proof).is_ok());
    assert_eq!(
        b.verify(&expected(), &proof),
        Err(Rejection::Model {
            proof: a.digest(),
            card: b.digest()
        })
    );
    let moved = Proof {
        card: b.digest(),
        ..proof.clone()
    };
    assert_eq!(b.verify(&expected(), &moved), Err(Rejection::Link));

    assert_eq!(
        a.verify(&Expected::default(), &proof),
        Err(Rejection::Context)
    );
    let replayed = Proof {
        context: b"other".to_vec(),
        ..proof.clone()
    };
    let other = Expected {
        context: b"other".to_vec(),
        ..Expected::default()
    };
    assert_eq!(a.verify(&other, &replayed), Err(Rejection::Link));

    let Claim::Values(mut values) = proof.runs[0].1.clone() else {
        panic!("outputs travel as values")
    };
    values[0] ^= 1;
    let forged = Proof {
        runs: vec![(proof.runs[0].0.clone(), Claim::Values(values.clone()))],
        ..proof.clone()
    };
    assert_eq!(a.verify(&expected(), &forged), Err(Rejection::Link));
    let wanted = Expected {
        output: Some(Side::Public(values.clone())),
        ..expected()
    };
    assert_eq!(
        a.verify(&wanted, &proof),
        Err(Rejection::Statement { which: "output" })
    );
    values.push(0);
    let longer = Proof {
        runs: vec![(proof.runs[0].0.clone(), Claim::Values(values.clone()))],
        ..proof.clone()
    };
    assert!(matches!(
        a.verify(&expected(), &longer),
        Err(Rejection::Length { .. })
    ));
    values.pop();
    values[0] = 64;
    let wide = Proof {
        runs: vec![(proof.runs[0].0.clone(), Claim::Values(values))],
        ..proof.clone()
    };
    assert!(matches!(
        a.verify(&expected(), &wide),
        Err(Rejection::Range {
            index: 0,
            value: 64,
            limit: 64,
            ..
        })
    ));
}

#[test]
fn every_byte_matters() {
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let secret = Secret::commit_at(
        dense(6),
        6,
        vec![],
        params(6),
        WeightVisibility::Hidden,
        &mut rng,
        &mut zkinfer_model::progress::silent,
    )
    .unwrap();
    let verifier = verifier(&secret);
    let run = secret.infer_integers(&[vec![1, 2, 3, 4]]).unwrap();
    let proof = secret
        .prove(
            &run,
            &Visibility {
                attach_input: true,
                ..Visibility::default()
            },
            b"ctx",
            &mut rng,
        )
        .unwrap()
        .proof;
    assert!(verifier.verify(&expected(), &proof).is_ok());
    let bytes = proof.to_bytes();
    assert_eq!(Proof::from_bytes(&bytes, bytes.len()).unwrap(), proof);
    // Inside upstream's part and the link; the file's checksum is not the point here.
    for i in 0..proof.segments[0].halo2.len() {
        let mut forged = proof.clone();
        forged.segments[0].halo2[i] ^= 1 << (i % 8);
        assert!(verifier.verify(&expected(), &forged).is_err(), "byte {i}");
    }
    for extra in [&[0u8][..], &[0; 32], &[1; 64]] {
        let mut forged = proof.clone();
        forged.segments[0].halo2.extend_from_slice(extra);
        assert_eq!(
            verifier.verify(&expected(), &forged),
            Err(Rejection::Malformed {
                what: "a proof of this card has another length"
            })
        );
    }
    for len in (0..proof.segments[0].halo2.len()).step_by(31) {
        let mut forged = proof.clone();
        forged.segments[0].halo2.truncate(len);
        assert!(verifier.verify(&expected(), &forged).is_err());
    }
    let mut link = proof.clone();
    link.segments[0].link.blind += F::ONE;
    assert_eq!(verifier.verify(&expected(), &link), Err(Rejection::Link));
    for i in 0..BLINDING_ROWS {
        let mut link = proof.clone();
        link.segments[0].link.rows[i] += F::ONE;
        assert_eq!(verifier.verify(&expected(), &link), Err(Rejection::Link));
    }
    // As a file: any flipped bit, any truncation.
    for i in 0..bytes.len() {
        let mut forged = bytes.clone();
        forged[i] ^= 1 << (i % 8);
        assert!(
            Proof::from_bytes(&forged, forged.len()).is_err(),
            "byte {i}"
        );
        assert!(Proof::from_bytes(&bytes[..i], bytes.len()).is_err());
    }
    assert!(Proof::from_bytes(&bytes, bytes.len() - 1).is_err());
}

// --- keys and batches -------------------------------------------------------------------------------------------------

#[test]
fn verifying_key_is_pinned() {
    // Upstream cannot serialize keys; this is what every proof is bound to. A change here is a breaking circuit change:
    // raise the format version and say so in the changelog.
    let secret = secret(K, 1);
    let key = secret.plan().circuit().verifying_key(&params(K)).unwrap();
    let digest = Digest::of("zkinfer-pinned", format!("{:#?}", key.pinned()).as_bytes());
    assert_eq!(
        digest.to_string(),
        "6f0e360a0fe316235619960a2b050509d8b5f595db47e3197eee83ee0bd7c206"
    );
}

#[test]
fn public_weights_can_be_checked_against_the_card() {
    let commit = |model, seed| {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        Secret::commit_at(
            model,
            K,
            vec![],
            params(K),
            WeightVisibility::Public,
            &mut rng,
            &mut zkinfer_model::progress::silent,
        )
        .unwrap()
    };
    let published = commit(zoo(6), 1);
    // Without blinds the commitment is a function of the weights.
    assert_eq!(commit(zoo(6), 2).card().digest(), published.card().digest());
    assert!(published.opens(published.card()).unwrap());
    let mut other = zoo(6);
    other.weights[0].data[0] += 1;
    let other = commit(other, 1);
    assert!(!other.opens(published.card()).unwrap());
    assert!(
        !secret(K, 1).opens(published.card()).unwrap(),
        "hidden weights have other points"
    );
    let proof = prove(&published, &mut Lie::default()).proof;
    assert!(verifier(&published).verify(&expected(), &proof).is_ok());
}
