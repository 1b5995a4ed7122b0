//! `null` says nothing, and what says nothing must not look as if it were compared.

use crate::common::*;
use serde_json::{Value, json};
use zkinfer_circuits::receipt::ExpectedRecord;

#[test]
fn null_is_no_way_to_leave_something_out() {
    let service = Service::with_cards(|_| {});
    let good = || question("digits", "digits_0.proof");
    let bare = || without(good(), "context_text");
    service.verify(&bare()).expect(422, "other_context");
    for name in ["context", "context_text", "expected", "once"] {
        let mut request = bare();
        request[name] = Value::Null;
        service.verify(&request).expect(400, "malformed_request");
    }
    let receipt = service.verify(&good()).expect(200, "accepted").json();
    let run = &receipt["result"]["runs"][0];
    let reals = json!({ "kind": "real", "tensors": [run["reals"]["output"][0]["values"]] });
    for (side, names) in [
        (&run["output"], ["digest", "points", "tensors", "tolerance"]),
        (&reals, ["digest", "points", "values", "tolerance"]),
    ] {
        let state = |side: &Value| with(good(), json!({ "expected": [{ "output": side }] }));
        service.verify(&state(side)).expect(200, "accepted");
        for name in names {
            let mut side = side.clone();
            side[name] = Value::Null;
            let answer = service.verify(&state(&side));
            answer.expect(400, "malformed_request");
        }
    }
    let context = json!({ "context": null });
    let request = with(good(), json!({ "expected": [context] }));
    service.verify(&request).expect(400, "malformed_request");
    // The library reads expectations in the same way.
    let read = |side: &Value| serde_json::from_value::<ExpectedRecord>(json!({ "output": side }));
    let mut side = run["output"].clone();
    assert!(read(&side).is_ok());
    side["digest"] = Value::Null;
    assert!(read(&side).is_err());
    side.as_object_mut().unwrap().remove("digest");
    assert!(read(&side).is_ok());
}
