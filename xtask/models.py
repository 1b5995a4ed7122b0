#!/usr/bin/env python3
"""Writes networks of well-known shapes with seeded weights, and samples with the outputs that ONNX Runtime computes.

    python3 xtask/models.py resnet18-32 -o target/models            # one shape, or several
    python3 xtask/models.py --list

Needs `onnx`, `onnxruntime` and `numpy`. Each shape becomes FOLDER/NAME/network.onnx and samples.npz (`x0`, ..., `y0`).

Weights are random but shaped like trained ones: the spectrum of every matrix falls off as a power law, channels differ in
size, a few channels of a transformer's residual stream are fifty times the median. Batch normalisations hold the statistics
of the samples, so that activations have the sizes that training leaves.
"""

import argparse
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
OUTLIER = 50.0


class Graph:
    """Nodes and weights of a model that is written front to back."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights, self.inputs = [], [], []
        self.statistics = {}

    def input(self, name, kind, shape):
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def node(self, op, inputs, outputs=1, **attributes):
        name = f"{op.lower()}_{len(self.nodes)}"
        outs = [name] if outputs == 1 else [f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, outs, name=name, **attributes))
        return outs[0] if outputs == 1 else outs

    def constant(self, value, dtype=np.float32):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype=dtype), name))
        return name

    def ints(self, *values):
        return self.constant(values, np.int64)

    def matrix(self, rows, columns, gain=1.0):
        """A matrix of variance gain/rows whose singular values fall off as i^-0.35."""
        w = self.rng.standard_normal((rows, columns)).astype(np.float32)
        rank = min(rows, columns, 64)
        u = np.linalg.qr(self.rng.standard_normal((rows, rank)))[0]
        v = np.linalg.qr(self.rng.standard_normal((columns, rank)))[0]
        top = np.sqrt(max(rows, columns)) * np.arange(1, rank + 1) ** -0.35
        w = 0.8 * w + (u * top) @ v.T
        w *= np.exp(0.2 * self.rng.standard_normal(columns))
        return (w * np.sqrt(gain / rows) / w.std()).astype(np.float32)

    def conv(self, x, cin, cout, kernel, stride=1, groups=1):
        w = self.matrix(cin // groups * kernel * kernel, cout, 2.0)
        w = w.T.reshape(cout, cin // groups, kernel, kernel)
        return self.node("Conv", [x, self.constant(w)], kernel_shape=[kernel] * 2, strides=[stride] * 2,
                         pads=[kernel // 2] * 4, group=groups)

    def norm(self, x, channels):
        gamma = np.exp(0.2 * self.rng.standard_normal(channels))
        beta = 0.2 * self.rng.standard_normal(channels)
        y = self.node("BatchNormalization", [x, self.constant(gamma), self.constant(beta),
                                             self.constant(np.zeros(channels)), self.constant(np.ones(channels))])
        self.statistics[y] = (x, len(self.weights) - 2)
        return y

    def dense(self, x, rows, columns, gain=1.0, bias=True):
        y = self.node("MatMul", [x, self.constant(self.matrix(rows, columns, gain))])
        return self.node("Add", [y, self.constant(0.02 * self.rng.standard_normal(columns))]) if bias else y

    def layer_norm(self, x, width, outliers=()):
        gamma = np.exp(0.2 * self.rng.standard_normal(width))
        gamma[list(outliers)] *= 0.1
        beta = 0.05 * self.rng.standard_normal(width)
        return self.node("LayerNormalization", [x, self.constant(gamma), self.constant(beta)], axis=-1, epsilon=1e-5)

    def model(self, outputs):
        outs = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs]
        graph = helper.make_graph(self.nodes, "network", self.inputs, outs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = 9
        return model

    def settle(self, feeds):
        """Gives batch normalisations the statistics of their inputs, front to back in one run."""
        if not self.statistics:
            return
        nodes, extra = [], []
        for node in self.nodes:
            if node.op_type != "BatchNormalization":
                nodes.append(node)
                continue
            x, name = node.input[0], node.output[0]
            mean, var = name + "_mean", name + "_var"
            make = helper.make_node
            shape = name + "_shape"
            nodes += [
                make("ReduceMean", [x], [mean], axes=[0, 2, 3], keepdims=1),
                make("Sub", [x, mean], [name + "_c"]),
                make("Mul", [name + "_c", name + "_c"], [name + "_sq"]),
                make("ReduceMean", [name + "_sq"], [var], axes=[0, 2, 3], keepdims=1),
                make("Constant", [], [shape], value=numpy_helper.from_array(np.array([1, -1, 1, 1]))),
                make("Sqrt", [var], [name + "_s"]),
                make("Div", [name + "_c", name + "_s"], [name + "_n"]),
                make("Reshape", [node.input[1], shape], [name + "_g"]),
                make("Reshape", [node.input[2], shape], [name + "_b"]),
                make("Mul", [name + "_n", name + "_g"], [name + "_m"]),
                make("Add", [name + "_m", name + "_b"], [name]),
            ]
            extra += [mean, var]
        real, self.nodes = self.nodes, nodes
        found = run(self.model(extra), feeds)
        self.nodes = real
        for i, (_, at) in enumerate(self.statistics.values()):
            for j, value in enumerate(found[2 * i:2 * i + 2]):
                name = self.weights[at + j].name
                self.weights[at + j] = numpy_helper.from_array(value.reshape(-1).astype(np.float32), name)


def run(model, feeds):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def images(rng, count, size):
    """Smooth noise, normalised per channel as usual."""
    coarse = rng.standard_normal((count, 3, size // 8, size // 8))
    smooth = np.kron(coarse, np.ones((1, 1, 8, 8)))
    return (0.8 * smooth + 0.4 * rng.standard_normal(smooth.shape)).astype(np.float32)


def head(g, x, channels, classes):
    x = g.node("Flatten", [g.node("GlobalAveragePool", [x])])
    w, b = g.matrix(channels, classes), 0.1 * g.rng.standard_normal(classes)
    return g.node("Gemm", [x, g.constant(w), g.constant(b)])


def resnet(g, size, blocks, bottleneck, classes):
    x = g.input("image", TensorProto.FLOAT, ["batch", 3, size, size])
    if size > 64:
        x = g.node("Relu", [g.norm(g.conv(x, 3, 64, 7, 2), 64)])
        x = g.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    else:
        x = g.node("Relu", [g.norm(g.conv(x, 3, 64, 3), 64)])
    cin = 64
    for stage, count in enumerate(blocks):
        width = 64 << stage
        cout = 4 * width if bottleneck else width
        for block in range(count):
            stride = 2 if block == 0 and stage > 0 else 1
            y = x
            if bottleneck:
                y = g.node("Relu", [g.norm(g.conv(y, cin, width, 1), width)])
                y = g.node("Relu", [g.norm(g.conv(y, width, width, 3, stride), width)])
                y = g.norm(g.conv(y, width, cout, 1), cout)
            else:
                y = g.node("Relu", [g.norm(g.conv(y, cin, width, 3, stride), width)])
                y = g.norm(g.conv(y, width, cout, 3), cout)
            if stride != 1 or cin != cout:
                x = g.norm(g.conv(x, cin, cout, 1, stride), cout)
            x = g.node("Relu", [g.node("Add", [x, y])])
            cin = cout
    return head(g, x, cin, classes)


def mobilenet(g, size, classes):
    def relu6(x):
        return g.node("Clip", [x, zero, six])

    x = g.input("image", TensorProto.FLOAT, ["batch", 3, size, size])
    zero, six = g.constant(np.float32(0)), g.constant(np.float32(6))
    x, cin = relu6(g.norm(g.conv(x, 3, 32, 3, 2), 32)), 32
    for factor, cout, count, stride in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
        for block in range(count):
            step, wide = stride if block == 0 else 1, cin * factor
            y = relu6(g.norm(g.conv(x, cin, wide, 1), wide)) if factor > 1 else x
            y = relu6(g.norm(g.conv(y, wide, wide, 3, step, groups=wide), wide))
            y = g.norm(g.conv(y, wide, cout, 1), cout)
            x = g.node("Add", [x, y]) if step == 1 and cin == cout else y
            cin = cout
    return head(g, relu6(g.norm(g.conv(x, cin, 1280, 1), 1280)), 1280, classes)


def attention(g, x, tokens, width, heads, mask):
    """`mask` takes the scaled logits to masked ones. The exporter's operators: Split, Reshape, Transpose."""
    shape = g.ints(0, tokens, heads, width // heads)
    parts = g.node("Split", [g.dense(x, width, 3 * width), g.ints(width, width, width)], 3, axis=2)
    q, k, v = (g.node("Transpose", [g.node("Reshape", [p, shape])], perm=perm)
               for p, perm in zip(parts, [[0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]]))
    logits = g.node("Div", [g.node("MatMul", [q, k]), g.constant(np.float32(np.sqrt(width // heads)))])
    p = g.node("Softmax", [mask(logits)], axis=-1)
    y = g.node("Transpose", [g.node("MatMul", [p, v])], perm=[0, 2, 1, 3])
    return g.dense(g.node("Reshape", [y, g.ints(0, tokens, width)]), width, width, 0.1)


def gelu_tanh(g, x):
    c = lambda v: g.constant(np.float32(v))
    cube = g.node("Pow", [x, c(3.0)])
    inner = g.node("Mul", [g.node("Add", [x, g.node("Mul", [cube, c(0.044715)])]), c(np.sqrt(2 / np.pi))])
    return g.node("Mul", [g.node("Mul", [x, c(0.5)]), g.node("Add", [g.node("Tanh", [inner]), c(1.0)])])


def gelu_erf(g, x):
    c = lambda v: g.constant(np.float32(v))
    e = g.node("Add", [g.node("Erf", [g.node("Div", [x, c(np.sqrt(2.0))])]), c(1.0)])
    return g.node("Mul", [g.node("Mul", [x, e]), c(0.5)])


def embedding(g, rows, width, outliers, scale):
    w = scale * g.rng.standard_normal((rows, width))
    w[:, list(outliers)] *= OUTLIER
    return g.constant(w)


def gpt2(g, layers, width, heads, tokens, words, last):
    ids = g.input("input_ids", TensorProto.INT64, ["batch", tokens])
    outliers = g.rng.choice(width, 3, replace=False)
    words_matrix = embedding(g, words, width, [], 0.14)
    x = g.node("Gather", [words_matrix, ids])
    x = g.node("Add", [x, embedding(g, tokens, width, outliers, 0.1)])
    causal = g.constant(np.tril(np.ones((1, 1, tokens, tokens))), bool)
    least = g.constant(np.float32(np.finfo(np.float32).min))
    for _ in range(layers):
        mask = lambda logits: g.node("Where", [causal, logits, least])
        x = g.node("Add", [x, attention(g, g.layer_norm(x, width, outliers), tokens, width, heads, mask)])
        y = gelu_tanh(g, g.dense(g.layer_norm(x, width, outliers), width, 4 * width))
        x = g.node("Add", [x, g.dense(y, 4 * width, width, 0.1)])
    x = g.layer_norm(x, width, outliers)
    if last:
        x = g.node("Slice", [x, g.ints(tokens - 1), g.ints(tokens), g.ints(1)])
    return g.node("MatMul", [x, g.node("Transpose", [words_matrix], perm=[1, 0])])


def bert(g, layers, width, heads, tokens, words):
    ids = g.input("input_ids", TensorProto.INT64, ["batch", tokens])
    seen = g.input("attention_mask", TensorProto.INT64, ["batch", tokens])
    kinds = g.input("token_type_ids", TensorProto.INT64, ["batch", tokens])
    x = g.node("Gather", [embedding(g, words, width, [], 0.05), ids])
    x = g.node("Add", [x, g.node("Gather", [embedding(g, 2, width, [], 0.02), kinds])])
    x = g.layer_norm(g.node("Add", [x, embedding(g, tokens, width, [], 0.03)]), width)
    seen = g.node("Unsqueeze", [g.node("Cast", [seen], to=TensorProto.FLOAT), g.ints(1, 2)])
    hidden = g.node("Sub", [g.constant(np.float32(1)), seen])
    bias = g.node("Mul", [hidden, g.constant(np.float32(np.finfo(np.float32).min))])
    for _ in range(layers):
        mask = lambda logits: g.node("Add", [logits, bias])
        x = g.layer_norm(g.node("Add", [x, attention(g, x, tokens, width, heads, mask)]), width)
        y = g.dense(gelu_erf(g, g.dense(x, width, 4 * width)), 4 * width, width, 0.3)
        x = g.layer_norm(g.node("Add", [x, y]), width)
    return x


def text_feeds(rng, count, tokens, words, masked):
    # Zipf's law, as words are distributed.
    p = 1.0 / np.arange(1, words + 1)
    feeds = {"input_ids": rng.choice(words, (count, tokens), p=p / p.sum())}
    if masked:
        lengths = rng.integers(tokens // 2, tokens + 1, count)
        feeds["attention_mask"] = (np.arange(tokens) < lengths[:, None]).astype(np.int64)
        feeds["token_type_ids"] = (np.arange(tokens) >= lengths[:, None] // 2).astype(np.int64)
    return feeds


def vision(build, size, count=16, **options):
    def make(g):
        output = build(g, size, **options)
        feeds = {"image": images(g.rng, count, size)}
        g.settle(feeds)
        return output, feeds
    return make


def text(build, tokens, words, count=8, **options):
    def make(g):
        output = build(g, tokens=tokens, words=words, **options)
        return output, text_feeds(g.rng, count, tokens, words, build is bert)
    return make


SHAPES = {
    "resnet18-32": vision(resnet, 32, blocks=[2, 2, 2, 2], bottleneck=False, classes=100),
    "resnet18-224": vision(resnet, 224, blocks=[2, 2, 2, 2], bottleneck=False, classes=1000),
    "resnet50-224": vision(resnet, 224, blocks=[3, 4, 6, 3], bottleneck=True, classes=1000),
    "mobilenetv2-224": vision(mobilenet, 224, classes=1000),
    "gpt2-block": text(gpt2, 16, 512, layers=1, width=768, heads=12, last=False),
    "gpt2-2": text(gpt2, 16, 512, layers=2, width=768, heads=12, last=True),
    "gpt2-16": text(gpt2, 16, 50257, layers=12, width=768, heads=12, last=True),
    "gpt2-64": text(gpt2, 64, 50257, layers=12, width=768, heads=12, last=False),
    "bert-32": text(bert, 32, 30522, layers=12, width=768, heads=12),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", help="which; see --list")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path("target/models"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="the names of all shapes")
    arguments = parser.parse_args()
    if arguments.list or not arguments.shapes:
        print("\n".join(SHAPES))
        return
    unknown = [s for s in arguments.shapes if s not in SHAPES]
    if unknown:
        sys.exit(f"no shape {unknown[0]!r}: {', '.join(SHAPES)}")
    for shape in arguments.shapes:
        graph = Graph(arguments.seed)
        output, feeds = SHAPES[shape](graph)
        model = graph.model([output])
        expected = run(model, feeds)[0]
        folder = arguments.output / shape
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save(model, folder / "network.onnx")
        arrays = {f"x{i}": value for i, value in enumerate(feeds.values())}
        np.savez_compressed(folder / "samples.npz", **arrays, y0=expected)
        weights = sum(int(np.prod(w.dims)) for w in graph.weights)
        print(f"{shape}: {weights / 1e6:.1f} M weights, output {list(expected.shape)}, "
              f"mean size {np.abs(expected).mean():.3g}, {(folder / 'network.onnx').stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
