"""Bytes of strangers: typed exceptions and nothing else."""

from __future__ import annotations

import random

import pytest
import zkinfer
from conftest import FIXTURES

CARD = (FIXTURES / "digits.card").read_bytes()
PROOF = (FIXTURES / "digits_0.proof").read_bytes()
RUNS = (FIXTURES / "digits_3.runs").read_bytes()


def mutations(data: bytes, seed: int, count: int) -> list[bytes]:
    draw = random.Random(seed)
    changed = []
    for _ in range(count):
        copy = bytearray(data)
        kind = draw.randrange(5)
        at = draw.randrange(len(copy))
        if kind == 0:
            copy = copy[:at]
        elif kind == 1:
            copy[at] ^= 1 << draw.randrange(8)
        elif kind == 2:
            copy[at : at + 4] = draw.randbytes(4)
        elif kind == 3:
            copy += draw.randbytes(1 + draw.randrange(40))
        else:
            del copy[at : at + 1 + draw.randrange(8)]
        if bytes(copy) != data:
            changed.append(bytes(copy))
    return changed


@pytest.mark.parametrize("data", [PROOF, RUNS], ids=["proof", "runs"])
def test_changed_proofs(data):
    verifier = zkinfer.Verifier(CARD)
    verifier.verify(data, context=b"digits")
    for changed in mutations(data, 1, 400):
        receipt = verifier.receipt(changed, context=b"digits")
        assert not receipt.accepted and receipt.class_ and receipt.code
        with pytest.raises(zkinfer.Refusal):
            verifier.verify(changed, context=b"digits")
        with pytest.raises(zkinfer.DecodeError):
            zkinfer.Proof.from_bytes(changed)


def test_changed_cards():
    for changed in mutations(CARD, 2, 400):
        with pytest.raises(zkinfer.DecodeError) as caught:
            zkinfer.Verifier(changed)
        assert caught.value.class_ in {"malformed", "wrong_version"}


def test_changed_secrets(secret):
    data = secret.to_bytes()
    for changed in mutations(data, 3, 50):
        with pytest.raises(zkinfer.DecodeError):
            zkinfer.Secret.from_bytes(changed)


@pytest.mark.parametrize("what", ["card", "proof"])
def test_changed_json(what, secret, proof):
    """The JSON forms have no checksum, so that changes reach deeper."""
    text = secret.card.to_json() if what == "card" else proof.to_json()
    read = zkinfer.Card.from_json if what == "card" else zkinfer.Proof.from_json
    verifier = zkinfer.Verifier(secret.card)
    draw = random.Random(4)
    for _ in range(300):
        at = draw.randrange(len(text))
        changed = text[:at] + draw.choice('0123456789abcdefAZ+/{}[]",:') + text[at + 1 :]
        if changed == text:
            continue
        try:
            decoded = read(changed)
        except zkinfer.Refusal as refusal:
            assert refusal.class_
            continue
        if what == "card":
            try:
                other = zkinfer.Verifier(decoded)
            except zkinfer.CardError as error:
                assert error.code
                continue
            assert other.card.digest != secret.card.digest or decoded == secret.card
        elif decoded != proof:
            assert not verifier.receipt(decoded, context=b"nonce").accepted


def test_limits():
    limits = zkinfer.Limits(proof_bytes=100)
    assert limits.proof_bytes == 100 and limits.k == zkinfer.Limits().k
    with pytest.raises(zkinfer.DecodeError) as caught:
        zkinfer.Verifier(CARD, limits=limits).verify(PROOF)
    assert caught.value.code == "too_large"
    with pytest.raises(zkinfer.DecodeError) as caught:
        zkinfer.verify(CARD, FIXTURES / "digits_0.proof", limits=limits)
    assert caught.value.code == "too_large" and f"{len(PROOF)} bytes" in str(caught.value)
    with pytest.raises(zkinfer.DecodeError, match="limit"):
        zkinfer.Card.from_bytes(CARD, limits=zkinfer.Limits(card_bytes=100))
    for small in (zkinfer.Limits(k=5), zkinfer.Limits(points=3), zkinfer.Limits(columns=3)):
        with pytest.raises(zkinfer.CardError) as error:
            zkinfer.Verifier(CARD, limits=small)
        assert (error.value.class_, error.value.code) == ("invalid_card", "card_limit")
    with pytest.raises(zkinfer.Rejection) as caught:
        zkinfer.Verifier(CARD, limits=zkinfer.Limits(runs=2)).verify(RUNS, context=b"digits")
    assert caught.value.code == "malformed_proof"
    with pytest.raises(OverflowError):
        zkinfer.Limits(proof_bytes=-1)


def test_other_kinds_of_files(secret):
    for read in (zkinfer.Card.from_bytes, zkinfer.Proof.from_bytes, zkinfer.Secret.from_bytes):
        for data, code in ((b"", "truncated"), (b"PK\x03\x04" + bytes(40), "not_zkinfer")):
            with pytest.raises(zkinfer.DecodeError) as caught:
                read(data)
            assert caught.value.code == code
        with pytest.raises(TypeError, match="expected bytes, found str"):
            read("text")
    for read, data in ((zkinfer.Card.from_bytes, PROOF), (zkinfer.Proof.from_bytes, CARD), (zkinfer.Secret.from_bytes, CARD)):
        with pytest.raises(zkinfer.DecodeError) as caught:
            read(data)
        assert caught.value.code == "wrong_kind"
