"""Everything that zkinfer raises on purpose.

::

    ZkinferError
    ├── InputError            (also a ValueError) an array or option that does not fit
    ├── ModelImportError      an ONNX model that cannot be imported
    ├── QuantizeError         a model that cannot be quantized
    ├── CommitError           a model that cannot be committed to
    ├── InferError            an input that leads outside the calibrated range
    ├── ProveError            a run that cannot be proven
    ├── JobError              a proof that an executor did not make
    ├── HostError             a host that cannot be reached, or has no answer
    │   └── UnboundError      an answer that does not bind the host to what it says
    ├── EvidenceError         evidence that shows nothing
    ├── Refusal               bytes of somebody else that are not accepted
    │   ├── DecodeError       not a card, proof or secret of this version
    │   ├── CardError         a card that cannot be used
    │   └── Rejection         a proof that does not show what it should
    └── InternalError         a defect of zkinfer

Files that cannot be read or written raise :class:`OSError`, arguments of the wrong type :class:`TypeError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._native import Evidence, Receipt

__all__ = [
    "CardError",
    "CommitError",
    "DecodeError",
    "EvidenceError",
    "HostError",
    "InferError",
    "InputError",
    "InternalError",
    "JobError",
    "ModelImportError",
    "ProveError",
    "QuantizeError",
    "Refusal",
    "Rejection",
    "UnboundError",
    "ZkinferError",
]


class ZkinferError(Exception):
    """Base of all errors of this package."""


class InputError(ZkinferError, ValueError):
    """An array, or another argument, that does not fit: wrong shape, wrong element type, not finite, out of range."""

    tensor: str | None
    """Name of the model's tensor that it was meant for."""
    expected: tuple[int, ...] | None
    """Shape of that tensor, where the shape is what is wrong."""
    found: tuple[int, ...] | None
    """Shape of what was given, where the shape is what is wrong."""

    def __init__(
        self,
        message: str,
        *,
        tensor: str | None = None,
        expected: tuple[int, ...] | None = None,
        found: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(message)
        self.tensor = tensor
        self.expected = expected
        self.found = found


class ModelImportError(ZkinferError):
    """A model that cannot be imported: not ONNX, too large, or with an operator that is not supported."""

    node: str | None
    """Name of the ONNX node, where it is one that is not supported."""
    op: str | None
    """Its operator."""
    opset: int | None
    """Version of its operator set."""

    def __init__(
        self, message: str, *, node: str | None = None, op: str | None = None, opset: int | None = None
    ) -> None:
        super().__init__(message)
        self.node = node
        self.op = op
        self.opset = opset


class QuantizeError(ZkinferError):
    """A model that cannot be quantized, or cannot be run on its calibration samples."""

    layer: str | None
    """Name of the operation."""

    def __init__(self, message: str, *, layer: str | None = None) -> None:
        super().__init__(message)
        self.layer = layer


class CommitError(ZkinferError):
    """A model that cannot be committed to, or parts of one that do not belong together."""


class InferError(ZkinferError):
    """An input that leads outside the range that the model was calibrated for."""

    layer: str | None
    """Name of the layer where that happens; ``None`` if it is the input itself."""

    def __init__(self, message: str, *, layer: str | None = None) -> None:
        super().__init__(message)
        self.layer = layer


class ProveError(ZkinferError):
    """A run that cannot be proven: of another model, with a context that is too long, …"""


class JobError(ZkinferError):
    """A proof that an executor did not make: its workers died, it lost the job, or none of them has the memory. What it says of
    that itself is the cause."""


class HostError(ZkinferError):
    """A host that cannot be reached, or has no answer. Asking again later may help."""

    status: int | None
    """The status that it answered with; ``None`` if it did not answer, or answered something that is not accepted."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class UnboundError(HostError):
    """An answer that does not bind the host to what it says, or contradicts what it signed before: not accepted."""

    evidence: Evidence | None
    """What shows it to others, if something does."""

    def __init__(self, message: str, *, evidence: Evidence | None = None) -> None:
        super().__init__(message)
        self.evidence = evidence


class EvidenceError(ZkinferError):
    """Evidence that shows nothing: what it holds is not signed by the host, does not fit, or does not contradict."""


class Refusal(ZkinferError):
    """Bytes of somebody else that are not accepted. Decide by :attr:`class_` or :attr:`code`: both are stable, messages are not."""

    class_: str
    """``malformed``, ``wrong_version``, ``invalid_card``, ``unknown_model``, ``statement_mismatch`` or ``invalid_proof``."""
    code: str
    """The exact reason; ``docs/formats.md`` lists all."""
    receipt: Receipt | None
    """The record of the verification that ended with this."""

    def __init__(
        self, message: str, *, class_: str = "", code: str = "", receipt: Receipt | None = None
    ) -> None:
        super().__init__(message)
        self.class_ = class_
        self.code = code
        self.receipt = receipt


class DecodeError(Refusal):
    """Bytes that are no card, proof or secret of this version, are damaged, or are longer than the limits."""


class CardError(Refusal):
    """A card that is not well formed, asks for more than the limits, or whose commitment does not fit its architecture."""


class Rejection(Refusal):
    """A proof that is about something else than expected, or does not show what it claims."""


class InternalError(ZkinferError):
    """A defect of zkinfer. Please report it, with the message and what led to it."""
