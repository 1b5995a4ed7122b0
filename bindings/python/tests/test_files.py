"""Everything can be stored and read again."""

from __future__ import annotations

import copy
import json
import os
import pickle
import stat

import numpy as np
import pytest
import zkinfer
from conftest import FIXTURES


def test_card(secret, tmp_path):
    card = secret.card
    path = tmp_path / "a.card"
    card.save(path)
    (tmp_path / "a.json").write_text(card.to_json())
    again = [
        zkinfer.Card.load(path),
        zkinfer.Card.load(str(tmp_path / "a.json")),
        zkinfer.Card.from_bytes(path.read_bytes()),
        zkinfer.Card.from_json(card.to_json()),
        pickle.loads(pickle.dumps(card)),
        copy.deepcopy(card),
    ]
    assert all(other == card and hash(other) == hash(card) for other in again)
    assert card != "a card"
    assert card.name in repr(card) and card.digest[:12] in repr(card)


def test_secret(secret, x, run, tmp_path):
    path = tmp_path / "a.model"
    secret.save(path)
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = zkinfer.Secret.load(path)
    assert again.card == secret.card
    assert zkinfer.Secret.from_bytes(secret.to_bytes()).card == secret.card
    np.testing.assert_array_equal(again.infer(x[0]).output, run.output)
    zkinfer.verify(secret.card, again.prove(again.infer(x[0])), input=x[0])
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(secret)


def test_proof(secret, proof, tmp_path):
    path = tmp_path / "a.proof"
    proof.save(path)
    (tmp_path / "a.json").write_text(proof.to_json())
    again = [
        zkinfer.Proof.load(path),
        zkinfer.Proof.load(tmp_path / "a.json"),
        zkinfer.Proof.from_bytes(bytes(proof)),
        zkinfer.Proof.from_json(proof.to_json()),
        pickle.loads(pickle.dumps(proof)),
    ]
    assert all(other == proof and hash(other) == hash(proof) for other in again)
    assert repr(len(bytes(proof))) in repr(proof)
    several = zkinfer.Proof.load(FIXTURES / "digits_3.runs")
    assert several.runs == 3 and zkinfer.Proof.from_bytes(several.to_bytes()) == several
    assert zkinfer.Proof.from_json(several.to_json()) == several


def test_verification_from_files_alone():
    verdict = zkinfer.verify(FIXTURES / "digits.card", FIXTURES / "digits_0.proof", context=b"digits")
    assert verdict.card == zkinfer.Card.load(FIXTURES / "digits.card").digest
    with pytest.raises(FileNotFoundError):
        zkinfer.verify(FIXTURES / "no.card", FIXTURES / "digits_0.proof")
    with pytest.raises(IsADirectoryError):
        zkinfer.Card.load(FIXTURES)


def test_receipts(verifier, x, proof, tmp_path):
    accepted = verifier.receipt(proof, input=x[0], context=b"nonce")
    rejected = verifier.receipt(proof, input=x[1], context=b"nonce")
    assert accepted.accepted and accepted.code is None and accepted.class_ is None and accepted.message is None
    assert not rejected.accepted and (rejected.class_, rejected.code) == ("statement_mismatch", "other_input")
    assert accepted.statement is not None and rejected.statement is None
    assert accepted.verdict is not None and rejected.verdict is None
    accepted.raise_for_rejection()
    run = accepted.to_dict()["result"]["runs"][0]
    assert run["stated"] == ["input"]
    attached = zkinfer.Proof.load(FIXTURES / "digits_0.proof")
    alone = zkinfer.Verifier(zkinfer.Card.load(FIXTURES / "digits.card")).receipt(attached, context=b"digits")
    assert alone.to_dict()["result"]["runs"][0]["stated"] == []
    (real,) = run["reals"]["input"]
    (tensor,) = verifier.card.inputs
    np.testing.assert_array_equal(real["step"], np.abs(np.ravel(tensor.scale)))
    np.testing.assert_array_equal(np.float32(real["values"]), np.ravel(accepted.verdict.input))
    step = max(real["step"])
    assert verifier.receipt(proof, input=x[0], context=b"nonce", tolerance=step) == accepted
    with pytest.raises(zkinfer.InputError, match="tolerance"):
        verifier.verify(proof, input=x[0], context=b"nonce", tolerance=step / 2)
    for receipt in (accepted, rejected):
        assert receipt.card == verifier.card.digest
        fields = receipt.to_dict()
        assert fields == json.loads(receipt.to_json())
        assert fields["result"]["outcome"] == ("accepted" if receipt.accepted else "rejected")
        receipt.save(tmp_path / "receipt.json")
        again = zkinfer.Receipt.load(tmp_path / "receipt.json")
        assert again == receipt == zkinfer.Receipt.from_json(receipt.to_json())
        assert again.verdict is None
    with pytest.raises(zkinfer.Rejection) as caught:
        zkinfer.Receipt.from_json(rejected.to_json()).raise_for_rejection()
    assert caught.value.code == "other_input" and caught.value.receipt == rejected
    with pytest.raises(zkinfer.DecodeError):
        zkinfer.Receipt.from_json("{}")
    verdict = verifier.verify(proof, input=x[0], context=b"nonce")
    assert verdict.receipt == accepted
    damaged = verifier.receipt(proof.to_bytes()[:-1])
    with pytest.raises(zkinfer.DecodeError):
        zkinfer.Receipt.from_json(damaged.to_json()).raise_for_rejection()


def test_errors_can_be_pickled():
    error = zkinfer.Rejection("no", class_="invalid_proof", code="invalid_link")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.class_, again.code) == ("no", "invalid_proof", "invalid_link")
    assert issubclass(zkinfer.InputError, ValueError)
    for name in zkinfer.errors.__all__:
        assert issubclass(getattr(zkinfer, name), zkinfer.ZkinferError)
