"""Verifiable inference: proofs that an output is a committed model's answer to an input.

The owner imports and quantizes a model, commits to it, and publishes the *card*::

    model = zkinfer.compile("model.onnx", calibration)
    secret = model.commit()
    secret.card.save("model.card")

Whoever holds the secret runs the model and proves it::

    run = secret.infer(x)
    proof = secret.prove(run, context=b"request 17")

Anyone with the card verifies, without having seen a weight::

    verdict = zkinfer.verify("model.card", proof, input=x, context=b"request 17")
    verdict.output

Everything that is raised on purpose is in :mod:`zkinfer.errors`. Long work lets other Python threads run.
"""

from ._native import (
    Card,
    Check,
    Commitment,
    Integers,
    Limits,
    Model,
    Opening,
    Proof,
    Receipt,
    Receipts,
    Run,
    Secret,
    Tensor,
    Verdict,
    VerifiedRun,
    Verifier,
    __version__,
    compile,
    verify,
    verify_many,
)
from .errors import (
    CardError,
    CommitError,
    DecodeError,
    InferError,
    InputError,
    InternalError,
    JobError,
    ModelImportError,
    ProveError,
    QuantizeError,
    Refusal,
    Rejection,
    ZkinferError,
)

__all__ = [
    "Card",
    "CardError",
    "Check",
    "CommitError",
    "Commitment",
    "DecodeError",
    "InferError",
    "InputError",
    "Integers",
    "InternalError",
    "JobError",
    "Limits",
    "Model",
    "ModelImportError",
    "Opening",
    "Proof",
    "ProveError",
    "QuantizeError",
    "Receipt",
    "Receipts",
    "Refusal",
    "Rejection",
    "Run",
    "Secret",
    "Tensor",
    "Verdict",
    "VerifiedRun",
    "Verifier",
    "ZkinferError",
    "__version__",
    "compile",
    "verify",
    "verify_many",
]
