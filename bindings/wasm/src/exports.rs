//! What JavaScript sees: files, parameters, cards, the verifier.

use crate::{Failure, describe, limits};
use std::sync::Arc;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use zkinfer_circuits::generators::{self, Generators};
use zkinfer_circuits::layout::{MAX_K, MIN_K};
use zkinfer_circuits::receipt::ExpectedRecord;
use zkinfer_circuits::verify::{Expected, Limits};
use zkinfer_interface::{Interface, with_reals};

/// What a file is and says, as JSON; nothing is verified.
///
/// # Errors
/// Bytes that cannot be decoded.
#[wasm_bindgen]
pub fn inspect(bytes: &[u8], limits_json: &str) -> Result<String, JsValue> {
    let limits = limits(limits_json)?;
    Ok(json(&describe(bytes, &limits)?)?)
}

/// Parameters of the commitment scheme for one `k`: its generators.
#[wasm_bindgen]
#[derive(Clone, Debug)]
pub struct Parameters(Arc<Generators>);

#[wasm_bindgen]
impl Parameters {
    /// Reads a file with the parameters for `k`. Only the right ones are taken: those whose digest is part of
    /// `zkinfer-circuits`.
    ///
    /// # Errors
    /// Any other file, and every file for a `k` whose digest is not known.
    pub fn read(bytes: &[u8], k: u32) -> Result<Parameters, JsValue> {
        let refused = |message: String| Failure::new("invalid_argument", "params_refused", message);
        if !generators::is_pinned(k) {
            return Err(refused(format!("no digest is known of parameters for k = {k}")).into());
        }
        let generators = Generators::from_bytes(bytes).map_err(|e| refused(e.to_string()))?;
        if generators.k() != k {
            return Err(refused(format!("the parameters are for k = {}", generators.k())).into());
        }
        Ok(Parameters(Arc::new(generators)))
    }

    /// Makes the parameters for `k`: seconds to minutes of work.
    ///
    /// # Errors
    /// A `k` that no card can have.
    pub fn make(k: u32) -> Result<Parameters, JsValue> {
        if !(MIN_K..=MAX_K).contains(&k) {
            let message = format!("there are no parameters for k = {k}");
            return Err(Failure::new("invalid_argument", "params_k", message).into());
        }
        Ok(Parameters(Arc::new(Generators::new(k))))
    }
}

/// A decoded card that is not checked yet.
#[wasm_bindgen]
#[derive(Clone, Debug)]
pub struct Card {
    card: zkinfer_circuits::card::Card,
    limits: Limits,
}

#[wasm_bindgen]
impl Card {
    /// Reads a card file.
    ///
    /// # Errors
    /// Bytes that are no card, or ask for more than the limits.
    pub fn read(bytes: &[u8], limits_json: &str) -> Result<Card, JsValue> {
        let limits = limits(limits_json)?;
        let card = zkinfer_circuits::card::Card::from_bytes_within(bytes, &limits)
            .map_err(Failure::from)?;
        Ok(Card { card, limits })
    }

    /// Logarithm of the number of rows: which parameters are needed.
    pub fn k(&self) -> u32 {
        self.card.k
    }
}

/// A checked card with its verifying key.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Verifier {
    pub(crate) verifier: Arc<zkinfer_circuits::verify::Verifier>,
    pub(crate) interface: Arc<Result<Interface, String>>,
}

#[wasm_bindgen]
impl Verifier {
    /// Checks a card and derives its verifying key.
    ///
    /// # Errors
    /// A card that cannot be used.
    #[wasm_bindgen(constructor)]
    pub fn new(card: &Card, parameters: &Parameters) -> Result<Verifier, JsValue> {
        let verifier = zkinfer_circuits::verify::Verifier::new(
            card.card.clone(),
            parameters.0.clone(),
            &card.limits,
        )
        .map_err(Failure::from)?;
        let interface = Interface::from_card(verifier.card()).map_err(|e| e.to_string());
        Ok(Verifier {
            verifier: Arc::new(verifier),
            interface: Arc::new(interface),
        })
    }

    /// Checks a proof file against a list of expectations in JSON; the receipt as JSON.
    ///
    /// # Errors
    /// Only if the expectations cannot be read; a refused proof has a receipt, too.
    pub fn receipt(&self, proof: &[u8], expected_json: &str) -> Result<String, JsValue> {
        let expected = expectations(expected_json)?;
        let receipt = self.verifier.receipt(&expected, proof);
        Ok(json(&with_reals(receipt, (*self.interface).as_ref().ok()))?)
    }

    /// The integers that real inputs have in a statement; one list per tensor, as JSON.
    ///
    /// # Errors
    /// A card without scales, values of the wrong number or outside the calibrated range; steps larger than the tolerance.
    pub fn state_inputs(
        &self,
        tensors_json: &str,
        tolerance: Option<f64>,
    ) -> Result<Vec<u16>, JsValue> {
        let bits = self.verifier.card().range_bits();
        Ok(self
            .interface()?
            .state_inputs(&tensors(tensors_json)?, bits, tolerance)
            .map_err(Failure::from)?)
    }

    /// The integers that stand for real outputs; one list per tensor, as JSON.
    ///
    /// # Errors
    /// As [`Verifier::state_inputs`].
    pub fn state_outputs(
        &self,
        tensors_json: &str,
        tolerance: Option<f64>,
    ) -> Result<Vec<u16>, JsValue> {
        let bits = self.verifier.card().range_bits();
        Ok(self
            .interface()?
            .state_outputs(&tensors(tensors_json)?, bits, tolerance)
            .map_err(Failure::from)?)
    }

    /// The real inputs behind the integers of a statement, tensor after tensor.
    ///
    /// # Errors
    /// A card without scales, integers of the wrong number.
    pub fn dequantize_inputs(&self, integers: &[u16]) -> Result<Vec<f32>, JsValue> {
        let tensors = self.interface()?.dequantize_inputs(integers);
        Ok(tensors.map_err(Failure::from)?.concat())
    }

    /// The real outputs behind the integers of a statement, tensor after tensor.
    ///
    /// # Errors
    /// As [`Verifier::dequantize_inputs`].
    pub fn dequantize_outputs(&self, integers: &[u16]) -> Result<Vec<f32>, JsValue> {
        let tensors = self.interface()?.dequantize_outputs(integers);
        Ok(tensors.map_err(Failure::from)?.concat())
    }
}

impl Verifier {
    fn interface(&self) -> Result<&Interface, Failure> {
        let failure = |e: &String| Failure::new("invalid_argument", "no_interface", e.clone());
        (*self.interface).as_ref().map_err(failure)
    }
}

/// What a proof has to state, from JSON.
pub fn expectations(text: &str) -> Result<Vec<Expected>, Failure> {
    let failure = |e: &dyn ToString| Failure::new("invalid_argument", "expected", e.to_string());
    let records: Vec<ExpectedRecord> = serde_json::from_str(text).map_err(|e| failure(&e))?;
    let expected = records.iter().map(Expected::try_from);
    expected.collect::<Result<_, _>>().map_err(|e| failure(&e))
}

fn tensors(text: &str) -> Result<Vec<Vec<f32>>, Failure> {
    serde_json::from_str(text)
        .map_err(|e| Failure::new("invalid_argument", "tensors", e.to_string()))
}

/// Any record as JSON.
pub fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|e| Failure::new("internal", "json", e.to_string()))
}

mod hook {
    use wasm_bindgen::prelude::wasm_bindgen;

    #[wasm_bindgen]
    extern "C" {
        #[wasm_bindgen(js_namespace = console)]
        fn error(text: &str);
    }

    /// There should be no panic; if there is one, its place must not be lost.
    #[wasm_bindgen(start)]
    pub fn start() {
        std::panic::set_hook(Box::new(|info| error(&info.to_string())));
    }
}
