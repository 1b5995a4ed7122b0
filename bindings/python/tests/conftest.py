"""What several tests need: the repository's files, and a digits model that is compiled and committed to once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zkinfer
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[3]
ONNX = ROOT / "examples" / "data" / "digits.onnx"
NPZ = ROOT / "examples" / "data" / "digits.npz"
FIXTURES = ROOT / "tests" / "fixtures"


@pytest.fixture(scope="session")
def x() -> NDArray[np.float32]:
    """Images of digits, of shape (samples, 64)."""
    with np.load(NPZ) as arrays:
        return np.asarray(arrays["x0"], dtype=np.float32).reshape(-1, 64)


@pytest.fixture(scope="session")
def model(x: NDArray[np.float32]) -> zkinfer.Model:
    return zkinfer.compile(ONNX, x)


@pytest.fixture(scope="session")
def secret(model: zkinfer.Model) -> zkinfer.Secret:
    return model.commit()


@pytest.fixture(scope="session")
def verifier(secret: zkinfer.Secret) -> zkinfer.Verifier:
    return zkinfer.Verifier(secret.card)


@pytest.fixture(scope="session")
def run(secret: zkinfer.Secret, x: NDArray[np.float32]) -> zkinfer.Run:
    return secret.infer(x[0])


@pytest.fixture(scope="session")
def proof(secret: zkinfer.Secret, run: zkinfer.Run) -> zkinfer.Proof:
    return secret.prove(run, context=b"nonce")
