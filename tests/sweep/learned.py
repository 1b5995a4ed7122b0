"""Operators of ONNX-ML: parameters are lists of numbers that belong together, attribute values come from the schemas."""

import numpy as np

from attributes import words
from operands import F, I64, X, real

TRANSFORMS = "post_transform"


def transforms(schema):
    return [None] + words(schema, schema.attributes[TRANSFORMS])


def classes(count, strings=False, name="classlabels_ints"):
    return {"classlabels_strings": [f"c{i}" for i in range(count)]} if strings else {name: [i * 2 + 1 for i in range(count)]}


def tree(prefix, targets, trees, mode, leaf_only=False, per_leaf=1, single=False):
    """Lists of a small ensemble; `prefix` is class or target."""
    n = {k: [] for k in ("featureids", "falsenodeids", "hitrates", "missing_value_tracks_true", "modes", "nodeids", "treeids", "truenodeids", "values")}
    leaf = {k: [] for k in ("ids", "nodeids", "treeids", "weights")}
    rng = np.random.default_rng(targets * 10 + trees)

    def node(t, i, kind, feature=0, value=0.0, yes=0, no=0):
        for k, v in zip(n, (feature, no, 1.0, 0, kind, i, t, yes, value)):
            n[k].append(v)

    def end(t, i):
        node(t, i, "LEAF")
        for j in range(per_leaf):
            for k, v in zip(leaf, ((i + j + t) % (1 if single else targets), i, t, float(rng.normal()))):
                leaf[k].append(v)

    for t in range(trees):
        if leaf_only:
            end(t, 0)
            continue
        node(t, 0, mode, t % 2, 0.25, 1, 2)
        node(t, 1, mode, 1, -0.5, 3, 4)
        for i in (2, 3, 4):
            end(t, i)
    out = {f"nodes_{k}": v for k, v in n.items()}
    out.update({f"{prefix}_{k}": v for k, v in leaf.items()})
    return out


def ensembles(schema):
    """Trees whose leaves speak of one target or of all."""
    yield from some_ensembles(schema, 1)
    yield from some_ensembles(schema, 3)


def some_ensembles(schema, per_leaf):
    classifier = schema.name == "TreeEnsembleClassifier"
    prefix = "class" if classifier else "target"
    modes = [w for w in words(schema, schema.attributes["nodes_modes"]) if w.startswith("BRANCH")]
    modes = modes or ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
    for transform in transforms(schema):
        for count in (1, 2, 3):
            for trees, leaf_only in ((1, False), (2, False), (1, True)):
                for single in {False, count == 2 and classifier}:
                    if single and per_leaf > 1:
                        continue
                    a = tree(prefix, count, trees, modes[0], leaf_only, min(per_leaf, count), single)
                    if transform:
                        a[TRANSFORMS] = transform
                    if classifier:
                        if count == 1:
                            continue
                        a.update(classes(count, name="classlabels_int64s"))
                    else:
                        a["n_targets"] = count
                    yield a, [X(1, 2)]
                    base = [0.3, -0.2, 0.5][:count]
                    yield {**a, "base_values": base}, [X(1, 2)]
                    if classifier and count == 2:
                        yield {**a, "base_values": base[:1]}, [X(1, 2)]
    for mode in modes:
        a = tree(prefix, 2, 2, mode, per_leaf=min(per_leaf, 2))
        a.update(classes(2, name="classlabels_int64s") if classifier else {"n_targets": 2})
        yield a, [X(1, 2)]
    for function in () if classifier else [None] + words(schema, schema.attributes["aggregate_function"]):
        for count in (1, 2):
            a = {**tree(prefix, count, 3, modes[0], per_leaf=min(per_leaf, count)), "n_targets": count}
            yield {**a, **({"aggregate_function": function} if function else {})}, [X(1, 2)]


def linear(schema):
    classifier = schema.name == "LinearClassifier"
    for transform in transforms(schema):
        for count in (1, 2, 3):
            a = {"coefficients": real(count * 3).tolist(), "intercepts": real(count, seed=2).tolist()}
            if transform:
                a[TRANSFORMS] = transform
            if classifier:
                for strings in (False, True):
                    yield {**a, **classes(max(count, 2), strings)}, [X(1, 3)]
                yield {**a, **classes(max(count, 2)), "multi_class": 1}, [X(1, 3)]
            else:
                yield {**a, "targets": count}, [X(1, 3)]
                yield {k: v for k, v in a.items() if k != "intercepts"} | {"targets": count}, [X(1, 3)]


def vectors(schema):
    regressor = schema.name == "SVMRegressor"
    for kernel in [None] + words(schema, schema.attributes["kernel_type"]):
        for transform in transforms(schema):
            a = {"kernel_params": [0.4, 0.2, 2.0], "support_vectors": real(12).tolist()}
            if kernel:
                a["kernel_type"] = kernel
            if transform:
                a[TRANSFORMS] = transform
            if regressor:
                for one in (None, 0, 1):
                    more = {} if one is None else {"one_class": one}
                    yield {**a, **more, "coefficients": real(4).tolist(), "n_supports": 4, "rho": [0.2]}, [X(1, 3)]
            else:
                two = {**a, **classes(2), "coefficients": real(4).tolist(), "vectors_per_class": [2, 2], "rho": [0.2]}
                yield two, [X(1, 3)]
                yield {**two, "prob_a": [-1.2], "prob_b": [0.1]}, [X(1, 3)]
                three = {**a, **classes(3), "coefficients": real(8).tolist(), "vectors_per_class": [1, 1, 2], "rho": [0.2, -0.1, 0.3]}
                yield three, [X(1, 3)]


def others(schema):
    name, x = schema.name, X(1, 3)
    if name == "Scaler":
        yield {"offset": [0.5, -1.0, 0.0], "scale": [2.0, 0.5, 1.0]}, [x]
        yield {"offset": [0.5], "scale": [2.0]}, [x]
        yield {"scale": [2.0], "offset": [0.0]}, [X(1, 3, dtype=I64)]
    elif name == "Normalizer":
        for norm in [None] + words(schema, schema.attributes["norm"]):
            yield ({"norm": norm} if norm else {}), [X(2, 3)]
    elif name == "Binarizer":
        for t in (None, 0.0, 0.5, -0.3):
            yield ({} if t is None else {"threshold": t}), [x]
    elif name == "Imputer":
        yield {"imputed_value_floats": [1.0, 2.0, 3.0], "replaced_value_float": 0.0}, [X(1, 3, like="whole")]
        yield {"imputed_value_floats": [7.0], "replaced_value_float": 1.0}, [X(1, 3, like="whole")]
        yield {"imputed_value_int64s": [5, 6, 7], "replaced_value_int64": 0}, [X(1, 3, dtype=I64)]
    elif name == "LabelEncoder":
        x = X(1, 4, dtype=I64, like="index")
        yield {"keys_int64s": [0, 1], "values_int64s": [7, 3]}, [x]
        yield {"keys_int64s": [0], "values_floats": [0.5]}, [x]
        yield {"keys_int64s": [0], "values_floats": [0.5], "default_float": -1.5}, [x]
        yield {"keys_int64s": [0], "values_int64s": [5], "default_int64": 9}, [x]
        yield {"keys_floats": [0.0, 1.0], "values_floats": [0.5, 2.5]}, [X(1, 4, like="whole")]
    elif name == "OneHotEncoder":
        for zeros in (None, 0, 1):
            yield {"cats_int64s": [0, 1, 2], **({} if zeros is None else {"zeros": zeros})}, [X(1, 3, dtype=I64, like="index")]
    elif name == "ArrayFeatureExtractor":
        for i in ([0], [2, 0]):
            yield {}, [X(2, 3), np.array(i, I64)]
    elif name == "FeatureVectorizer":
        yield {"inputdimensions": [3, 2]}, [X(1, 3), X(1, 2)]


def cases(schema):
    name = schema.name
    if name in ("TreeEnsembleClassifier", "TreeEnsembleRegressor"):
        return ensembles(schema)
    if name in ("LinearClassifier", "LinearRegressor"):
        return linear(schema)
    if name in ("SVMClassifier", "SVMRegressor"):
        return vectors(schema)
    return others(schema)


assert F is np.float32
