#!/usr/bin/env python3
"""Reads stored cards and proofs with nothing but docs/formats.md at hand: a second decoder, written from the document.

    python3 tests/formats.py

Every byte of every fixture is accounted for; checksums and digests are derived again; the vectors of rejections.json that
are about decoding come out as they say, and the digests in those that are valid are computed from the files.
Needs python3 and no package.
"""

import base64
import hashlib
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "fixtures"

# Section 1: the moduli of F (scalars) and of the field that Vesta is defined over.
F = 0x40000000000000000000000000000000224698FC094CF91B992D30ED00000001
BASE = 0x40000000000000000000000000000000224698FC0994A8DD8C46EB2100000001
CARD, PROOF = 1, 2
VERSION = 4


class Refused(Exception):
    """With the code of section 7."""


def digest(person, *parts):
    return hashlib.blake2b(b"".join(parts), digest_size=32, person=person.encode()).digest()


def u32(value):
    return value.to_bytes(4, "little")


class Reader:
    """Section 1."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if count > len(self.data) - self.at:
            raise Refused("truncated")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, size, signed=False):
        return int.from_bytes(self.take(size), "little", signed=signed)

    def bool(self):
        value = self.number(1)
        if value > 1:
            raise Refused("invalid_field")
        return value == 1

    def list(self, read, smallest):
        count = self.number(4)
        if count * smallest > len(self.data) - self.at:
            raise Refused("truncated")
        return [read() for _ in range(count)]

    def blob(self):
        return self.take(self.number(4))

    def scalar(self):
        raw = self.take(32)
        if not is_scalar(raw):
            raise Refused("invalid_field")
        return raw

    def point(self):
        raw = self.take(32)
        if not is_point(raw):
            raise Refused("invalid_field")
        return raw

    def finish(self):
        if self.at != len(self.data):
            raise Refused("trailing_bytes")


def is_scalar(raw):
    return int.from_bytes(raw, "little") < F


def is_point(raw):
    """The identity, or an abscissa of a point of y² = x³ + 5 and the parity of y."""
    if raw == bytes(32):
        return True
    x = int.from_bytes(raw, "little") & ~(1 << 255)
    return x < BASE and pow(x * x * x + 5, (BASE - 1) // 2, BASE) == 1


def payload(data, wanted):
    """Section 2, in the order in which it says that things are checked."""
    reader = Reader(data)
    if reader.take(7) != b"zkinfer":
        raise Refused("not_zkinfer")
    kind = reader.number(1)
    if kind > 5 or kind == 4:
        raise Refused("invalid_field")
    if kind != wanted:
        raise Refused("wrong_kind")
    if reader.number(2) != VERSION:
        raise Refused("wrong_version")
    if len(data) < 10 + 32:
        raise Refused("truncated")
    if digest("zkinfer-file", data[:-32]) != data[-32:]:
        raise Refused("damaged")
    return data[10:-32]


def program(r):
    """Section 6."""
    value = lambda: (r.number(4), r.number(4))
    numbers = lambda: r.list(lambda: r.number(4), 4)
    signed = lambda: r.number(8, signed=True)

    def term():
        patches, inputs, kind = value(), r.number(4), r.number(1)
        if kind > 3:
            raise Refused("invalid_field")
        weights = [lambda: None, lambda: r.list(signed, 8), lambda: r.number(4), lambda: (value(), signed())]
        return patches, inputs, weights[kind]()

    def node():
        tag = r.number(1)
        if tag <= 2:
            return tag, r.number(4)
        if tag == 3:
            axis = lambda: (r.number(4), signed(), r.list(signed, 8))
            return tag, value(), numbers(), r.list(axis, 16)
        if tag == 4:
            return tag, r.list(value, 8)
        if tag == 5:
            return tag, value(), r.number(4)
        if tag == 6:
            shape = [r.number(4) for _ in range(4)]
            return tag, shape, r.bool(), r.bool(), numbers(), r.list(term, 13)
        raise Refused("invalid_field")

    bits = r.number(4)
    tables = r.list(lambda: r.list(lambda: r.number(2), 2), 4)
    nodes = r.list(node, 5)
    return {"bits": bits, "tables": tables, "nodes": nodes, "outputs": numbers()}


def card(data):
    """Section 3."""
    body = payload(data, CARD)
    r = Reader(body)
    found = {"k": r.number(4), "info": r.blob()}
    segment = lambda: {"program": program(r), "points": r.list(r.point, 32)}
    found["segments"] = r.list(segment, 16)
    if not found["segments"]:
        raise Refused("invalid_field")
    found["digest"] = digest("zkinfer-card", body[: r.at])
    for segment in found["segments"]:
        segment["fixed"] = r.list(r.point, 32)
    pairs = lambda: r.list(lambda: (r.point(), r.point()), 64)
    for segment in found["segments"]:
        segment["support"] = (pairs(), pairs(), r.point(), r.point(), r.scalar(), r.scalar())
    r.finish()
    return found


def claim(r):
    """Section 4."""
    tag = r.number(1)
    if tag == 0:
        return tag, r.list(lambda: r.number(2), 2)
    if tag == 1:
        return tag, r.take(32)
    if tag == 2:
        return tag, r.list(r.point, 32)
    raise Refused("invalid_field")


def proof(data):
    """Sections 4 and 5."""
    r = Reader(payload(data, PROOF))
    found = {"card": r.take(32), "context": r.blob()}
    found["runs"] = r.list(lambda: (claim(r), claim(r)), 10)
    found["segments"] = []
    count = r.number(4)
    if count * 260 > len(r.data) - r.at:
        raise Refused("truncated")
    for left in reversed(range(count)):
        segment = {"boundary": [r.list(r.point, 32) for _ in found["runs"] if left]}
        segment["link"] = (r.point(), [r.scalar() for _ in range(7)])
        segment["halo2"] = r.blob()
        found["segments"].append(segment)
    r.finish()
    return found


def side_digest(kind, values):
    """Section 4: 0 and public integers, or 1 and points."""
    items = [v.to_bytes(2, "little") for v in values] if kind == 0 else values
    return digest("zkinfer-side", bytes([kind]), u32(len(values)), *items)


def claim_digest(claim):
    tag, values = claim
    return values if tag == 1 else side_digest(0 if tag == 0 else 1, values)


def statement_digest(found):
    runs = [claim_digest(c) for run in found["runs"] for c in run]
    context = found["context"]
    head = [found["card"], u32(len(found["runs"]))]
    return digest("zkinfer-stmt", *head, *runs, u32(len(context)), context)


def halo2(raw, r, k, shape):
    """Section 4: the kinds of the halo2 elements of r runs, and that there is nothing else."""
    a, q, f, h, s = shape
    kinds = "p" * (r * a + 1 + h) + "s" * (r * q + f + 1) + "p" + "s" * s + "p" * (1 + 2 * k) + "ss"
    assert len(raw) == 32 * len(kinds), (len(raw), 32 * len(kinds))
    for number, kind in enumerate(kinds):
        element = raw[32 * number : 32 * number + 32]
        # No commitment may be the identity.
        good = is_scalar(element) if kind == "s" else is_point(element) and element != bytes(32)
        assert good, (number, kind)


def shapes():
    """The table of stored examples in section 4."""
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)\.card`(?:, segment \d)? \| ([\d |]+) \|$", text, re.M)
    found = {}
    for name, numbers in rows:
        found.setdefault(name, []).append(tuple(int(n) for n in numbers.split("|")))
    return found


def stored():
    """Cards by name, and every stored proof."""
    cards = {}
    for path in sorted(FIXTURES.glob("*.card")):
        found = card(path.read_bytes())
        names = [t["name"] for t in json.loads(found["info"])["inputs"]]
        assert names and any(s["points"] for s in found["segments"]), path
        for segment in found["segments"]:
            assert len(segment["support"][1]) == found["k"], path
            # Three selectors, and a column of arguments at least.
            assert len(segment["fixed"]) >= 4, path
        cards[path.stem] = found
    count = 0
    table = shapes()
    for path in sorted([*FIXTURES.glob("*.proof"), *FIXTURES.glob("*.runs")]):
        name = path.stem.rsplit("_", 1)[0]
        found = proof(path.read_bytes())
        assert found["card"] == cards[name]["digest"], path
        assert found["context"] == name.encode(), path
        assert len(found["segments"]) == len(table[name]) == len(cards[name]["segments"]), path
        for segment, shape in zip(found["segments"], table[name]):
            halo2(segment["halo2"], len(found["runs"]), cards[name]["k"], shape)
        count += 1
    assert cards and count
    print(f"{len(cards)} cards and {count} proofs read to the last byte")


def source_bytes(source):
    if "file" in source:
        return (FIXTURES / source["file"]).read_bytes()
    return base64.b64decode(source["base64"])


def expected_digest(side):
    public = side["kind"] == "public"
    return side_digest(0, side["values"]) if public else side_digest(1, [bytes.fromhex(p) for p in side["points"]])


DECODING = {"truncated", "trailing_bytes", "invalid_field", "not_zkinfer", "wrong_kind", "damaged", "wrong_version"}


def vectors():
    """Section 9."""
    found = json.loads((FIXTURES / "rejections.json").read_text(encoding="utf-8"))
    assert found["vectors_version"] == 1
    decoded = refused = 0
    for vector in found["vectors"]:
        verdict = vector["verdict"]
        code = None
        try:
            model = card(source_bytes(vector["card"]))
            run = proof(source_bytes(vector["proof"]))
        except Refused as refusal:
            code = str(refusal)
        wanted = verdict["code"] if verdict != "valid" and verdict["code"] in DECODING else None
        assert code == wanted, (vector["name"], code, wanted)
        refused += code is not None
        for side in (e[w] for e in vector["expected"] for w in ("input", "output") if w in e):
            assert expected_digest(side) == bytes.fromhex(side["digest"]), vector["name"]
        if verdict == "valid":
            assert run["card"] == model["digest"], vector["name"]
            assert statement_digest(run) == bytes.fromhex(vector["statement"]), vector["name"]
            decoded += 1
    assert decoded and refused
    print(f"{len(found['vectors'])} vectors: {refused} refused by the decoder, {decoded} digests of statements derived")


if __name__ == "__main__":
    stored()
    vectors()
    sys.exit(0)
