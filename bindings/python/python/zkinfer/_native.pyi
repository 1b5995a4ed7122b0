from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from os import PathLike
from typing import Any, Literal, Protocol, SupportsFloat, final, overload, type_check_only

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeAlias

from .executors import DaskExecutor, RayExecutor

__all__ = [
    "Answer",
    "Card",
    "Check",
    "Client",
    "Commitment",
    "Evidence",
    "Integers",
    "Limits",
    "Model",
    "Opening",
    "Outcome",
    "Proof",
    "Receipt",
    "Receipts",
    "Run",
    "Secret",
    "Segments",
    "Tensor",
    "Verdict",
    "VerifiedRun",
    "Verifier",
    "__version__",
    "audit",
    "commit_quantized",
    "compile",
    "has_segment",
    "keep_segment",
    "limit_threads",
    "run_job",
    "verify",
    "verify_many",
]

__version__: str

@type_check_only
class _ToArray(Protocol):
    def __array__(self) -> NDArray[Any]: ...

@type_check_only
class _ModelProto(Protocol):
    """An ``onnx.ModelProto``."""

    def SerializeToString(self) -> bytes: ...

@type_check_only
class _Submits(Protocol):
    """A ``distributed.Client``, or another that has what executors have."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any: ...

_Executor: TypeAlias = Executor | RayExecutor | DaskExecutor | _Submits
_Path: TypeAlias = str | PathLike[str]
_Buffer: TypeAlias = bytes | bytearray | memoryview
_Numbers: TypeAlias = SupportsFloat | Sequence[_Numbers]
_Array: TypeAlias = _ToArray | NDArray[Any] | _Numbers
_Tensors: TypeAlias = _Array | Sequence[_Array] | Mapping[str, _Array]
_Side: TypeAlias = _Tensors | Commitment | Integers | Sequence[Commitment | Integers | None]
_Visibility: TypeAlias = Literal["public", "committed"] | Opening
_Progress: TypeAlias = Callable[[str, float], object]

def compile(
    model: _Path | _Buffer | _ModelProto,
    calibration: _Path | _Tensors,
    *,
    bits: int | None = None,
    headroom: float = 0.3,
    per_channel: bool = True,
    batch: int | None = None,
    symbols: dict[str, int] | None = None,
    outputs: list[str] | None = None,
    given: dict[str, float] | None = None,
    max_error: float | None = None,
    allow_error: bool = False,
    saturate: bool = False,
    inputs_from: Card | None = None,
    executor: _Executor | None = None,
    progress: _Progress | None = None,
) -> Model: ...
def verify(
    card: Card | _Buffer | _Path,
    proof: Proof | _Buffer | _Path,
    *,
    input: _Side | None = None,
    output: _Side | None = None,
    context: _Buffer | None = None,
    tolerance: SupportsFloat | None = None,
    limits: Limits | None = None,
) -> Verdict: ...
def audit(
    log: _Path,
    card: Card | _Buffer | _Path,
    host_key: str,
    *,
    keys: _Buffer | _Path | None = None,
    limits: Limits | None = None,
) -> dict[str, Any]: ...
def verify_many(checks: Iterable[Check], *, chunk: int = 256) -> Receipts: ...
@final
class Tensor:
    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def scale(self) -> NDArray[np.float64]: ...
    @property
    def zero_point(self) -> NDArray[np.float64]: ...
    @property
    def low_bits(self) -> int: ...

@final
class Model:
    @property
    def inputs(self) -> list[Tensor]: ...
    @property
    def outputs(self) -> list[Tensor]: ...
    @property
    def bits(self) -> int: ...
    @property
    def weights(self) -> int: ...
    @property
    def left_out(self) -> list[str]: ...
    @property
    def warnings(self) -> list[str]: ...
    @property
    def disclosures(self) -> list[tuple[str, str, str]]: ...
    def run_float(self, x: _Tensors) -> list[NDArray[np.float32]]: ...
    def evaluate(
        self, x: _Path | _Tensors, labels: Sequence[int] | NDArray[np.integer[Any]] | None = None, *, progress: _Progress | None = None
    ) -> dict[str, Any]: ...
    def commit(
        self,
        name: str | None = None,
        *,
        public_weights: bool = False,
        prefer: Literal["balanced", "prove", "verify", "size"] = "balanced",
        k: int | None = None,
        segments: int | None = None,
        memory: int | None = None,
        executor: _Executor | None = None,
        progress: _Progress | None = None,
    ) -> Secret: ...
    def _quantized(self) -> bytes: ...

@final
class Secret:
    @property
    def card(self) -> Card: ...
    @property
    def cpu_seconds(self) -> float: ...
    @property
    def memory_bytes(self) -> int: ...
    def infer(self, x: _Tensors) -> Run: ...
    def infer_many(self, x: _Tensors) -> list[Run]: ...
    def prove(
        self,
        run: Run | Sequence[Run],
        *,
        input: _Visibility | None = None,
        output: _Visibility | None = None,
        attach_input: bool = False,
        context: _Buffer | None = None,
        executor: _Executor | None = None,
        progress: _Progress | None = None,
    ) -> Proof: ...
    @overload
    def prove_many(
        self,
        x: _Tensors | list[Run] | tuple[Run, ...],
        *,
        input: _Visibility | list[_Visibility] | None = None,
        output: _Visibility | list[_Visibility] | None = None,
        attach_input: bool = False,
        context: _Buffer | list[_Buffer] | None = None,
        executor: _Executor | None = None,
        parallel: int = 1,
        return_exceptions: Literal[False] = False,
        done: Callable[[int, Proof | Exception], object] | None = None,
        progress: _Progress | None = None,
    ) -> list[Proof]: ...
    @overload
    def prove_many(
        self,
        x: _Tensors | list[Run] | tuple[Run, ...],
        *,
        input: _Visibility | list[_Visibility] | None = None,
        output: _Visibility | list[_Visibility] | None = None,
        attach_input: bool = False,
        context: _Buffer | list[_Buffer] | None = None,
        executor: _Executor | None = None,
        parallel: int = 1,
        return_exceptions: bool,
        done: Callable[[int, Proof | Exception], object] | None = None,
        progress: _Progress | None = None,
    ) -> list[Proof | Exception]: ...
    def prepare(self) -> None: ...
    def to_bytes(self) -> bytes: ...
    @classmethod
    def from_bytes(cls, data: _Buffer) -> Secret: ...
    def save(self, path: _Path, *, overwrite: bool = False) -> None: ...
    @classmethod
    def load(cls, path: _Path) -> Secret: ...

@final
class Run:
    @property
    def saturated(self) -> dict[str, int]: ...
    @property
    def outputs(self) -> list[NDArray[np.float32]]: ...
    @property
    def output(self) -> NDArray[np.float32]: ...
    @property
    def input_integers(self) -> NDArray[np.uint16]: ...
    @property
    def output_integers(self) -> NDArray[np.uint16]: ...

@final
class Card:
    @property
    def digest(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def k(self) -> int: ...
    @property
    def segments(self) -> int: ...
    @property
    def bits(self) -> int: ...
    @property
    def inputs(self) -> list[Tensor]: ...
    @property
    def outputs(self) -> list[Tensor]: ...
    def quantize_input(self, x: _Tensors) -> NDArray[np.uint16]: ...
    def dequantize_output(self, integers: Sequence[int] | NDArray[np.uint16]) -> list[NDArray[np.float32]]: ...
    def to_bytes(self) -> bytes: ...
    @classmethod
    def from_bytes(cls, data: _Buffer, *, limits: Limits | None = None) -> Card: ...
    def to_json(self) -> str: ...
    @classmethod
    def from_json(cls, text: str, *, limits: Limits | None = None) -> Card: ...
    def save(self, path: _Path) -> None: ...
    @classmethod
    def load(cls, path: _Path, *, limits: Limits | None = None) -> Card: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...

@final
class Commitment:
    def to_bytes(self) -> bytes: ...
    @classmethod
    def from_bytes(cls, data: _Buffer) -> Commitment: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...

@final
class Integers:
    def __new__(cls, values: Sequence[int] | NDArray[np.integer[Any]]) -> Integers: ...
    @property
    def values(self) -> NDArray[np.uint16]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...

@final
class Opening:
    @property
    def commitment(self) -> Commitment: ...

@final
class Proof:
    @property
    def card(self) -> str: ...
    @property
    def context(self) -> bytes: ...
    @property
    def runs(self) -> int: ...
    @property
    def segments(self) -> int: ...
    @property
    def openings(self) -> list[tuple[Opening | None, Opening | None]] | None: ...
    def to_bytes(self) -> bytes: ...
    def __bytes__(self) -> bytes: ...
    @classmethod
    def from_bytes(cls, data: _Buffer, *, limits: Limits | None = None) -> Proof: ...
    def to_json(self) -> str: ...
    @classmethod
    def from_json(cls, text: str, *, limits: Limits | None = None) -> Proof: ...
    def save(self, path: _Path) -> None: ...
    @classmethod
    def load(cls, path: _Path, *, limits: Limits | None = None) -> Proof: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...

@final
class Limits:
    def __new__(
        cls,
        *,
        k: int | None = None,
        columns: int | None = None,
        points: int | None = None,
        values: int | None = None,
        runs: int | None = None,
        card_bytes: int | None = None,
        proof_bytes: int | None = None,
    ) -> Limits: ...
    @property
    def k(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def points(self) -> int: ...
    @property
    def values(self) -> int: ...
    @property
    def runs(self) -> int: ...
    @property
    def card_bytes(self) -> int: ...
    @property
    def proof_bytes(self) -> int: ...

def commit_quantized(
    quantized: bytes,
    name: str,
    *,
    public_weights: bool,
    prefer: str,
    k: int | None,
    segments: int | None,
    memory: int | None,
) -> Secret: ...
def limit_threads(threads: int) -> None: ...
def has_segment(digest: str) -> bool: ...
def keep_segment(file: _Buffer, threads: int = 1) -> None: ...
def run_job(job: bytes, threads: int = 1, *, progress: _Progress | None = None) -> bytes | None: ...
@final
class Segments:
    def __getitem__(self, digest: str, /) -> bytes: ...

@final
class Verifier:
    def __new__(cls, card: Card | _Buffer | _Path, *, limits: Limits | None = None) -> Verifier: ...
    @property
    def card(self) -> Card: ...
    @property
    def limits(self) -> Limits: ...
    def verify(
        self,
        proof: Proof | _Buffer | _Path,
        *,
        input: _Side | None = None,
        output: _Side | None = None,
        context: _Buffer | None = None,
        tolerance: SupportsFloat | None = None,
    ) -> Verdict: ...
    def receipt(
        self,
        proof: Proof | _Buffer | _Path,
        *,
        input: _Side | None = None,
        output: _Side | None = None,
        context: _Buffer | None = None,
        tolerance: SupportsFloat | None = None,
    ) -> Receipt: ...
    def check(
        self,
        proof: Proof | _Buffer | _Path,
        *,
        input: _Side | None = None,
        output: _Side | None = None,
        context: _Buffer | None = None,
        tolerance: SupportsFloat | None = None,
    ) -> Check: ...
    def feeds(self, other: Verifier) -> bool: ...

@final
class Check: ...

@final
class Receipts:
    def __iter__(self) -> Iterator[Receipt]: ...
    def __next__(self) -> Receipt: ...

@final
class VerifiedRun:
    @property
    def inputs(self) -> list[NDArray[np.float32]] | None: ...
    @property
    def input(self) -> NDArray[np.float32] | None: ...
    @property
    def outputs(self) -> list[NDArray[np.float32]] | None: ...
    @property
    def output(self) -> NDArray[np.float32] | None: ...
    @property
    def input_integers(self) -> NDArray[np.uint16] | None: ...
    @property
    def output_integers(self) -> NDArray[np.uint16] | None: ...
    @property
    def input_commitment(self) -> Commitment | None: ...
    @property
    def output_commitment(self) -> Commitment | None: ...

@final
class Verdict:
    @property
    def card(self) -> str: ...
    @property
    def context(self) -> bytes: ...
    @property
    def runs(self) -> list[VerifiedRun]: ...
    @property
    def inputs(self) -> list[NDArray[np.float32]] | None: ...
    @property
    def input(self) -> NDArray[np.float32] | None: ...
    @property
    def outputs(self) -> list[NDArray[np.float32]] | None: ...
    @property
    def output(self) -> NDArray[np.float32] | None: ...
    @property
    def receipt(self) -> Receipt: ...

@final
class Receipt:
    @property
    def accepted(self) -> bool: ...
    @property
    def class_(self) -> str | None: ...
    @property
    def code(self) -> str | None: ...
    @property
    def message(self) -> str | None: ...
    @property
    def card(self) -> str: ...
    @property
    def proof(self) -> str: ...
    @property
    def statement(self) -> str | None: ...
    @property
    def verdict(self) -> Verdict | None: ...
    def raise_for_rejection(self) -> None: ...
    def to_json(self) -> str: ...
    def to_dict(self) -> dict[str, Any]: ...
    @classmethod
    def from_json(cls, text: str) -> Receipt: ...
    def save(self, path: _Path) -> None: ...
    @classmethod
    def load(cls, path: _Path) -> Receipt: ...
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Client:
    def __new__(
        cls,
        url: str,
        card: Card | _Buffer | _Path,
        host_key: str,
        *,
        rate: float | None = None,
        gain: float | None = None,
        stake: float | None = None,
        reward: float = 0.0,
        run_cost: float = 0.0,
        margin: float = 2.0,
        model: str | None = None,
        log: _Path | None = None,
        token: str | None = None,
        keys: _Buffer | _Path | None = None,
        timeout: float | None = None,
        clock_skew: float | None = None,
        ask_for: float | None = None,
        prove_within: float | None = None,
        limits: Limits | None = None,
    ) -> Client: ...
    def infer(self, x: _Tensors) -> Answer: ...
    def settle(self) -> list[Outcome]: ...
    def wait(self, timeout: float | None = None) -> list[Outcome]: ...
    @property
    def pending(self) -> int: ...
    def close(self) -> None: ...
    def __enter__(self) -> Client: ...
    def __exit__(self, *_exception: object) -> None: ...

@final
class Answer:
    @property
    def outputs(self) -> list[NDArray[np.float32]]: ...
    @property
    def output(self) -> NDArray[np.float32]: ...
    @property
    def run(self) -> str: ...
    @property
    def slip(self) -> dict[str, Any]: ...
    @property
    def audit(self) -> Outcome | None: ...

@final
class Outcome:
    @property
    def run(self) -> str: ...
    @property
    def state(self) -> Literal["pending", "proven", "false", "overdue", "refused", "unknown"]: ...
    @property
    def due(self) -> int | None: ...
    @property
    def evidence(self) -> Evidence | None: ...

@final
class Evidence:
    @property
    def kind(self) -> Literal["false_output", "contradiction", "overdue", "unanswered"]: ...
    def judge(
        self,
        card: Card | _Buffer | _Path,
        host_key: str,
        *,
        shown: _Buffer | _Path | None = None,
        keys: _Buffer | _Path | None = None,
        limits: Limits | None = None,
    ) -> dict[str, Any]: ...
    def to_json(self) -> str: ...
    @classmethod
    def from_json(cls, text: str) -> Evidence: ...
    def save(self, path: _Path) -> None: ...
    @classmethod
    def load(cls, path: _Path) -> Evidence: ...
