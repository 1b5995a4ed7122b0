"""Makes the small models of ../honest.rs, with samples and outputs by ONNX Runtime: python make.py"""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T, helper as h, numpy_helper as n

OPSETS = [h.make_opsetid("", 17), h.make_opsetid("ai.onnx.ml", 1)]
rng = np.random.default_rng(1)


def model(name, nodes, inputs, outputs, weights=()):
    graph = h.make_graph(nodes, name, inputs, outputs, [n.from_array(w, k) for k, w in weights])
    made = h.make_model(graph, opset_imports=OPSETS, ir_version=8)
    onnx.save(made, f"{name}.onnx")
    return made


def floats(name, *shape):
    return h.make_tensor_value_info(name, T.FLOAT, shape)


def answers(made, samples, feed=lambda x: {"x": x}):
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return [session.run(None, feed(x)) for x in samples]


# A pipeline as scikit-learn exports it: a label that is a text, and scores.
classifier = h.make_node(
    "LinearClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml", name="classifier",
    coefficients=[1.0, -1.0, 0.5, 0.25, -1.5, 0.75, -0.5, 1.0, 0.0], intercepts=[0.1, -0.2, 0.0],
    classlabels_strings=["ape", "bee", "cat"], post_transform="SOFTMAX",
)
made = model("labels", [classifier], [floats("x", 1, 3)],
             [h.make_tensor_value_info("label", T.STRING, [1]), floats("scores", 1, 3)])
x = rng.normal(size=(48, 1, 3)).astype(np.float32)
y = answers(made, x)
np.savez("labels.npz", x=x, y1=np.stack([o[1] for o in y]))
with open("labels.txt", "w") as file:
    file.write("".join(f"{o[0][0]}\n" for o in y))

# A target that is a million times smaller than the other, through a layer that has one scale for both.
w = np.array([[1e6, 0], [0, 1e-3]], np.float32)
made = model("units", [h.make_node("MatMul", ["x", "w"], ["h"], name="mix"),
                       h.make_node("Transpose", ["h"], ["t"], perm=[1, 0], name="turn"),
                       h.make_node("Sqrt", ["t"], ["s"], name="root"),
                       h.make_node("Transpose", ["s"], ["y"], perm=[1, 0], name="back")],
             [floats("x", 1, 2)], [floats("y", 1, 2)], [("w", w)])
np.savez("units.npz", x0=rng.uniform(0.5, 1, size=(32, 1, 2)).astype(np.float32))

# Open dimensions, and weights in two other files.
w = rng.normal(size=(4, 2)).astype(np.float32)
made = model("open", [h.make_node("MatMul", ["x", "w"], ["m"], name="dense"), h.make_node("Add", ["m", "b"], ["y"], name="bias")],
             [floats("x", "batch", "time", 4)], [floats("y", "batch", "time", 2)],
             [("w", w), ("b", np.array([0.5, -0.5], np.float32))])
x = rng.normal(size=(24, 1, 3, 4)).astype(np.float32)
np.savez("open.npz", x=x, y=np.stack([o[0] for o in answers(made, x)]))
np.savez("open_wrong.npz", x=x, y=np.stack([o[0] + 1 for o in answers(made, x)]))
for tensor, file, offset in zip(made.graph.initializer, ["w.bin", "b.bin"], [8, 0]):
    with open(file, "wb") as out:
        out.write(b"\0" * offset + tensor.raw_data)
    length = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = T.EXTERNAL
    for key, value in [("location", file), ("offset", str(offset)), ("length", str(length))]:
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
with open("outside.onnx", "wb") as out:
    out.write(made.SerializeToString())

# The largest elements of windows, and where they are; an output that is an input.
made = model("places", [h.make_node("MaxPool", ["x"], ["m", "i"], kernel_shape=[2, 2], strides=[2, 2], name="pool")],
             [floats("x", 1, 2, 4, 4)],
             [floats("m", 1, 2, 2, 2), h.make_tensor_value_info("i", T.INT64, [1, 2, 2, 2]), floats("x", 1, 2, 4, 4)])
x = rng.permutation(24 * 32).reshape(24, 1, 2, 4, 4).astype(np.float32) / 16
y = answers(made, x)
np.savez("places.npz", x0=x, y0=np.stack([o[0] for o in y]), y1=np.stack([o[1] for o in y]))
