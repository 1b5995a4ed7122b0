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

Whoever buys answers from a host checks what it signs, and asks for the proof of a random share of them::

    with zkinfer.Client("http://127.0.0.1:8081", "model.card", host_key, rate=0.05, log="audit.jsonl") as client:
        client.infer(x).output
        client.wait()

:class:`AsyncClient` does the same for :mod:`asyncio`.

Everything that is raised on purpose is in :mod:`zkinfer.errors`. Long work lets other Python threads run.
"""

from ._client import AsyncClient
from ._native import (
    Answer,
    Card,
    Check,
    Client,
    Commitment,
    Evidence,
    Integers,
    Limits,
    Model,
    Opening,
    Outcome,
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
    audit,
    compile,
    verify,
    verify_many,
)
from .errors import (
    CardError,
    CommitError,
    DecodeError,
    EvidenceError,
    HostError,
    InferError,
    InputError,
    InternalError,
    JobError,
    ModelImportError,
    ProveError,
    QuantizeError,
    Refusal,
    Rejection,
    UnboundError,
    ZkinferError,
)

__all__ = [
    "Answer",
    "AsyncClient",
    "Card",
    "CardError",
    "Check",
    "Client",
    "CommitError",
    "Commitment",
    "DecodeError",
    "Evidence",
    "EvidenceError",
    "HostError",
    "InferError",
    "InputError",
    "Integers",
    "InternalError",
    "JobError",
    "Limits",
    "Model",
    "ModelImportError",
    "Opening",
    "Outcome",
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
    "UnboundError",
    "Verdict",
    "VerifiedRun",
    "Verifier",
    "ZkinferError",
    "__version__",
    "audit",
    "compile",
    "verify",
    "verify_many",
]
