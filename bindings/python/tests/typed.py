"""How a program with types uses the package: `test_types.py` has mypy look at it, and runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Union

import numpy as np
import zkinfer
from numpy.typing import NDArray

HERE = Path(__file__).resolve()
ASSETS = HERE.parents[3] / "examples" / "data"


def report(stage: str, fraction: float) -> None:
    assert stage and 0 <= fraction <= 1


def classify(scores: NDArray[np.float32]) -> int:
    return int(np.argmax(scores))


def main() -> int:
    with np.load(ASSETS / "digits.npz") as arrays:
        x: NDArray[np.float32] = arrays["x0"]
    model: zkinfer.Model = zkinfer.compile(ASSETS / "digits.onnx", x, bits=12, progress=report)
    secret: zkinfer.Secret = model.commit("digits", progress=report)
    run: zkinfer.Run = secret.infer({secret.card.inputs[0].name: x[0]})
    proof: zkinfer.Proof = secret.prove(run, output="committed", context=b"nonce")
    commitment: Union[zkinfer.Commitment, None] = None
    if proof.openings is not None and (opening := proof.openings[0][1]) is not None:
        commitment = opening.commitment
    try:
        verdict = zkinfer.verify(secret.card, proof, input=x[0].tolist(), output=commitment, context=b"nonce")
    except zkinfer.Rejection as rejection:
        code: str = rejection.code
        raise SystemExit(code)
    for receipt in zkinfer.verify_many(zkinfer.Verifier(secret.card).check(p) for p in [proof.to_bytes()]):
        assert isinstance(receipt.code, str)
    hidden: Union[NDArray[np.float32], None] = verdict.output
    assert hidden is None
    return classify(run.output)


if __name__ == "__main__":
    print(main())
