"""Every attribute value of every supported operator, made from ONNX's schemas, by ONNX Runtime and by zkinfer.

    python tests/sweep/sweep.py path/to/values [--only NAME,…] [--keep FOLDER] [--verbose]

`path/to/values` is the program xtask/src/bin/values.rs. Which operators are supported is read from docs/operators.md, attribute
values, versions and type constraints from ONNX's schemas; ONNX Runtime decides which of the models made so mean anything. What
differs fails; what zkinfer refuses is counted, with the reason.
"""

import argparse
import collections
import hashlib
import json
import multiprocessing
import pathlib
import pickle
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, defs, helper, numpy_helper

import attributes as made
import learned
from operands import RECIPES, X, unary

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The graphs inside these are what they are about; sequences are no tensors.
ELSEWHERE = {"If": "tests/stored.rs", "Loop": "tests/stored.rs", "Scan": "tests/stored.rs", "SequenceAt": "tests/stored.rs",
             "SplitToSequence": "tests/stored.rs", "Constant": "every constant operand", "ai.onnx.ml.ZipMap": "tests/stored.rs",
             "ai.onnx.ml.TreeEnsemble": "tests/stored.rs"}
EQUATIONS = ["ij,jk->ik", "ij,jk", "ij->ji", "ii->i", "ij->", "i...->...i", "ij,kj->ik", "ij,ij->ij", "ij,jk,kl->il", "ij,ij->i", "ii", "ij,jk->ki"]
TYPES = [1, 2, 3, 5, 6, 7, 9, 10, 11]
SAMPLES = 3
# Distances over the largest magnitude of an output.
FLOATS, INTEGERS = 1e-3, 5e-2
# Mixed variants of one version, and shapes of one variant; choices of what is required, and those that are looked at in full.
MIXED, SHAPES = 12, 2
CHOICES, FULL = 24, 2


def supported():
    """Operators that docs/operators.md says can be imported, as (domain, name)."""
    page = (ROOT / "docs/operators.md").read_text().split("## Operators", 1)[1].split("\n## ", 1)[0]
    names = re.findall(r"^\| ([A-Za-z0-9_.]+) \| \d+ \|", page, re.M)
    return [tuple(n.rsplit(".", 1)) if "." in n else ("", n) for n in names]


class Sweep:
    """The cases of one operator. ONNX Runtime crashes on some models: what is being tried is written down before."""

    def __init__(self, folder, prefix, deadly):
        self.folder, self.prefix, self.deadly = folder, prefix, deadly
        self.cases, self.refused, self.seen = [], 0, set()
        self.options = ort.SessionOptions()
        self.options.log_severity_level = 4
        self.options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.options.intra_op_num_threads = 1

    def add(self, schema, version, given, operands, rng):
        """One model, if ONNX Runtime takes it and its outputs are numbers."""
        inputs, initial, names = [], [], []
        for i, o in enumerate(operands):
            names.append("" if o is None else f"x{i}")
            if isinstance(o, X):
                inputs.append((f"x{i}", o))
            elif o is not None:
                initial.append(numpy_helper.from_array(np.array(o, order="C"), f"x{i}"))
        if not inputs and schema.name not in ("ConstantOfShape", "Range"):
            return False
        if not inputs:
            inputs.append(("unused", X(1)))
        outputs = [f"y{i}" for i, o in enumerate(schema.outputs) if i == 0 or schema.domain == "ai.onnx.ml" or schema.name in ("LSTM", "GRU", "RNN", "TopK")]
        if schema.name == "Split":
            outputs = [f"y{i}" for i in range(given.get("num_outputs", 2) if 0 < given.get("num_outputs", 2) < 4 else 2)]
        try:
            node = helper.make_node(schema.name, names, outputs, name="node", domain=schema.domain, **given)
        except (ValueError, TypeError):
            return False
        nodes = [node]
        if inputs[0][0] == "unused":
            nodes.append(helper.make_node("Cast", ["y0"], ["f"], name="cast", to=1))
            nodes.append(helper.make_node("Add", ["f", "unused"], ["z"], name="add"))
            outputs = ["z"]
        infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(o.dtype), o.shape) for n, o in inputs]
        results = [helper.make_empty_tensor_value_info(n) for n in outputs]
        graph = helper.make_graph(nodes, "g", infos, results, initial)
        sets = [helper.make_opsetid(schema.domain, version)]
        if schema.domain:
            sets.append(helper.make_opsetid("", 17))
        elif nodes[1:]:
            sets = [helper.make_opsetid("", version)]
        model = helper.make_model(graph, opset_imports=sets, ir_version=10)
        data = model.SerializeToString()
        if data in self.seen:
            return False
        self.seen.add(data)
        digest = hashlib.sha256(data).hexdigest()
        if digest in self.deadly:
            return False
        (self.folder / f"{self.prefix}.trying").write_text(digest)
        try:
            session = ort.InferenceSession(data, self.options, providers=["CPUExecutionProvider"])
        except Exception:  # noqa: BLE001: whatever it says, this is no model.
            self.refused += 1
            return False
        for like in (None, "inside", "positive", "above"):
            samples = [{n: o.sample(rng, like if o.like == "real" and o.dtype.kind == "f" else None) for n, o in inputs} for _ in range(SAMPLES)]
            try:
                wanted = [session.run(None, s) for s in samples]
            except Exception:  # noqa: BLE001
                self.refused += 1
                return False
            if all(usable(w) for w in wanted):
                break
        else:
            return False
        name = f"{self.prefix}-{len(self.cases):04}"
        (self.folder / f"{name}.onnx").write_bytes(data)
        shown = ", ".join("-" if o is None else f"{'x' if isinstance(o, X) else 'c'}{list(o.shape)}{'' if o.dtype == np.float32 else o.dtype.name}" for o in operands)
        self.cases.append({
            "name": name, "op": f"{schema.domain}.{schema.name}".strip("."), "wanted": wanted,
            "said": f"opset {version} {given} ({shown})",
            "samples": [[np.asarray(s[n], np.float64).ravel().tolist() for n, _ in inputs] for s in samples],
        })
        return True

    def operator(self, schema, version, rng):
        """All there is of one version: what has to be given in every way, all other attributes for the first few of them."""
        required = {n: choices(schema, n, a) for n, a in schema.attributes.items() if a.required}
        bases, full = combinations(required, rng), FULL
        for base in bases:
            if not self.variant(schema, version, base, rng, None) and required:
                continue
            if full:
                full -= 1
                given = list(made.variants(schema, base, rng, MIXED))[1:]
                for attributes in given:
                    self.variant(schema, version, attributes, rng, SHAPES)

    def variant(self, schema, version, given, rng, most):
        """Operands for one set of attributes; how many ONNX Runtime takes."""
        alternatives, accepted = list(call(RECIPES.get(schema.name, unary), schema, given)), 0
        if most:
            rng.shuffle(alternatives)
        for operands in alternatives[: 4 * most if most else None]:
            accepted += self.add(schema, version, given, operands, rng)
            if most and accepted >= most:
                break
        return accepted


def call(recipe, schema, given):
    try:
        return list(recipe(schema, given) or [])
    except (ValueError, IndexError, TypeError, ZeroDivisionError):
        return []


def choices(schema, name, attribute):
    if name == "equation":
        return EQUATIONS
    if name in ("to", "dtype"):
        return TYPES
    return made.candidates(schema, attribute)


def combinations(required, rng):
    """Values of the attributes that have to be there."""
    if not required:
        return [{}]
    sets = [{}]
    for name, values in required.items():
        sets = [{**s, name: v} for s in sets for v in values]
    if len(sets) > CHOICES:
        sets = [sets[i] for i in sorted(rng.choice(len(sets), CHOICES, replace=False))]
    return sets


def usable(outputs):
    """Numbers, finite, some."""
    kept = [o for o in outputs if isinstance(o, np.ndarray) and o.dtype.kind in "fiub"]
    return bool(kept) and all(o.size and np.isfinite(np.asarray(o, np.float64)).all() for o in kept)


def constructions():
    """How docs/operators.md says that operators are built."""
    return dict(re.findall(r"^\| ([A-Za-z0-9_.]+) \| \d+ \| ([a-z -]+) \|", (ROOT / "docs/operators.md").read_text(), re.M))


BUILT = constructions()
# Made of quotients and products of what is rounded, or of states of many steps: how far off they are is a matter of calibration.
LOOSE = {"norm", "product", "recurrence", "kernel", "matrix product"}
# Next to its pole the reciprocal's argument is rounded to coarser steps than inputs have where these limit outputs: 0.053 of
# the largest output in one case.
STEEP = {"Reciprocal"}


def distance(got, wanted):
    got = np.array([np.nan if v is None else v for v in got], np.float64)
    wanted = np.asarray(wanted, np.float64).ravel()
    if got.size != wanted.size or not np.isfinite(got).all():
        return np.inf
    return float(np.abs(got - wanted).max() / max(1e-6, np.abs(wanted).max()))


def beyond(got, least, largest, wanted, size):
    """How far integers are from what the floats may be while inputs move by a step."""
    got, low, high = (np.array([np.nan if v is None else v for v in x], np.float64) for x in (got, least, largest))
    wanted = np.asarray(wanted, np.float64).ravel()
    low, high = np.fmin(low, wanted), np.fmax(high, wanted)
    return float(np.nanmax(np.maximum(low - got, got - high), initial=0.0) / max(1e-2, size, np.nanmax(np.abs(high), initial=0.0)))


def numbers(outputs, labels):
    """Outputs that are numbers, texts as places in the lists of the interface."""
    labels = labels if len(labels) == len(outputs) else [[]] * len(outputs)
    found = []
    for o, texts in zip(outputs, labels):
        if isinstance(o, np.ndarray) and o.dtype.kind in "OUS" and texts:
            o = np.array([texts.index(t) if t in texts else -1 for t in o.ravel()])
        if isinstance(o, np.ndarray) and o.dtype.kind in "fiub":
            found.append(o)
    return found


def judge(case, answer):
    """The verdict on one case and what there is to say."""
    if answer["panic"]:
        return "panic", answer["panic"]
    if answer["import"]:
        return "refused", answer["import"]
    wanted = [numbers(w, answer["labels"]) for w in case["wanted"]]
    for w, floats in zip(wanted, answer["floats"]):
        if len(w) != len(floats):
            kind = "left out" if answer["dropped"] else "wrong"
            return kind, f"{len(floats)} of {len(w)} outputs, {answer['dropped']}"
        far = max(distance(g, v) for g, v in zip(floats, w))
        # Quotients of next to nothing; probabilities that ONNX Runtime iterates to; one level of eight bits.
        if not far <= {"norm": 1e-2, "kernel": 1e-2, "eight bits": 1e-2}.get(BUILT.get(case["op"]), FLOATS):
            return "wrong", f"floats differ by {far:.2g}: {floats}, wanted {[v.tolist() for v in w]}"
    if answer["quantize"]:
        return "not quantized", answer["quantize"]
    sizes = [max(float(np.abs(np.asarray(w[i], np.float64)).max()) for w in wanted) for i in range(len(wanted[0]))]
    if case["op"] in ("LSTM", "GRU", "RNN"):
        # States of all steps have one scale.
        sizes = [max(sizes)] * len(sizes)
    for k, w in enumerate(wanted):
        far = max(beyond(*(answer[n][k][i] for n in ("integers", "least", "largest")), v, sizes[i]) for i, v in enumerate(w))
        if not far <= INTEGERS:
            if BUILT.get(case["op"]) in LOOSE or case["op"] in STEEP:
                return "inexact", f"integers differ by {far:.1g}"
            return "coarse", f"integers differ by {far:.2g}: {answer['integers'][k]}, wanted {[v.tolist() for v in w]}"
    return "right", ""


def generate(folder, full, deadly):
    """Writes the cases of one operator; runs in a process of its own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    domain, name = full.rsplit(".", 1) if "." in full else ("", full)
    sweep, rng = Sweep(folder, full, deadly), np.random.default_rng(len(name))
    if domain == "com.microsoft":
        contrib = {s.name: s for s in state.get_all_operator_schema() if s.domain == domain}
        if name in contrib and name in RECIPES:
            sweep.operator(contrib[name], 1, rng)
    else:
        for schema, version in made.versions(domain, name, {"": HIGHEST, "ai.onnx.ml": 5}[domain]):
            if domain:
                for given, operands in learned.cases(schema):
                    sweep.add(schema, version, given, operands, rng)
            else:
                sweep.operator(schema, version, rng)
    (folder / f"{full}.pickle").write_bytes(pickle.dumps((sweep.cases, sweep.refused)))


def all_cases(folder, only):
    """Cases, how many models ONNX Runtime refused, and operators without any; two processes at a time."""
    names = [f"{d}.{n}".strip(".") for d, n in supported()]
    names = [n for n in names if not only or n in only]
    skipped = [n for n in names if n in ELSEWHERE]
    waiting = [(n, frozenset()) for n in reversed(names) if n not in ELSEWHERE]
    context, running, cases, refused = multiprocessing.get_context("fork"), [], {}, 0
    while waiting or running:
        while waiting and len(running) < 2:
            full, deadly = waiting.pop()
            child = context.Process(target=generate, args=(folder, full, deadly))
            child.start()
            running.append((child, full, deadly))
        child, full, deadly = running.pop(0)
        child.join()
        if child.exitcode == 0:
            cases[full], more = pickle.loads((folder / f"{full}.pickle").read_bytes())
            refused += more
        elif child.exitcode < 0 and len(deadly) < 50:
            waiting.append((full, deadly | {(folder / f"{full}.trying").read_text()}))
        else:
            raise SystemExit(f"{full}: generating ended with {child.exitcode}")
    skipped += [n for n in names if n not in skipped and not cases[n]]
    return [c for n in names for c in cases.get(n, [])], refused, skipped


# The newest operator set that ONNX Runtime has kernels for.
HIGHEST = 24


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--only", default="")
    parser.add_argument("--keep")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    ort.set_default_logger_severity(4)
    temporary = tempfile.TemporaryDirectory()
    folder = pathlib.Path(options.keep or temporary.name)
    folder.mkdir(parents=True, exist_ok=True)
    cases, refused, skipped = all_cases(folder, set(filter(None, options.only.split(","))))
    listed = [{"name": c["name"], "samples": c["samples"]} for c in cases]
    (folder / "cases.json").write_text(json.dumps(listed))
    print(f"{len(cases)} cases of {len({c['op'] for c in cases})} operators; ONNX Runtime refused {refused} other models; "
          f"without cases: {', '.join(skipped)}", flush=True)
    subprocess.run([options.program, str(folder)], check=True)
    answers = json.loads((folder / "values.json").read_text())
    counts, reasons, bad = collections.Counter(), collections.Counter(), []
    for case, answer in zip(cases, answers):
        verdict, text = judge(case, answer)
        counts[verdict] += 1
        if verdict in ("wrong", "panic", "coarse"):
            bad.append(f"{verdict}: {case['name']} {case['op']} {case['said']}: {text[:300]}")
        elif verdict != "right":
            said = re.sub(r"[0-9.]{6,}|\d+", "N", text.replace("node \"node\"", "").replace(case["op"], ""))
            reasons[f"{verdict}: {case['op']}: {said[:160]}"] += 1
    for reason, count in sorted(reasons.items()):
        print(f"{count:5} {reason}")
    for line in bad if options.verbose else bad[:200]:
        print(line)
    print(", ".join(f"{n} {v}" for v, n in counts.most_common()), f"of {len(cases)} cases")
    return 1 if bad or not cases else 0


if __name__ == "__main__":
    assert onnx.__version__ and TensorProto
    sys.exit(main())
