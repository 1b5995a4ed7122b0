"""Operands of operators: which of them are activations, which are constants, and shapes that fit.

A recipe gives alternatives for one operator; those that do not fit the attributes are refused by ONNX Runtime and are no cases.
"""

import itertools

import numpy as np

F, I64, I32, I8, U8, BOOL = np.float32, np.int64, np.int32, np.int8, np.uint8, np.bool_
SHAPES = [(2, 3), (1, 2, 4, 5), (3,), (2, 3, 4)]


class X:
    """An activation: its shape, and what its values are like."""

    def __init__(self, *shape, like="real", dtype=F):
        self.shape, self.like, self.dtype = tuple(shape), like, np.dtype(dtype)

    def sample(self, rng, like=None):
        like = like or self.like
        if self.dtype == np.bool_:
            truths = rng.random(self.shape) < 0.5
            if like == "mask":
                truths[..., 0] = True
            return truths
        if self.dtype.kind in "iu":
            low = 0 if self.dtype.kind == "u" or like in ("index", "whole") else -9
            high = {"index": 2, "whole": 4}.get(like, 10)
            return rng.integers(low, high, self.shape).astype(self.dtype)
        draw = {
            "real": lambda: rng.normal(0, 1, self.shape),
            "inside": lambda: rng.uniform(-0.9, 0.9, self.shape),
            "positive": lambda: rng.uniform(0.2, 2.0, self.shape),
            "above": lambda: rng.uniform(1.1, 3.0, self.shape),
            "whole": lambda: rng.integers(0, 4, self.shape),
        }
        return draw[like]().astype(self.dtype)


def real(*shape, seed=7):
    return np.random.default_rng(seed + sum(shape)).normal(0, 1, shape).astype(F)


def ints(*values):
    return np.array(values, I64)


def one(dtype, value):
    return np.array(value, dtype)


def unary(*_):
    return [[X(*s)] for s in SHAPES] + [[X(2, 3, dtype=t)] for t in (I32, I64, BOOL)]


def pairs(dtypes=(F, I32)):
    def recipe(*_):
        for t in dtypes:
            like = lambda *s: X(*s, dtype=t)
            c = (np.arange(3) % 2 == 0) if t is BOOL else (np.arange(3) + 1).astype(t)
            yield [like(2, 3), like(2, 3)]
            yield [like(2, 1, 3), like(4, 1)]
            yield [like(2, 3), c]
            yield [c, like(2, 3)]
            yield [like(2, 3), c[1:2].reshape(())]
            yield [c[1:2].reshape(()), like(2, 3)]

    return recipe


def variadic(*_):
    yield [X(2, 3)]
    yield [X(2, 3), X(3)]
    yield [X(2, 3), X(2, 3), real(2, 1)]
    yield [X(2, 3, dtype=I32), X(2, 3, dtype=I32)]


def axes_as(first=None):
    """Axes as an operand, where the version has them so."""

    def recipe(schema, attributes):
        for s in ((2, 3), (1, 2, 3, 2), (1, 3, 1)):
            x = X(*s)
            if len(schema.inputs) == 1:
                yield [x]
                continue
            for axes in ((), (0,), (1,), (-1,), (0, 2), (-2, 0)):
                yield [x, ints(*axes)]
            if schema.inputs[1].option.name == "Optional":
                yield [x, None]
        yield [X(2, 3, dtype=I32)] + [ints(1)] * (len(schema.inputs) > 1)

    return recipe


def convolution(schema, attributes):
    group = max(1, attributes.get("group", 1) or 1)
    # Where steps are longer than kernels, ONNX does not say what "same" means.
    if str(attributes.get("auto_pad", "")).startswith("SAME") and max(attributes.get("strides", [1])) > 2:
        return
    transposed = schema.name == "ConvTranspose"
    for space in ((7,), (6, 5), (4, 3, 4)):
        for kernel in {(1,) * len(space), (3, 2, 2)[: len(space)], (2,) * len(space)}:
            channels = 2 * group
            w = (channels, 3, *kernel) if transposed else (3 * group, 2, *kernel)
            given = attributes.get("kernel_shape")
            if given is not None and tuple(given) != kernel:
                continue
            yield [X(1, channels, *space), real(*w)]
            yield [X(1, channels, *space), real(*w), real(3 * group)]
    if not transposed:
        yield [X(1, 2 * group, 5, 5), X(3 * group, 2, 2, 2)]


def integer_convolution(schema, attributes):
    group = max(1, attributes.get("group", 1) or 1)
    w = np.random.default_rng(3).integers(-9, 9, (3 * group, 2, 2, 2)).astype(I8)
    x = X(1, 2 * group, 4, 4, dtype=U8)
    if schema.name == "ConvInteger":
        yield [x, w]
        yield [x, w, one(U8, 3), one(I8, 0)]
        return
    s = lambda v: one(F, v)
    yield [x, s(0.05), one(U8, 3), w, s(0.1), one(I8, 0), s(0.2), one(U8, 128)]


def pools(schema, attributes):
    for s in ((1, 2, 7), (1, 2, 6, 5), (1, 1, 4, 4, 3)):
        given = attributes.get("kernel_shape")
        if given is None or len(given) == len(s) - 2:
            yield [X(*s)]


def norms(schema, attributes):
    name = schema.name
    for s in ((2, 4, 3), (2, 4, 3, 2)):
        axis = attributes.get("axis", -1)
        if name in ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"):
            if -len(s) <= axis < len(s):
                size = s[axis:] if axis < 0 else s[axis:]
                yield [X(*s), real(*size)]
                if name == "LayerNormalization":
                    yield [X(*s), real(*size), real(*size, seed=3)]
        elif name == "BatchNormalization":
            yield [X(*s), real(4), real(4, seed=1), real(4, seed=2), np.abs(real(4, seed=3)) + F(0.1)]
        elif name == "InstanceNormalization":
            yield [X(*s), real(4), real(4, seed=1)]
        elif name == "GroupNormalization":
            groups = attributes.get("num_groups", 2)
            size = 4 if schema.since_version >= 21 else max(groups, 1)
            yield [X(*s), real(size), real(size, seed=1)]


def recurrent(schema, attributes):
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[schema.name]
    d = 2 if attributes.get("direction") == "bidirectional" else 1
    h = attributes.get("hidden_size", 2)
    if h not in (1, 2, 3):
        return
    base = [X(3, 1, 2), real(d, gates * h, 2), real(d, gates * h, h, seed=1)]
    bias, h0, c0 = real(d, 2 * gates * h), real(d, 1, h), real(d, 1, h, seed=4)
    states = [h0, c0] if schema.name == "LSTM" else [h0]
    yield base
    yield base + [bias]
    yield base + [bias, None] + states
    yield base + [bias, None] + [X(d, 1, h) for _ in states]
    yield base + [None, np.array([2], I32)]
    if schema.name == "LSTM":
        yield base + [bias, None] + states + [real(d, 3 * h, seed=5)]


def sizes(*_):
    """Resize and Upsample."""
    schema = _[0]
    for s in ((1, 1, 4, 5), (1, 1, 6)):
        x, tail = X(*s), len(s) - 2
        for factors in ((2.0, 2.0), (1.5, 0.6), (0.5, 2.6), (3.0, 1.25)):
            scales = np.array((1.0, 1.0) + factors[:tail], F)
            if schema.name == "Upsample" and schema.since_version < 9:
                yield [x]
            elif schema.since_version < 11:
                yield [x, scales]
            else:
                yield [x, np.zeros(0, F), scales]
                yield [x, np.array([0.0, 0.1, 0.2, 0.1][: tail + 2] * 1 + [1.0, 0.9, 0.8, 1.1][: tail + 2], F), scales]
        if schema.since_version >= 11 and schema.name == "Resize":
            for target in ((7, 3), (2, 9), (4, 10)):
                yield [x, None, None, ints(1, 1, *target[:tail])]
                yield [X(1, 1, *s[2:]), None, None, ints(*target[:tail])]
            yield [x, None, np.array([1.5] * tail, F)]


def pads(schema, attributes):
    for s, p in (((2, 3), (1, 0, 0, 2)), ((1, 4, 3), (0, 1, 2, 0, 2, 1)), ((3, 4), (-1, 0, 1, -1)), ((4,), (5, 6)), ((3, 3), (-1, 1, 1, 2))):
        if schema.since_version < 11:
            yield [X(*s)]
            continue
        yield [X(*s), ints(*p)]
        yield [X(*s), ints(*p), one(F, 1.5)]
        if schema.since_version >= 18:
            yield [X(*s), ints(1, 2), one(F, 0.5), ints(-1)]


def slices(schema, attributes):
    x = X(4, 5, 3)
    if schema.since_version < 10:
        yield [x]
        return
    for starts, ends, axes, steps in (
        ([0], [2], [0], [1]), ([1, 0], [9, -1], [1, 2], [2, 1]), ([-1], [-9], [1], [-1]), ([-3, 1], [100, 3], [-2, -1], [1, 1]),
        ([3], [0], [0], [-2]), ([0, 0], [2, 2], None, None), ([2**31], [-(2**62)], [1], [-1]),
    ):
        yield [x, ints(*starts), ints(*ends)] + ([] if axes is None else [ints(*axes), ints(*steps)])


def gathers(schema, attributes):
    name = schema.name
    if name == "Gather":
        for i in (ints(1), ints(0, -1, 2), np.array(-2, I64), np.array([[1, 0], [-1, 1]], I64)):
            yield [X(3, 3, 3), i]
        yield [real(3, 4), X(2, dtype=I64, like="index")]
    elif name == "GatherElements":
        yield [X(3, 3), np.array([[0, 1, -1], [2, -3, 0]], I64)]
        yield [X(3, 3), np.array([[0, 1], [2, -3], [-1, 0]], I64)]
    elif name == "GatherND":
        for i in ([[0, 1], [-1, -2]], [[1], [-1]], [[[0], [1]], [[-1], [1]]]):
            yield [X(2, 2, 3), np.array(i, I64)]
    elif name in ("ScatterElements", "Scatter"):
        yield [X(3, 3), np.array([[0, 1, -1]], I64), X(1, 3)]
        yield [real(3, 3), np.array([[0, 2], [-1, 1]], I64), X(2, 2)]
        yield [X(3, 3), np.array([[0, 0, 0], [0, 1, 2]], I64), real(2, 3)]
    elif name == "ScatterND":
        yield [X(3, 4), np.array([[-1], [0]], I64), X(2, 4)]
        yield [X(3, 4), np.array([[0, -1], [2, 1]], I64), X(2)]
        yield [X(3, 4), np.array([[1], [1]], I64), real(2, 4)]
    elif name == "Compress":
        yield [X(3, 4), np.array([True, False, True])]
        yield [X(3, 4), np.array([False, True, True, True])]
        yield [X(2, 2), np.array([True, False, True, True])]


def shapes(schema, attributes):
    name = schema.name
    x = X(2, 3, 4)
    tables = {
        "Reshape": [(6, 4), (-1, 2), (0, -1), (4, 3, 2)], "Expand": [(2, 3, 4), (5, 2, 3, 4), (1, 1)], "Tile": [(1, 2, 1), (2, 1, 3)],
    }
    if name in tables:
        for v in tables[name]:
            yield [x, ints(*v)]
    elif name == "ConstantOfShape":
        yield [ints(2, 3)]
    elif name == "CumSum":
        for a in (0, 1, -1):
            yield [x, one(I64, a)]
    elif name == "Trilu":
        yield [x]
        for k in (-1, 0, 1, 2):
            yield [x, one(I64, k)]
    elif name == "TopK":
        yield [X(3, 5)] + ([] if schema.since_version < 10 else [ints(2)])
        yield [X(2, 4, 3)] + ([] if schema.since_version < 10 else [ints(1)])
    elif name == "OneHot":
        yield [X(2, 3, dtype=I64), one(I64, 4), np.array([0.0, 1.0], F)]
        yield [X(3, dtype=I64), one(I64, 5), np.array([-1.0, 2.5], F)]
    elif name == "Split":
        yield [X(4, 6)]
        if schema.since_version >= 13:
            yield [X(4, 6), ints(1, 3)]
            yield [X(4, 6), ints(2, 4)]
    elif name == "Concat":
        yield [x, X(2, 3, 4)]
        yield [x, real(2, 3, 4), X(2, 3, 4)]
    elif name in ("DepthToSpace", "SpaceToDepth"):
        yield [X(1, 8, 4, 6)]
        yield [X(1, 9, 3, 6)]
    elif name == "ReverseSequence":
        yield [X(3, 2, 2), ints(2, 3)]
        yield [X(3, 2), ints(1, 2)]
        yield [X(2, 3), ints(1, 3)]
    elif name == "CenterCropPad":
        yield [X(4, 5, 3), ints(2, 7)]
        yield [X(4, 5, 3), ints(3)]
        yield [X(4, 5, 3), ints(5, 4, 3)]
    elif name == "GridSample":
        grid = np.random.default_rng(5).uniform(-1.3, 1.3, (1, 3, 4, 2)).astype(F)
        yield [X(1, 1, 4, 5), grid]
        yield [X(1, 2, 3, 3), grid]
    elif name == "Einsum":
        for a, b in itertools.product([X(2, 3), X(3, 3)], [X(3, 3), real(3, 4)]):
            yield [a, b]
        yield [X(2, 3), X(3, 4), real(4, 2)]
        yield [X(2, 3)]
        yield [X(3, 3)]


def products(schema, attributes):
    name = schema.name
    if name == "Gemm":
        for a, b in (((2, 3), (3, 4)), ((3, 2), (3, 4)), ((2, 3), (4, 3)), ((3, 2), (4, 3))):
            yield [X(*a), real(*b), real(4)]
            yield [X(*a), real(*b), X(2, 1)]
            yield [X(*a), X(*b)]
    elif name in ("MatMul", "FusedMatMul"):
        for a, b in (((2, 3), (3, 4)), ((2, 2, 3), (3, 2)), ((3,), (3, 2)), ((2, 1, 2, 3), (2, 3, 2)), ((2, 3), (4, 3)), ((3, 2), (3, 4)), ((2, 3), (3,))):
            yield [X(*a), X(*b)]
            yield [X(*a), real(*b)]
            yield [real(*a), X(*b)]
    elif name == "MatMulInteger":
        w = np.random.default_rng(1).integers(-9, 9, (3, 2)).astype(I8)
        yield [X(2, 3, dtype=U8), w]
        yield [X(2, 3, dtype=U8), w, one(U8, 4), np.array([1, -2], I8)]
    elif name == "QLinearMatMul":
        w = np.random.default_rng(1).integers(-9, 9, (3, 2)).astype(I8)
        yield [X(2, 3, dtype=U8), one(F, 0.1), one(U8, 4), w, one(F, 0.2), one(I8, 1), one(F, 0.5), one(U8, 100)]
    elif name == "Where":
        yield [X(2, 3, dtype=BOOL), X(2, 3), X(3)]
        yield [X(2, 3, dtype=BOOL), one(F, -1e9), X(2, 3)]
        yield [np.array([True, False, True]), X(2, 3), X(2, 3)]
        yield [X(2, 3, dtype=BOOL), real(3), one(F, 2)]
    elif name == "Clip":
        yield [X(2, 3)]
        if schema.since_version >= 11:
            for a, b in ((-0.5, 0.5), (None, 0.3), (0.2, None), (0.0, 6.0)):
                yield [X(2, 3)] + [None if v is None else one(F, v) for v in (a, b)]
            yield [X(2, 3), one(F, 0.5), one(F, -0.5)]
    elif name == "PRelu":
        yield [X(2, 3), real(3)]
        yield [X(1, 2, 3, 3), real(2, 1, 1)]
        yield [X(2, 3), np.array([0.25], F)]
    elif name == "Range":
        yield [one(F, 1), one(F, 5), one(F, 1.5)]
    elif name == "Dropout":
        yield [X(2, 3)]
        if schema.since_version >= 12:
            yield [X(2, 3), one(F, 0.4)]
            yield [X(2, 3), one(F, 0.4), one(BOOL, False)]


def quantizers(schema, attributes):
    for t, z in ((U8, 120), (I8, 3), (np.int16, 40), (np.uint16, 30000)):
        if schema.name == "QuantizeLinear":
            yield [X(2, 4), one(F, 0.03), one(t, z)]
            yield [X(4, 2), np.array([0.03, 0.05], F), np.array([z, z + 1], t)]
            yield [X(2, 4), np.full((2, 2), 0.05, F), np.full((2, 2), z, t)]
        else:
            yield [X(2, 4, dtype=t), one(F, 0.03), one(t, z)]
            yield [X(4, 2, dtype=t), np.array([0.03, 0.05], F), np.array([z, z + 1], t)]
    if schema.name == "QuantizeLinear":
        yield [X(2, 4), one(F, 0.03)]
    else:
        yield [X(2, 4, dtype=I32), one(F, 0.003)]


def attention(schema, attributes):
    heads, inner = attributes.get("q_num_heads"), attributes.get("kv_num_heads")
    for length in (3, 4):
        if heads is None:
            yield [X(1, 2, 3, 4), X(1, 2, length, 4), X(1, 2, length, 4)]
            yield [X(1, 4, 3, 4), X(1, 2, length, 4), X(1, 2, length, 2)]
            yield [X(1, 2, 3, 4), X(1, 2, length, 4), X(1, 2, length, 4), np.tril(np.ones((3, length), BOOL))]
            yield [X(1, 2, 3, 4), X(1, 2, length, 4), X(1, 2, length, 4), X(3, length)]
            yield [X(1, 2, 3, 4), X(1, 2, length, 4), X(1, 2, length, 4), X(1, 1, 3, length, dtype=BOOL, like="mask")]
        elif heads > 0 and inner and inner > 0:
            yield [X(1, 3, 4 * heads), X(1, length, 4 * inner), X(1, length, 4 * inner)]
            yield [X(1, 3, 4 * heads), X(1, length, 4 * inner), X(1, length, 4 * inner), real(3, length)]


RECIPES = {
    "Conv": convolution, "ConvTranspose": convolution, "ConvInteger": integer_convolution, "QLinearConv": integer_convolution,
    "Clip": products, "PRelu": products, "Range": products, "Dropout": products, "Resize": sizes, "Upsample": sizes, "Pad": pads,
    "Slice": slices, "QuantizeLinear": quantizers, "DequantizeLinear": quantizers, "Attention": attention,
    "Cast": lambda *_: [[X(2, 3, like="whole", dtype=t)] for t in (F, I32, I64, BOOL)],
    "ReverseSequence": shapes, "CenterCropPad": shapes, "MeanVarianceNormalization": pools,
}
for names, made in (
    (("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "CastLike"), pairs()),
    (("And", "Or", "Xor"), pairs((BOOL,))),
    (("BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor"), pairs((U8,))),
    (("BitwiseNot",), lambda *_: [[X(2, 3, dtype=t)] for t in (U8, I8, I32)]),
    (("Max", "Min", "Mean", "Sum"), variadic),
    (("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
      "ReduceSumSquare", "Squeeze", "Unsqueeze"), axes_as()),
    (("AveragePool", "MaxPool", "LpPool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LRN"), pools),
    (("BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization",
      "SimplifiedLayerNormalization"), norms),
    (("RNN", "GRU", "LSTM"), recurrent),
    (("Gather", "GatherElements", "GatherND", "Scatter", "ScatterElements", "ScatterND", "Compress"), gathers),
    (("Reshape", "Expand", "Tile", "ConstantOfShape", "CumSum", "Trilu", "TopK", "OneHot", "Split", "Concat", "DepthToSpace",
      "SpaceToDepth", "GridSample", "Einsum"), shapes),
    (("Gemm", "MatMul", "FusedMatMul", "MatMulInteger", "QLinearMatMul", "Where"), products),
):
    RECIPES.update(dict.fromkeys(names, made))
