"""The client of hosts for :mod:`asyncio`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from ._native import Answer, Client, Outcome

if TYPE_CHECKING:
    from types import TracebackType

    from ._native import Card, Limits, _Buffer, _Path, _Tensors

T = TypeVar("T")

_PAUSE = 0.2


class AsyncClient:
    """:class:`Client` for :mod:`asyncio`: takes the same arguments, and ``threads``, how many questions are open at once.

    A question that is cancelled before it is sent is not asked. One that was sent is not waited for, but it was asked: its
    answer is checked and goes into the log, and its proof may be asked for, so that cancelling loses no evidence.
    """

    def __init__(
        self,
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
        threads: int = 32,
    ) -> None:
        self._client = Client(
            url,
            card,
            host_key,
            rate=rate,
            gain=gain,
            stake=stake,
            reward=reward,
            run_cost=run_cost,
            margin=margin,
            model=model,
            log=log,
            token=token,
            keys=keys,
            timeout=timeout,
            clock_skew=clock_skew,
            ask_for=ask_for,
            prove_within=prove_within,
            limits=limits,
        )
        # Of its own: the loop's has a handful of threads, for everybody.
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="zkinfer-client")

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def infer(self, x: _Tensors) -> Answer:
        """Asks the model: :meth:`Client.infer`."""
        return await self._run(lambda: self._client.infer(x))

    async def settle(self) -> list[Outcome]:
        """Looks for promised proofs, and verifies those that are there: :meth:`Client.settle`."""
        return await self._run(self._client.settle)

    async def wait(self, timeout: float | None = None) -> list[Outcome]:
        """Looks for promised proofs until none is pending, or for ``timeout`` seconds: :meth:`Client.wait`.

        If it is cancelled, the outcomes so far are in the log.
        """
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        outcomes = []
        while True:
            outcomes += await self.settle()
            if self.pending == 0 or (end is not None and loop.time() >= end):
                return outcomes
            await asyncio.sleep(_PAUSE)

    @property
    def pending(self) -> int:
        """How many promised proofs have not been settled."""
        return self._client.pending

    async def close(self) -> None:
        """Waits for the questions that are open, and lets go of the log. What is pending stays in it."""
        await asyncio.to_thread(self._threads.shutdown)
        self._client.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
