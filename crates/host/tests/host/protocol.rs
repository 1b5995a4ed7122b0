//! The Open Inference Protocol, and that answers are the integer run. An unmodified client of the protocol is in
//! `tests/protocol.py`.

use crate::common::*;
use serde_json::{Value, json};
use zkinfer::Side;

#[test]
fn the_server_and_its_models_are_described() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::again(folder, &["digits", "other"], |_| {});
    let (first, last) = (
        secret("digits").card().digest(),
        secret("other").card().digest(),
    );
    assert_eq!(service.get("/v2").json()["name"], "zkinfer");
    assert_eq!(service.get("/v2/health/live").status, 200);
    assert_eq!(
        service.get("/v2/health/ready").json(),
        json!({ "ready": true })
    );
    let index = service.post("/v2/repository/index", &json!({})).json();
    let versions: Vec<&Value> = index
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["version"])
        .collect();
    assert_eq!(
        versions,
        [&json!(first.to_string()), &json!(last.to_string())]
    );
    let metadata = service.get("/v2/models/digits").json();
    assert_eq!(
        metadata["versions"],
        json!([first.to_string(), last.to_string()])
    );
    let input = json!([{ "name": "input", "datatype": "FP32", "shape": [1, 64] }]);
    assert_eq!(metadata["inputs"], input);
    let of_version = service.get(&format!("/v2/models/digits/versions/{first}"));
    assert_eq!(of_version.json()["outputs"][0]["shape"], json!([1, 10]));
    assert_eq!(service.get("/v2/models/digits/ready").json()["ready"], true);
    let ready = format!("/v2/models/digits/versions/{last}/ready");
    assert_eq!(service.get(&ready).json()["ready"], true);
    for path in [
        "/v2/models/x",
        "/v2/models/x/ready",
        "/v2/models/digits/versions/1",
        "/v2/models/digits/versions/1/ready",
    ] {
        let answer = service.get(path);
        answer.expect(404, "unknown_model");
        // What the protocol's clients look for.
        assert_eq!(answer.json()["error"], answer.json()["detail"]);
    }
    assert_eq!(
        service.get("/v1/host").json()["key"],
        service.key.to_string()
    );
    let card = service.get(&format!("/v1/cards/{first}"));
    assert_eq!(card.body, secret("digits").card().to_bytes());
    service.get("/v1/cards/x").expect(404, "unknown_card");
    service.get("/x").expect(404, "not_found");
    service
        .send("PUT", "/v2", &[], b"")
        .expect(405, "method_not_allowed");
    let text = String::from_utf8(service.get("/metrics").body).unwrap();
    assert!(text.contains("zkinfer_host_store_runs 0"), "{text}");
    // Without a version the last one answers, with one that one.
    let asked = service.infer(&json!({}));
    assert_eq!(asked.slip().terms.card, last);
    let path = format!("/v2/models/digits/versions/{first}/infer");
    let asked = service.post(&path, &question(&json!({})));
    assert_eq!((asked.slip().terms.card, asked.status), (first, 200));
    service
        .post("/v2/models/digits/versions/1/infer", &json!({}))
        .expect(404, "unknown_model");
}

/// Sends an input as bytes and wants bytes.
fn binary(service: &Service, datatype: &str, bytes: &[u8]) -> Answer {
    let request = json!({
        "inputs": [{ "name": "input", "datatype": datatype, "shape": [1, 64], "parameters": { "binary_data_size": bytes.len() } }],
        "parameters": { "binary_data_output": true },
    });
    let mut body = request.to_string().into_bytes();
    let length = body.len().to_string();
    body.extend(bytes);
    let headers = [("inference-header-content-length", length.as_str())];
    service.send("POST", "/v2/models/digits/infer", &headers, &body)
}

#[test]
fn answers_are_the_integer_run_bit_for_bit() {
    let service = Service::start(|_| {});
    let model = secret("digits");
    let mut numbers = Vec::new();
    for sample in samples() {
        let run = model.infer(sample).unwrap();
        let request = json!({ "id": "7", "inputs": [tensor(&json!(sample[0]))], "parameters": { "zkinfer_integers": true } });
        let answer = service.post("/v2/models/digits/infer", &request);
        let json = answer.json();
        assert_eq!(json["id"], "7");
        // As whoever reads JSON in double precision has them.
        let list = |at: usize| json["outputs"][at]["data"].as_array().unwrap().clone();
        let reals: Vec<u32> = list(0)
            .iter()
            .map(|v| (v.as_f64().unwrap() as f32).to_bits())
            .collect();
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(reals, bits(&run.outputs()[0]));
        let integers: Vec<u64> = list(1).iter().map(|v| v.as_u64().unwrap()).collect();
        assert!(
            integers
                .iter()
                .copied()
                .eq(run.output().iter().map(|&v| u64::from(v)))
        );
        // As bytes.
        let bytes: Vec<u8> = sample[0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let answer = binary(&service, "FP32", &bytes);
        let length: usize = answer
            .header("inference-header-content-length")
            .unwrap()
            .parse()
            .unwrap();
        let expected: Vec<u8> = run.outputs()[0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        assert_eq!(answer.body[length..], expected);
        // What is signed.
        let json: Value = serde_json::from_slice(&answer.body[..length]).unwrap();
        let slip: zkinfer_slip::Slip =
            serde_json::from_str(json["parameters"]["zkinfer_slip"].as_str().unwrap()).unwrap();
        slip.check(&service.key).unwrap();
        let terms = &slip.terms;
        assert_eq!(terms.card, model.card().digest());
        assert_eq!(terms.input, Side::Public(run.input().to_vec()).digest());
        assert_eq!(terms.output, Side::Public(run.output().to_vec()).digest());
        numbers.push((terms.sequence, terms.time));
    }
    assert!(numbers.is_sorted() && numbers.windows(2).all(|n| n[0].0 < n[1].0));
}

#[test]
fn whole_numbers_are_what_they_are() {
    let service = Service::start(|_| {});
    let expected = |answer: &Answer| answer.json()["outputs"][0]["data"].clone();
    let zeros = service.post(
        "/v2/models/digits/infer",
        &json!({ "inputs": [tensor(&json!(vec![0; 64]))] }),
    );
    let mut nested = tensor(&json!([vec![0; 32], [vec![false; 16], vec![false; 16]]]));
    nested["datatype"] = json!("BOOL");
    let truth = service.post("/v2/models/digits/infer", &json!({ "inputs": [nested] }));
    assert_eq!(expected(&zeros), expected(&truth));
    for (datatype, bytes) in [("UINT8", 1), ("INT64", 8)] {
        let answer = binary(&service, datatype, &vec![0; 64 * bytes]);
        let length: usize = answer
            .header("inference-header-content-length")
            .unwrap()
            .parse()
            .unwrap();
        let values = answer.body[length..]
            .chunks(4)
            .map(|v| f32::from_le_bytes(v.try_into().unwrap()));
        let zeros: Vec<f32> = expected(&zeros)
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap() as f32)
            .collect();
        assert!(values.eq(zeros));
    }
    // -1 in eight bytes is a number that the model cannot take, and not some large one.
    let answer = binary(&service, "INT64", &[0xff; 512]);
    answer.expect(400, "unusable_input");
    assert!(
        answer.json()["detail"].as_str().unwrap().contains("-1"),
        "{answer:?}"
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let service = Service::start(|c| c.request_bytes = 1 << 16);
    let ask = |body: Value, says: &str| {
        let answer = service.post("/v2/models/digits/infer", &body);
        answer.expect(400, "malformed_request");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(says), "{detail}");
    };
    let sample = json!(samples()[0][0]);
    let change = |name: &str, value: Value| {
        let mut tensor = tensor(&sample);
        tensor[name] = value;
        json!({ "inputs": [tensor] })
    };
    ask(json!({}), "inputs");
    ask(json!({ "inputs": [] }), "\"input\" is missing");
    ask(
        json!({ "inputs": [tensor(&sample), tensor(&sample)] }),
        "twice",
    );
    ask(change("name", json!("x")), "no input \"x\"");
    ask(change("shape", json!([2, 64])), "one request is one run");
    ask(change("shape", json!([64, 2])), "the model wants");
    ask(change("datatype", json!("FP64")), "send FP32");
    ask(change("data", json!(vec![0.5; 63])), "63 numbers");
    ask(change("data", json!([1e39, 0])), "2 numbers");
    ask(change("data", Value::Null), "neither data nor");
    ask(
        change("parameters", json!({ "binary_data_size": 256 })),
        "twice",
    );
    ask(
        change("parameters", json!({ "shared_memory_region": "x" })),
        "shared memory",
    );
    let mut whole = change("datatype", json!("INT32"));
    whole["inputs"][0]["data"][3] = json!(0.5);
    ask(whole.clone(), "is no INT32");
    whole["inputs"][0]["data"] = json!(vec![16_777_217; 64]);
    ask(whole, "single precision");
    ask(
        question(&json!({ "zkinfer_prove": "now" })),
        "zkinfer_proof",
    );
    ask(question(&json!({ "zkinfer_proof": "soon" })), "soon");
    ask(
        question(&json!({ "zkinfer_context": "xyz" })),
        "hexadecimal",
    );
    ask(
        question(&json!({ "zkinfer_context": "00".repeat(257) })),
        "256 bytes",
    );
    let mut outputs = question(&json!({}));
    outputs["outputs"] = json!([{ "name": "x" }]);
    ask(outputs.clone(), "no output \"x\"");
    outputs["outputs"] = json!([{ "name": "output" }, { "name": "output" }]);
    ask(outputs.clone(), "twice");
    outputs["outputs"] = json!([{ "name": "output", "parameters": { "classification": 3 } }]);
    ask(outputs, "classifications");
    ask(
        json!({ "inputs": vec![tensor(&json!([])); 1025] }),
        "at most 1024",
    );
    // Numbers that are none, or too large for the model.
    let mut large = change("data", json!(vec![0; 64]));
    large["inputs"][0]["data"][5] = json!(1e9);
    let answer = service.post("/v2/models/digits/infer", &large);
    answer.expect(400, "unusable_input");
    binary(&service, "FP32", &[0xff; 256]).expect(400, "unusable_input");
    binary(&service, "FP32", &[0; 255]).expect(400, "malformed_request");
    // Lengths that lie.
    let path = "/v2/models/digits/infer";
    for length in ["100000", "-1", "x"] {
        let headers = [("inference-header-content-length", length)];
        let body = question(&json!({})).to_string();
        service
            .send("POST", path, &headers, body.as_bytes())
            .expect(400, "malformed_request");
    }
    let compressed = [("content-encoding", "gzip")];
    service
        .send("POST", path, &compressed, b"x")
        .expect(415, "unsupported_media_type");
    service
        .send("POST", path, &[], &vec![b' '; (1 << 16) + 1])
        .expect(413, "too_large");
    service
        .send("POST", path, &[], b"[[[[")
        .expect(400, "malformed_request");
    service
        .send("POST", path, &[], "[".repeat(1 << 15).as_bytes())
        .expect(400, "malformed_request");
}
