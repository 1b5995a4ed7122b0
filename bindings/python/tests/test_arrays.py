"""numpy in and out."""

from __future__ import annotations

import numpy as np
import pytest
import zkinfer
from conftest import ONNX


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", ">f4", ">f8"])
def test_float_types(dtype, x, secret):
    # Halves are exact in every one of these types.
    sample = (np.round(x[0] * 2) / 2).astype(dtype)
    want = secret.infer(sample.astype(np.float32))
    np.testing.assert_array_equal(secret.infer(sample).output_integers, want.output_integers)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "uint64", "bool"])
def test_whole_numbers(dtype, x, secret):
    sample = (x[0] > 0.5).astype(dtype)
    want = secret.infer(sample.astype(np.float32))
    np.testing.assert_array_equal(secret.infer(sample).output_integers, want.output_integers)


def test_layouts_and_lists(x, secret, run):
    strided = np.zeros((64, 2), dtype=np.float32)
    strided[:, 0] = x[0]
    backwards = x[0][::-1].copy()[::-1]
    # Anywhere in memory, as what comes off a network is.
    buffer = bytearray(1) + bytearray(x[0].astype(np.float32).tobytes())
    shifted = np.frombuffer(buffer, dtype=np.float32, offset=1)
    assert not shifted.flags.aligned
    for same in (strided[:, 0], backwards, shifted, list(map(float, x[0])), x[0][None], x[0][None, None], np.asfortranarray(x[:1])):
        np.testing.assert_array_equal(secret.infer(same).output_integers, run.output_integers)


def test_samples_along_the_first_axis(x, secret, run):
    runs = secret.infer_many(x[:3])
    assert len(runs) == 3
    np.testing.assert_array_equal(runs[0].output_integers, run.output_integers)
    assert len(secret.infer_many(x[:3, None, :])) == 3
    assert secret.infer_many(x[:0]) == []


@pytest.mark.parametrize("shape", [(8, 8), (63,), (2, 64), (64, 1), (0,), ()])
def test_wrong_shapes(shape, secret):
    with pytest.raises(ValueError, match="expected shape") as caught:
        secret.infer(np.zeros(shape))
    error = caught.value
    assert isinstance(error, zkinfer.InputError)
    assert error.tensor == secret.card.inputs[0].name
    assert error.expected == (1, 64)
    assert error.found == shape
    assert error.tensor in str(error) and "(1, 64)" in str(error)


def test_one_sample_is_not_many(x, secret):
    with pytest.raises(zkinfer.InputError, match="along a first axis"):
        secret.infer_many(x[0])
    with pytest.raises(zkinfer.InputError, match="along a first axis"):
        zkinfer.compile(ONNX, x[0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_that_are_not_finite(value, dtype, x, secret):
    with np.errstate(over="ignore"):
        sample = x[0].astype(dtype)
        sample[5] = value
    with pytest.raises(zkinfer.InputError, match=r"element \(5,\) is"):
        secret.infer(sample)
    rows = x[:4].astype(dtype)
    rows[2, 7] = sample[5]
    with pytest.raises(zkinfer.InputError, match=r"element \(2, 7\) is"):
        zkinfer.compile(ONNX, rows)


def test_integers_beyond_32_bit_floats(secret):
    sample = np.zeros(64, dtype=np.int64)
    sample[3] = 2**24 + 1
    with pytest.raises(zkinfer.InputError, match="cannot hold exactly"):
        secret.infer(sample)


@pytest.mark.parametrize(
    "wrong", [np.zeros(64, dtype=complex), ["a"] * 64, np.array([None] * 64), [[1.0], [1.0, 2.0]], object(), None]
)
def test_things_that_are_no_numbers(wrong, secret):
    with pytest.raises(zkinfer.InputError):
        secret.infer(wrong)


def test_out_of_range(x, secret):
    with pytest.raises(zkinfer.InferError, match="calibrate") as caught:
        secret.infer(x[0] * 100)
    assert caught.value.layer is None


def test_names(x, secret, run):
    name = secret.card.inputs[0].name
    np.testing.assert_array_equal(secret.infer({name: x[0]}).output, run.output)
    np.testing.assert_array_equal(secret.infer({"x0": x[0]}).output, run.output)
    with pytest.raises(zkinfer.InputError, match="is missing") as caught:
        secret.infer({"x1": x[0]})
    assert caught.value.tensor == name
    # What nobody reads would look as if it were used, or compared.
    with pytest.raises(zkinfer.InputError, match="there is no input 'imgae'|there is no input \"imgae\""):
        secret.infer({name: x[0], "imgae": x[1]})
    with pytest.raises(zkinfer.InputError, match="are the same input"):
        secret.infer({name: x[0], "x0": x[1]})


def test_several_inputs_and_outputs():
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    infos = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in (("a", [2, 3]), ("b", [3]), ("c", [2, 3]), ("d", [3]))]
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Relu", ["sum"], ["c"]), helper.make_node("Relu", ["b"], ["d"])]
    proto = helper.make_model(helper.make_graph(nodes, "g", infos[:2], infos[2:]), opset_imports=[helper.make_opsetid("", 17)])
    proto.ir_version = 8
    draw = np.random.default_rng(1)
    a, b = draw.normal(size=(20, 2, 3)), draw.normal(size=(20, 3))
    model = zkinfer.compile(proto, [a, b])
    assert [t.name for t in model.inputs] == ["a", "b"]
    secret = model.commit()
    run = secret.infer([a[0], b[0]])
    by_name = secret.infer({"b": b[0], "a": a[0]})
    assert [o.shape for o in run.outputs] == [t.shape for t in model.outputs]
    assert run.outputs[0].size == 6 and run.outputs[1].size == 3
    for got, same, want in zip(run.outputs, by_name.outputs, (np.maximum(a[0] + b[0], 0), np.maximum(b[0], 0))):
        np.testing.assert_array_equal(got, same)
        np.testing.assert_allclose(got.reshape(want.shape), want, atol=0.01)
    with pytest.raises(ValueError, match="use .outputs"):
        _ = run.output
    verdict = zkinfer.verify(secret.card, secret.prove(run), input={"a": a[0], "b": b[0]}, output=run.outputs)
    assert len(verdict.outputs) == 2 and len(verdict.inputs) == 2
    with pytest.raises(zkinfer.InputError, match="2 inputs, 1 given"):
        secret.infer([a[0]])
    with pytest.raises(TypeError, match="a list with an array for each"):
        secret.infer(a[0])
    with pytest.raises(zkinfer.InputError, match='"b" has 19 samples, "a" has 20'):
        zkinfer.compile(proto, [a, b[:19]])


def test_integers_of_a_statement(x, secret, run):
    card = secret.card
    np.testing.assert_array_equal(card.quantize_input(x[0]), run.input_integers)
    np.testing.assert_array_equal(card.dequantize_output(run.output_integers)[0], run.output)
    (tensor,) = card.outputs
    by_hand = tensor.scale * (run.output_integers - tensor.zero_point)
    np.testing.assert_allclose(by_hand, run.output.ravel(), rtol=1e-6)
    with pytest.raises(zkinfer.InputError):
        card.dequantize_output(run.output_integers[1:])


def test_what_is_returned_belongs_to_the_caller(run):
    first = run.output
    first[:] = 0
    assert run.output.any()
