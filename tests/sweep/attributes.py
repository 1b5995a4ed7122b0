"""Values of attributes, made from what ONNX's schemas say of them: the default, corners, and every word that the text quotes."""

import itertools
import re

import numpy as np
from onnx import defs

KIND = defs.OpSchema.AttrType
INTEGERS = [0, 1, 2, 3, -1, -2]
REALS = [0.0, 0.5, 1.5, 3.0, -0.7, 0.01]
LISTS = [[1], [2], [1, 1], [2, 2], [3, 2], [2, 1], [2, 2, 2], [0, 1], [1, 0, 0, 1], [1, 1, 1, 1], [0, 0, 1, 2], [1, 0], [0], [-1],
         [0, 2], [-1, 0], [1, 2, 0], [0, 2, 1, 3], [3, 1, 0, 2], [2, 0, 1], [-2], [5, 5], [8, 7], [1, 2, 3], [3]]
# Never looked at by a model that infers, or without a meaning: the order of what is not sorted, the saturation of eight-bit floats.
IGNORED = {"consumed_inputs", "momentum", "is_test", "seed", "spatial", "training_mode", "storage_order", "sorted", "saturate"}
# What ONNX says of switches; other numbers mean nothing.
SWITCH = re.compile(r"boolean|[Ww]hether|\b[Ii]f (set|true|false|equals|1)|[Ss]et to 1|\b(0|1) (means|or|if|is)|[Ff]lag|[Kk]eep the reduced|[Dd]efault 1", re.S)


def kind(attribute):
    """The type's number, of ONNX's schemas and of ONNX Runtime's."""
    return int(getattr(attribute.type, "value", attribute.type))


def words(schema, attribute):
    """Words that stand in quotes or in capitals in what is said of an attribute: names of modes."""
    text = str(attribute.description)
    if len(re.findall(r"\w+", text)) < 12:
        text += str(schema.doc)
    found = re.findall(r"[`'\"]([A-Za-z_]+)[`'\"]", text) + re.findall(r"\b[A-Z][A-Z_]{3,}\b", text)
    found += re.findall(r"(?:one of|among|following)[^.]*?((?:\w+, )+\w+)", text)
    parts = [w for f in found for w in re.split(r",\s*|\s+or\s+", f)]
    return list(dict.fromkeys(w for w in parts if w))[:14]


def default(attribute):
    """The default as a plain value, or nothing."""
    proto = getattr(attribute, "default_value", None)
    if proto is None or not getattr(proto, "name", "") and not getattr(proto, "type", 0):
        return None
    from onnx import helper

    try:
        value = helper.get_attribute_value(proto)
    except (ValueError, AttributeError):
        return None
    return value.decode() if isinstance(value, bytes) else value


def candidates(schema, attribute):
    """Values that are worth a try; ONNX Runtime says which of them mean anything."""
    given = default(attribute)
    first = [] if given is None else [given]
    k = kind(attribute)
    if k == 1:
        near = [] if given is None else [given * 2 + 0.25, given * 0.5]
        values = first + near + REALS
    elif k == 2:
        near = [] if given is None or abs(given) < 4 else [given + 1, given - 1]
        switch = given in (None, 0, 1) and SWITCH.search(str(attribute.description)) and attribute.name not in ("axis", "batch_dims", "p")
        values = first + near + ([0, 1] if switch else INTEGERS)
    elif k == 3:
        values = first + words(schema, attribute)
    elif k == 6:
        values = [[0.3], [0.5, 2.0], [0.1, 0.2, 0.3]]
    elif k == 7:
        values = LISTS
    elif k == 8:
        values = [list(v) for n in (1, 2, 3) for v in itertools.islice(itertools.product(words(schema, attribute), repeat=n), 40)]
    else:
        values = []
    unique = []
    for v in values:
        if not any(type(v) is type(u) and v == u for u in unique):
            unique.append(v)
    return unique


def variants(schema, base, rng, most):
    """Sets of attributes: the base, every value of every attribute alone, and some together."""
    every = {n: candidates(schema, a) for n, a in schema.attributes.items() if n not in IGNORED}
    yield dict(base)
    for name, values in every.items():
        for value in values:
            yield {**base, name: value}
    names = [n for n, v in every.items() if v]
    if len(names) < 2:
        return
    for _ in range(most):
        chosen = rng.choice(len(names), size=rng.integers(2, min(4, len(names)) + 1), replace=False)
        yield {**base, **{names[c]: every[names[c]][rng.integers(len(every[names[c]]))] for c in chosen}}


def versions(domain, name, highest):
    """Schemas of an operator, each with an operator set in which it holds."""
    found = [s for s in defs.get_all_schemas_with_history() if s.domain == domain and s.name == name and not s.deprecated]
    for schema in sorted(found, key=lambda s: s.since_version):
        later = [s.since_version for s in found if s.since_version > schema.since_version]
        lowest = 7 if domain == "" else 1
        version = max(schema.since_version, lowest)
        if later and min(later) <= version or version > highest:
            continue
        yield schema, version


def array(values, kind_of=np.float32):
    return np.asarray(values, dtype=kind_of)
