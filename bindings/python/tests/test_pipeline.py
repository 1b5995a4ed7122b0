"""From a model to a verdict, and the lies on the way."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import zkinfer
from conftest import NPZ, ONNX


def test_the_whole_way(x, model, secret, run, proof):
    assert run.output.dtype == np.float32
    assert run.output.shape == model.outputs[0].shape
    np.testing.assert_allclose(run.output, model.run_float(x[0])[0], atol=0.05)
    verdict = zkinfer.verify(secret.card, proof, input=x[0], output=run.output, context=b"nonce")
    np.testing.assert_array_equal(verdict.output, run.output)
    assert verdict.card == secret.card.digest == proof.card
    assert verdict.context == proof.context == b"nonce"
    (shown,) = verdict.runs
    np.testing.assert_array_equal(shown.output_integers, run.output_integers)
    np.testing.assert_array_equal(shown.input_integers, run.input_integers)
    np.testing.assert_allclose(shown.input.ravel(), x[0], atol=model.inputs[0].scale.max())


def test_what_a_card_reveals(model):
    kinds = {kind for kind, _place, _meaning in model.disclosures}
    assert {"bits", "scales", "choices"} <= kinds
    assert "factors" not in kinds
    assert all(place and meaning for _kind, place, meaning in model.disclosures)


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        ("output", "other_output"),
        ("input", "other_input"),
        ("context", "other_context"),
        ("model", "unknown_model"),
        ("silence", "input_needed"),
    ],
)
def test_lies(lie, code, x, model, secret, run, proof):
    card, stated = secret.card, {"input": x[0], "output": run.output, "context": b"nonce"}
    if lie == "output":
        stated["output"] = np.roll(run.output, 1)
    elif lie == "input":
        stated["input"] = x[1]
    elif lie == "context":
        stated["context"] = b"another"
    elif lie == "model":
        card = model.commit().card
    elif lie == "silence":
        del stated["input"]
    with pytest.raises(zkinfer.Rejection) as caught:
        zkinfer.verify(card, proof, **stated)
    error = caught.value
    assert error.code == code
    assert error.class_ == ("unknown_model" if lie == "model" else "statement_mismatch")
    assert error.receipt is not None and error.receipt.code == code and not error.receipt.accepted


def test_a_preference_is_for_something_that_exists(x, model):
    card = model.commit("digits", prefer="size").card
    assert card.name == "digits"
    with pytest.raises(ValueError, match="balanced, prove, verify or size"):
        model.commit(prefer="beauty")


def test_a_forged_claim_is_an_invalid_proof(x, secret, proof, run):
    """The same proof under another output: the bytes are well formed, only the mathematics is wrong."""
    claim = run.output_integers.astype("<u2").tobytes()
    json = proof.to_json()
    import json as parser

    fields = parser.loads(json)
    values = fields["runs"][0]["output"]["values"]
    assert np.array(values, dtype="<u2").tobytes() == claim
    values[0], values[1] = values[1], values[0]
    forged = zkinfer.Proof.from_json(parser.dumps(fields))
    with pytest.raises(zkinfer.Rejection) as caught:
        zkinfer.verify(secret.card, forged, input=x[0], context=b"nonce")
    assert caught.value.class_ == "invalid_proof"


def test_every_way_to_give_a_model(x):
    by_path = zkinfer.compile(str(ONNX), NPZ)
    by_bytes = zkinfer.compile(ONNX.read_bytes(), {"x0": x})
    with np.load(NPZ) as archive:
        by_archive = zkinfer.compile(bytearray(ONNX.read_bytes()), archive)
    name = by_path.inputs[0].name
    by_name = zkinfer.compile(memoryview(ONNX.read_bytes()), {name: x.astype(np.float64)})
    cards = [m.commit("same", public_weights=True).card for m in (by_path, by_bytes, by_archive, by_name)]
    # Without blinds, equal models have equal cards.
    assert len({card.digest for card in cards}) == 1
    assert by_path.commit().card.name == "digits"
    assert by_bytes.commit().card.name == ""


def test_options(x):
    model = zkinfer.compile(ONNX, x, bits=8, headroom=1.0, per_channel=False, allow_error=True)
    assert model.bits == 8
    secret = model.commit("small", k=8)
    assert (secret.card.k, secret.card.bits, secret.card.name) == (8, 8, "small")
    for wrong in ({"bits": 3}, {"bits": 15}, {"headroom": -1.0}, {"headroom": float("nan")}):
        with pytest.raises(zkinfer.InputError, match="allowed is"):
            zkinfer.compile(ONNX, x, **wrong)
    with pytest.raises(zkinfer.CommitError):
        model.commit(k=40)
    with pytest.raises(TypeError):
        zkinfer.compile(ONNX, x, bit=8)


def test_segments(x, model):
    whole, secret = model.commit(), model.commit("cut", segments=3)
    assert (whole.card.segments, secret.card.segments) == (1, 3)
    run = secret.infer(x[0])
    np.testing.assert_array_equal(run.output_integers, whole.infer(x[0]).output_integers)
    proof = zkinfer.Proof.from_json(secret.prove(run, context=b"cut").to_json())
    assert (proof.runs, proof.segments) == (1, 3)
    verdict = zkinfer.verify(secret.card, proof, input=x[0], context=b"cut")
    np.testing.assert_array_equal(verdict.output, run.output)
    with pytest.raises(zkinfer.CommitError, match="cannot be cut into 1000 segments"):
        model.commit(segments=1000)


def test_evaluate(x, model):
    labels = [int(np.argmax(model.run_float(row)[0])) for row in x[:8]]
    report = model.evaluate(x[:8], labels)
    assert report["samples"] == 8
    assert report["float_accuracy"] == 1.0
    assert report["outputs"][0]["relative_error"] < 0.01
    with pytest.raises(zkinfer.InputError, match="8 samples, 7 labels"):
        model.evaluate(x[:8], labels[:7])


def test_several_runs_in_one_proof(x, secret, verifier):
    runs = secret.infer_many(x[:3])
    proof = secret.prove(runs, context=b"batch")
    assert proof.runs == 3
    verdict = verifier.verify(proof, input=x[:3], output=[r.output for r in runs], context=b"batch")
    assert len(verdict.runs) == 3
    for shown, run in zip(verdict.runs, runs):
        np.testing.assert_array_equal(shown.output, run.output)
    with pytest.raises(zkinfer.InputError, match="3 runs: use .runs"):
        _ = verdict.output
    with pytest.raises(zkinfer.Rejection) as caught:
        verifier.verify(proof, input=x[:2], context=b"batch")
    assert caught.value.code == "other_runs"
    with pytest.raises(zkinfer.Rejection) as caught:
        verifier.verify(proof, input=x[[0, 2, 1]], context=b"batch")
    assert caught.value.code == "other_input"
    with pytest.raises(zkinfer.InputError, match="2 inputs stated, 3 outputs"):
        verifier.verify(proof, input=x[:2], output=[r.output for r in runs], context=b"batch")
    stated = [zkinfer.Integers(r.input_integers) for r in runs]
    only_one = [None, zkinfer.Integers(runs[1].output_integers), None]
    verifier.verify(proof, input=stated, output=only_one, context=b"batch")
    attached = secret.prove(runs, attach_input=True)
    assert len(verifier.verify(attached).runs) == 3


def test_hidden_sides(x, secret, verifier, run):
    proof = secret.prove(run, input="committed", output="committed")
    ((opens_input, opens_output),) = proof.openings
    assert "secret" in repr(opens_input)
    verdict = verifier.verify(proof)
    assert verdict.input is None and verdict.output is None
    (shown,) = verdict.runs
    assert shown.input_commitment == opens_input.commitment
    assert shown.output_commitment == opens_output.commitment
    verifier.verify(proof, input=opens_input.commitment, output=opens_output.commitment)
    published = zkinfer.Commitment.from_bytes(opens_input.commitment.to_bytes())
    assert published == opens_input.commitment and hash(published) == hash(opens_input.commitment)
    with pytest.raises(zkinfer.Rejection) as caught:
        verifier.verify(proof, input=opens_output.commitment)
    assert caught.value.code == "other_input"
    # The same commitment again, in another proof; and one that does not open to the run's values.
    again = secret.prove(run, input=opens_input)
    verifier.verify(again, input=published, output=run.output)
    with pytest.raises(zkinfer.ProveError):
        secret.prove(secret.infer(x[1]), input=opens_input)
    # Openings do not travel.
    assert zkinfer.Proof.from_bytes(proof.to_bytes()).openings is None


def test_a_chain_of_two_models(x):
    """One model's committed output is the next one's input."""
    onnx = pytest.importorskip("onnx")
    first = zkinfer.compile(ONNX, x)
    scores = np.stack([first.run_float(row)[0] for row in x])
    weights = (np.arange(10)[:, None] % 2 == np.arange(2)).astype(np.float32)
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    graph = helper.make_graph(
        [helper.make_node("Relu", ["scores"], ["positive"]), helper.make_node("MatMul", ["positive", "w"], ["parity"])],
        "parity",
        [helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [1, 10])],
        [helper.make_tensor_value_info("parity", onnx.TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(weights, "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    proto.ir_version = 8
    digits = first.commit("digits", k=9)
    parity = zkinfer.compile(proto, scores, inputs_from=digits.card).commit("parity", k=9)

    run = digits.infer(x[0])
    proof = digits.prove(run, output="committed")
    boundary = proof.openings[0][1]
    second = parity.infer(run.output)
    np.testing.assert_array_equal(second.input_integers, run.output_integers)
    chained = parity.prove(second, input=boundary)

    a, b = zkinfer.Verifier(digits.card), zkinfer.Verifier(parity.card)
    assert a.feeds(b) and not b.feeds(a)
    a.verify(proof, input=x[0], output=boundary.commitment)
    verdict = b.verify(chained, input=boundary.commitment)
    np.testing.assert_array_equal(verdict.output, second.output)


def test_runs_of_another_model(x, model, secret, run):
    small = zkinfer.compile(ONNX, x, bits=8, allow_error=True).commit()
    with pytest.raises(zkinfer.ProveError):
        secret.prove([])
    with pytest.raises(zkinfer.ProveError, match="4096"):
        secret.prove(run, context=bytes(4097))
    with pytest.raises(TypeError, match="expected a Run or a list of them"):
        secret.prove("run")
    with pytest.raises(TypeError, match="expected bytes, found str"):
        secret.prove(run, context="text")
    with pytest.raises(ValueError, match='"public", "committed" or an Opening'):
        secret.prove(run, input="hidden")
    # A run that was made with other integers proves nothing about this model.
    forged = secret.prove(small.infer(x[0]))
    with pytest.raises(zkinfer.Rejection):
        zkinfer.verify(secret.card, forged, input=zkinfer.Integers(small.infer(x[0]).input_integers))


def test_models_that_cannot_be_imported(x):
    with pytest.raises(zkinfer.ModelImportError, match="not an ONNX model"):
        zkinfer.compile(b"not a model", x)
    with pytest.raises(FileNotFoundError) as caught:
        zkinfer.compile("no such file.onnx", x)
    assert caught.value.filename == "no such file.onnx"
    with pytest.raises(FileNotFoundError):
        zkinfer.compile(ONNX, "no such file.npz")
    with pytest.raises(TypeError, match="expected bytes or a path, found int"):
        zkinfer.compile(5, x)
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    info = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 4]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Det", ["x"], ["y"], name="determinant")], "g", info[:1], info[1:])
    buffer = io.BytesIO()
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), buffer)
    with pytest.raises(zkinfer.ModelImportError) as unsupported:
        zkinfer.compile(buffer.getvalue(), np.zeros((2, 4)))
    assert unsupported.value.op == "Det" and unsupported.value.node == "determinant"
    assert Path(ONNX).exists()
