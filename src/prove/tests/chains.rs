//! Chains with what their integers stand for.

use super::lies::statements::{copies, proofs};
use super::zoo::{bases, dense, params};
use super::*;
use crate::secret::{Secret, WeightVisibility};
use zkinfer_circuits::verify::{Expected, Limits, Misfit, Verifier, verify_chain as integers};
use zkinfer_interface::{Interface, TensorInterface};
use zkinfer_model::model::QuantizedModel;
use zkinfer_verifier::{ChainError, verify_chain};

fn committed(
    model: QuantizedModel,
    inputs: usize,
    outputs: usize,
    scale: f64,
    whole: bool,
) -> Secret {
    let tensor = |len: usize, scale: f64| TensorInterface {
        name: "x".into(),
        shape: vec![len],
        scale: vec![scale],
        zero_point: vec![3.0; len],
        integers: false,
        labels: Vec::new(),
        low_bits: 0,
    };
    let interface = Interface {
        name: String::new(),
        inputs: vec![tensor(inputs, scale)],
        outputs: vec![TensorInterface {
            integers: whole,
            ..tensor(outputs, 0.5)
        }],
    };
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    Secret::commit_at(
        model,
        6,
        interface.to_info().unwrap(),
        params(6),
        WeightVisibility::Hidden,
        &mut rng,
        &mut zkinfer_model::progress::silent,
    )
    .unwrap()
}

#[test]
fn a_chain_has_the_same_scales_on_both_sides() {
    let first = committed(dense(6), 4, 2, 1.0, false);
    let expected = Expected::default();
    let chain = |scale: f64, bits: u32| {
        let second = committed(copies(bits, 2), 2, 2, scale, false);
        let (written, read) = proofs(&first, &second, |_| {});
        let verifier = |secret: &Secret| {
            Verifier::new(secret.card().clone(), bases(6), &Limits::default()).unwrap()
        };
        let (a, b) = (verifier(&first), verifier(&second));
        let steps = [(&a, &expected, &written), (&b, &expected, &read)];
        if bits == 6 {
            // The integers fit whatever they stand for.
            assert_eq!(integers(&steps).unwrap().len(), 2);
        }
        verify_chain(&steps).map(|verdicts| verdicts.len())
    };
    assert_eq!(chain(0.5, 6).unwrap(), 2);
    let other = chain(0.25, 6).unwrap_err();
    let expected = matches!(
        other,
        ChainError::Scale {
            index: 0,
            element: 0,
            output: 0.5,
            input: 0.25,
            ..
        }
    );
    assert!(expected, "{other}");
    let bits = zkinfer_circuits::verify::ChainError::Boundary {
        index: 0,
        reason: Misfit::Bits {
            output: 6,
            input: 7,
        },
    };
    let found = chain(0.5, 7).unwrap_err();
    assert!(
        matches!(&found, ChainError::Circuit(e) if *e == bits),
        "{found}"
    );
    assert!(matches!(
        verify_chain(&[]),
        Err(ChainError::Circuit(
            zkinfer_circuits::verify::ChainError::Empty
        ))
    ));
}

/// What is rounded on one side is another number on the other, unless its steps are whole anyway.
#[test]
fn a_chain_rounds_on_both_sides_or_on_none() {
    let first = committed(dense(6), 4, 2, 1.0, true);
    let second = committed(copies(6, 2), 2, 2, 0.5, false);
    let (written, read) = proofs(&first, &second, |_| {});
    let verifier = |secret: &Secret| {
        Verifier::new(secret.card().clone(), bases(6), &Limits::default()).unwrap()
    };
    let (a, b) = (verifier(&first), verifier(&second));
    let expected = Expected::default();
    let steps = [(&a, &expected, &written), (&b, &expected, &read)];
    let refused = verify_chain(&steps).unwrap_err();
    let whole = matches!(
        refused,
        ChainError::Whole {
            index: 0,
            element: 0
        }
    );
    assert!(whole, "{refused}");
}
