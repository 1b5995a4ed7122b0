//! Many proofs at once.

use crate::Failure;
use crate::exports::{Verifier, expectations, json};
use std::sync::Arc;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use zkinfer_circuits::receipt::{Receipt, Refusal, StatedSide};
use zkinfer_circuits::verify::{BatchOptions, Expected, verify_many};
use zkinfer_interface::{Interface, RealReceipt, with_reals};

/// Proofs that are checked together, of one card or of several.
#[wasm_bindgen]
#[derive(Debug, Default)]
pub struct Batch(Vec<Item>);

#[derive(Debug)]
struct Item {
    verifier: Arc<zkinfer_circuits::verify::Verifier>,
    interface: Arc<Result<Interface, String>>,
    expected: Vec<Expected>,
    proof: Vec<u8>,
}

#[wasm_bindgen]
impl Batch {
    /// No proofs yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds a proof file, with a list of expectations in JSON.
    ///
    /// # Errors
    /// Only if the expectations cannot be read; a file that is no proof has a receipt, too.
    pub fn add(
        &mut self,
        verifier: &Verifier,
        proof: &[u8],
        expected_json: &str,
    ) -> Result<(), JsValue> {
        self.0.push(Item {
            verifier: verifier.verifier.clone(),
            interface: verifier.interface.clone(),
            expected: expectations(expected_json)?,
            proof: proof.to_vec(),
        });
        Ok(())
    }

    /// Checks them all: the receipts in the order of the proofs, as a JSON list.
    ///
    /// # Errors
    /// None in practice: there is nothing in a receipt that JSON cannot express.
    pub fn receipts(&self) -> Result<String, JsValue> {
        let (mut sound, mut refused) = (Vec::new(), Vec::new());
        for item in &self.0 {
            match item.verifier.candidate(&item.expected, &item.proof) {
                Ok(candidate) => {
                    sound.push((&*item.verifier, candidate));
                    refused.push(None);
                }
                Err(refusal) => refused.push(Some(refusal)),
            }
        }
        let mut results = verify_many(sound, BatchOptions::default());
        let receipt = |(item, refused): (&Item, Option<Refusal>)| {
            let result = match refused {
                Some(refusal) => Err(refusal),
                None => results.next()?.map_err(Refusal::from),
            };
            let stated = StatedSide::of(&item.expected);
            let receipt = Receipt::new(&item.verifier.digest(), &item.proof, &stated, &result);
            Some(with_reals(receipt, (*item.interface).as_ref().ok()))
        };
        let receipts: Option<Vec<RealReceipt>> = self.0.iter().zip(refused).map(receipt).collect();
        let missing = || Failure::new("internal", "batch", "a batch without all results".into());
        Ok(json(&receipts.ok_or_else(missing)?)?)
    }
}
