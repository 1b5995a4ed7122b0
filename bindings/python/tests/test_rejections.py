"""The vectors that all languages share: the same bytes, the same classes and codes."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import zkinfer
from conftest import FIXTURES

VECTORS: list[dict[str, Any]] = json.loads((FIXTURES / "rejections.json").read_text())["vectors"]
CLASSES = {"malformed", "wrong_version", "unknown_model", "statement_mismatch", "invalid_proof"}


def content(source: dict[str, str]) -> bytes:
    if "file" in source:
        return (FIXTURES / source["file"]).read_bytes()
    return base64.b64decode(source["base64"], validate=True)


def side(record: dict[str, Any] | None) -> zkinfer.Integers | zkinfer.Commitment | None:
    if record is None:
        return None
    if record["kind"] == "public":
        return zkinfer.Integers(record["values"])
    return zkinfer.Commitment.from_bytes(bytes.fromhex("".join(record["points"])))


def check(vector: dict[str, Any]) -> tuple[zkinfer.Verifier, bytes, dict[str, Any]]:
    expected = vector["expected"]
    inputs = [side(e.get("input")) for e in expected]
    outputs = [side(e.get("output")) for e in expected]
    (context,) = {bytes.fromhex(e["context"]) for e in expected}
    stated: dict[str, Any] = {"context": context}
    for name, sides in (("input", inputs), ("output", outputs)):
        if len(sides) > 1:
            stated[name] = sides
        elif sides[0] is not None:
            stated[name] = sides[0]
    return zkinfer.Verifier(content(vector["card"])), content(vector["proof"]), stated


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
def test_vector(vector):
    verdict = vector["verdict"]
    try:
        verifier, proof, stated = check(vector)
    except zkinfer.Refusal as refusal:
        # The card itself is refused.
        assert (refusal.class_, refusal.code) == (verdict["class"], verdict["code"])
        return
    receipt = verifier.receipt(proof, **stated)
    (batched,) = zkinfer.verify_many([verifier.check(proof, **stated)])
    assert batched == receipt
    if verdict == "valid":
        assert receipt.accepted and receipt.statement == vector["statement"]
        verifier.verify(proof, **stated)
        return
    assert (receipt.class_, receipt.code) == (verdict["class"], verdict["code"])
    with pytest.raises(zkinfer.Refusal) as caught:
        verifier.verify(proof, **stated)
    assert (caught.value.class_, caught.value.code) == (verdict["class"], verdict["code"])


def test_all_classes_are_there():
    found = {v["verdict"]["class"] for v in VECTORS if v["verdict"] != "valid"}
    assert CLASSES <= found
