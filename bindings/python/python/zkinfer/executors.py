"""Where proofs are made: in pools of ``concurrent.futures``, on Ray, on Dask.

What takes ``executor=`` (:meth:`zkinfer.Secret.prove_many`, :meth:`zkinfer.Secret.prove`) splits its work into *jobs*, one for
every segment of every run. A job is a function of bytes to bytes: it names a segment of the committed model by its digest
and holds the integers that flow in, what hides them, the context and a seed. Doing it twice yields the same proof, so that an
engine may retry whatever it lost.

============================  ==========================================================================================
executor                      how it is used
============================  ==========================================================================================
``ThreadPoolExecutor``        threads of this process
``ProcessPoolExecutor``       the model goes to its processes through files that only this user can read
:class:`RayExecutor`          the model goes into Ray's object store once; CPUs and predicted memory are asked for
:class:`DaskExecutor`         the model is scattered to the workers once; also for a ``distributed.Client`` as it is
any other with ``submit``     the model goes along with every job, and what has begun cannot be stopped
============================  ==========================================================================================

A worker keeps the models that it was given, with their keys, so the first job of a segment takes longer. Every job works on
one thread unless its executor says otherwise: have as many workers as cores.

**What workers see**: the weights, what opens the commitment to them, and the inputs of the runs that they prove. See
``docs/cluster.md``.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import os
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from . import _native
from .errors import JobError

if TYPE_CHECKING:
    import distributed

__all__ = ["DaskExecutor", "RayExecutor"]


class Task(NamedTuple):
    """A job, and what its executor has to know of it."""

    number: int
    segment: str
    """Digest of the segment that it needs."""
    job: bytes
    cpu_seconds: float
    """What it is going to take, about, on one core."""
    memory_bytes: int
    """Memory at its peak, about."""

    def __repr__(self) -> str:
        # Not what is in it.
        return f"Task({self.number}, segment={self.segment}, {len(self.job)} bytes)"


class Files(Protocol):
    """Files of segments by digest."""

    def __getitem__(self, segment: str, /) -> bytes: ...


class Stopped(Exception):
    """Nobody wants the job's outcome any more."""


# --- on workers -------------------------------------------------------------------------------------------------------

_keeping = threading.Lock()

# Seconds between two questions whether a job is still wanted.
PAUSE = 0.1


def work(
    job: bytes,
    segment: str,
    file: Callable[[], bytes],
    threads: int = 1,
    stopped: Callable[[], bool] | None = None,
) -> bytes:
    """Does a job: what executors call on their workers. Fetches the segment's file if the process does not have it."""

    asked = time.monotonic()

    def progress(_stage: str, _fraction: float) -> None:
        nonlocal asked
        # Asking may take a round trip to a scheduler.
        if stopped is None or time.monotonic() - asked < PAUSE:
            return
        asked = time.monotonic()
        if stopped():
            raise Stopped("nobody wants this proof any more")

    for _ in range(2):
        outcome = _native.run_job(job, threads, progress=progress)
        if outcome is not None:
            return outcome
        # One thread reads the file, the others find it.
        with _keeping:
            if not _native.has_segment(segment):
                _native.keep_segment(file(), threads)
    outcome = _native.run_job(job, threads, progress=progress)
    if outcome is None:
        raise JobError("the worker was given the file of another segment than the job needs")
    return outcome


@contextlib.contextmanager
def _threads(threads: int) -> Iterator[None]:
    _native.limit_threads(threads)
    try:
        yield
    finally:
        _native.limit_threads(0)


def _compile(
    threads: int, model: bytes, samples: Any, card: bytes | None, keywords: dict[str, Any]
) -> tuple[bytes, list[str]]:
    """Compiles a model; samples are arrays, or the name and the content of a file."""
    inputs_from = None if card is None else _native.Card.from_bytes(card)
    with _threads(threads), contextlib.ExitStack() as stack:
        if isinstance(samples, _File):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="zkinfer-"))
            path = os.path.join(folder, samples.name)
            with open(path, "wb") as file:
                file.write(samples.content)
            samples = path
        made = _native.compile(model, samples, inputs_from=inputs_from, **keywords)
        return made._quantized(), made.warnings


def _commit(threads: int, quantized: bytes, name: str, keywords: dict[str, Any]) -> bytes:
    with _threads(threads):
        return _native.commit_quantized(quantized, name, **keywords).to_bytes()


class _File:
    """A file of samples."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        self.content = content


class _Held:
    """Bytes of a file that travel with a job; they are not shown."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __call__(self) -> bytes:
        return self._data


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


# --- on the side that asks --------------------------------------------------------------------------------------------


class _Session(Protocol):
    """Jobs of one call on their way through an engine."""

    def submit(self, task: Task) -> Any:
        """Hands a job out: something that stands for its outcome."""

    def completed(self, pending: dict[Any, Task]) -> Iterator[Any]:
        """Waits for what was handed out, in the order in which it is done."""

    def outcome(self, done: Any) -> bytes | BaseException:
        """What came of it."""

    def stop(self, pending: list[Any]) -> None:
        """Gives up what was handed out and returns when nothing of it runs any more."""


def outcomes(executor: Any, tasks: Iterable[tuple[int, str, bytes, float, int]], files: Files) -> Iterator[tuple[int, Any]]:
    """Has jobs done; the index of each with its outcome or an exception, as they come. Closing it gives up the rest."""
    with _session(executor, files) as session:
        pending: dict[Any, Task] = {}
        try:
            for task in map(Task._make, tasks):
                try:
                    pending[session.submit(task)] = task
                except concurrent.futures.BrokenExecutor as error:
                    yield task.number, _job_error("the pool is broken", error)
            for done in session.completed(pending):
                yield pending.pop(done).number, session.outcome(done)
        finally:
            session.stop(list(pending))


def compile_there(
    executor: Any, model: bytes, samples: Any, card: bytes | None, keywords: dict[str, Any]
) -> tuple[bytes, list[str]]:
    """Has a model compiled: the quantized model, and what speaks against it."""
    if isinstance(samples, (str, os.PathLike)):
        samples = _File(os.path.basename(samples), _read(os.fspath(samples)))
    compiled: tuple[bytes, list[str]] = _call(executor, _compile, model, samples, card, keywords)
    return compiled


def commit_there(executor: Any, quantized: bytes, name: str, keywords: dict[str, Any]) -> bytes:
    """Has a model committed to: the owner's file."""
    secret: bytes = _call(executor, _commit, quantized, name, keywords)
    return secret


def _call(executor: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """Has a function called by an executor, with the number of threads before its arguments."""
    if isinstance(executor, (RayExecutor, DaskExecutor)):
        return executor._call(function, *arguments)
    if (client := _client(executor)) is not None:
        return DaskExecutor(client)._call(function, *arguments)
    if not hasattr(executor, "submit"):
        raise _no_executor(executor)
    future = None
    try:
        future = executor.submit(function, 1, *arguments)
        return future.result()
    except concurrent.futures.BrokenExecutor as error:
        raise _job_error("a worker of the pool died, and the pool with it", error) from error
    finally:
        if future is not None:
            future.cancel()


def _client(executor: Any) -> Any:
    """The client of Dask that it is, or is made of."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    if isinstance(executor, distributed.Client):
        return executor
    if isinstance(executor, distributed.cfexecutor.ClientExecutor):
        return executor._client
    return None


def _no_executor(found: Any) -> TypeError:
    return TypeError(
        f"executor: expected a concurrent.futures.Executor, a RayExecutor, a DaskExecutor or a distributed.Client, "
        f"found {type(found).__name__}"
    )


def _session(executor: Any, files: Files) -> contextlib.AbstractContextManager[_Session]:
    if isinstance(executor, (RayExecutor, DaskExecutor)):
        return executor._session(files)
    if isinstance(executor, concurrent.futures.ProcessPoolExecutor):
        return _processes(executor, files)
    if isinstance(executor, concurrent.futures.ThreadPoolExecutor):
        stop = threading.Event()
        return contextlib.nullcontext(
            _Futures(executor, lambda segment: _Held(files[segment]), stop.is_set, stop.set)
        )
    if (client := _client(executor)) is not None:
        return DaskExecutor(client)._session(files)
    if not hasattr(executor, "submit"):
        raise _no_executor(executor)
    return contextlib.nullcontext(
        _Futures(executor, lambda segment: _Held(files[segment]), None, lambda: None)
    )


class _Futures:
    """Executors of ``concurrent.futures``."""

    def __init__(
        self,
        executor: Any,
        share: Callable[[str], Callable[[], bytes]],
        stopped: Callable[[], bool] | None,
        stop: Callable[[], None],
    ) -> None:
        self._executor = executor
        self._share = functools.cache(share)
        self._stopped = stopped
        self._stop = stop

    def submit(self, task: Task) -> Any:
        file = self._share(task.segment)
        return self._executor.submit(work, task.job, task.segment, file, 1, self._stopped)

    def completed(self, pending: dict[Any, Task]) -> Iterator[Any]:
        return concurrent.futures.as_completed(list(pending))

    def outcome(self, done: Any) -> bytes | BaseException:
        error = done.exception()
        if isinstance(error, concurrent.futures.BrokenExecutor):
            return _job_error("a worker of the pool died, and the pool with it", error)
        return error if error is not None else done.result()

    def stop(self, pending: list[Any]) -> None:
        if pending:
            self._stop()
            begun = [future for future in pending if not future.cancel()]
            if self._stopped is not None:
                concurrent.futures.wait(begun)


@contextlib.contextmanager
def _processes(executor: concurrent.futures.ProcessPoolExecutor, files: Files) -> Iterator[_Session]:
    """Files of segments in a folder that only this user can read, for as long as the call takes."""
    with tempfile.TemporaryDirectory(prefix="zkinfer-") as folder:
        flag = os.path.join(folder, "stop")

        def share(segment: str) -> Callable[[], bytes]:
            path = os.path.join(folder, segment)
            with open(path, "wb") as file:
                file.write(files[segment])
            return functools.partial(_read, path)

        def stop() -> None:
            with open(flag, "wb"):
                pass

        yield _Futures(executor, share, functools.partial(os.path.exists, flag), stop)


def _job_error(message: str, cause: BaseException | None = None) -> JobError:
    error = JobError(f"{message}: {cause}" if cause is not None else message)
    error.__cause__ = cause
    return error


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.2f} GB"


# --- Ray --------------------------------------------------------------------------------------------------------------


class RayExecutor:
    """Jobs as tasks of Ray (``pip install zkinfer[ray]``), on the cluster that ``ray.init`` connected to.

    The model's segments are put into the object store once. A task asks for ``threads`` CPUs and for the memory that the plan
    predicts, so that Ray places no more on a machine than it holds. A task whose worker dies is retried.
    """

    def __init__(self, *, threads: int = 1, retries: int = 3, memory: bool = True, **options: Any) -> None:
        """
        Args:
            threads: Threads of a job, and CPUs that are asked for.
            retries: How often a job is tried again after its worker died.
            memory: Whether to ask for the predicted memory.
            options: More options of Ray's tasks: ``resources``, ``scheduling_strategy``, ``runtime_env``, …
        """
        self.threads = threads
        self._options = {"num_cpus": threads, "max_retries": retries, **options}
        self._memory = memory

    def _session(self, files: Files) -> contextlib.AbstractContextManager[_Session]:
        return contextlib.nullcontext(_Ray(self.threads, self._options, self._memory, files))

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        ray = _connected()
        task = ray.remote(function).options(**self._options).remote(self.threads, *arguments)
        try:
            outcome = _ray_outcome(ray, task)
        except BaseException:
            ray.cancel(task, force=True)
            raise
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def _connected() -> Any:
    import ray

    if not ray.is_initialized():
        raise JobError("Ray is not connected to a cluster: call ray.init(), with the cluster's address if there is one")
    return ray


def _ray_outcome(ray: Any, task: Any) -> Any:
    """What came of a task, or why there is nothing."""
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        return error.cause if isinstance(error.cause, Exception) else _job_error("a task failed", error)
    except ray.exceptions.RayError as error:
        return _job_error("Ray lost the job", error)


def _ray_work(job: bytes, segment: str, file: list[Any], threads: int) -> bytes:
    import ray

    return work(job, segment, lambda: bytes(ray.get(file[0])), threads)


class _Ray:
    def __init__(self, threads: int, options: dict[str, Any], memory: bool, files: Files) -> None:
        self._ray = ray = _connected()
        self._threads = threads
        self._options = options
        self._remote = ray.remote(_ray_work)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._most = max((node.get("memory", 0.0) for node in nodes), default=0.0) if memory else None
        # As an array it is not copied by workers of the same machine.
        self._share = functools.cache(lambda segment: ray.put(np.frombuffer(files[segment], dtype=np.uint8)))

    def submit(self, task: Task) -> Any:
        options = dict(self._options)
        if self._most is not None:
            if task.memory_bytes > self._most:
                raise JobError(
                    f"a job takes {_gigabytes(task.memory_bytes)} of memory, and no node of the cluster has more than "
                    f"{_gigabytes(self._most)}: commit with more segments, or pass memory=False"
                )
            options.setdefault("memory", task.memory_bytes)
        # In a list, so that only workers that do not have it fetch it.
        file = [self._share(task.segment)]
        return self._remote.options(**options).remote(task.job, task.segment, file, self._threads)

    def completed(self, pending: dict[Any, Task]) -> Iterator[Any]:
        waiting = list(pending)
        while waiting:
            done, waiting = self._ray.wait(waiting, num_returns=1)
            yield from done

    def outcome(self, done: Any) -> bytes | BaseException:
        outcome: bytes | BaseException = _ray_outcome(self._ray, done)
        return outcome

    def stop(self, pending: list[Any]) -> None:
        if not pending:
            return
        for task in pending:
            # With its process: there is no other way to stop one that has begun.
            self._ray.cancel(task, force=True)
        self._ray.wait(pending, num_returns=len(pending), timeout=60)


# --- Dask -------------------------------------------------------------------------------------------------------------


class DaskExecutor:
    """Jobs as tasks of Dask (``pip install zkinfer[dask]``), on the cluster of a ``distributed.Client``.

    The model's segments are scattered to all workers once. Dask schedules a task again whose worker dies. Where workers declare
    a resource ``MEMORY`` in bytes, a task asks for what the plan predicts.
    """

    def __init__(self, client: distributed.Client, *, threads: int = 1, retries: int = 2) -> None:
        """
        Args:
            client: A client that is connected to a scheduler.
            threads: Threads of a job. A worker does as many jobs at a time as it has threads of its own.
            retries: How often a job is submitted again because the model was lost with the workers that had it.
        """
        self.client = client
        self.threads = threads
        self.retries = retries

    @contextlib.contextmanager
    def _session(self, files: Files) -> Iterator[_Session]:
        session = _Dask(self, files)
        try:
            yield session
        finally:
            session.close()

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        import distributed

        _check(self.client)
        # Large arguments are better scattered than sent within the task.
        scattered = self.client.scatter(list(arguments), hash=False)
        future = self.client.submit(function, self.threads, *scattered, pure=False)
        try:
            return future.result()
        except distributed.KilledWorker as error:
            raise _job_error("the workers that had the job died", error) from error
        finally:
            self.client.cancel([future], force=True)


# Jobs that this process is doing, by the call that they belong to.
_running: dict[str, int] = {}
_counting = threading.Lock()


@contextlib.contextmanager
def _counted(name: str) -> Iterator[None]:
    with _counting:
        _running[name] = _running.get(name, 0) + 1
    try:
        yield
    finally:
        with _counting:
            _running[name] -= 1
            if not _running[name]:
                del _running[name]


def _count(name: str) -> int:
    return _running.get(name, 0)


def _dask_work(job: bytes, segment: str, file: bytes, threads: int, name: str) -> bytes:
    import distributed

    # Progress is told by another thread, which has no client.
    stop = distributed.Event(name, client=distributed.get_client())
    with _counted(name):
        return work(job, segment, lambda: file, threads, stop.is_set)


def _check(client: Any) -> None:
    if client.asynchronous:
        raise TypeError("executor: an asynchronous client of Dask; give one that is not")
    if client.status != "running":
        raise JobError(f"the client of Dask is {client.status}, not running")


class _Dask:
    def __init__(self, executor: DaskExecutor, files: Files) -> None:
        import distributed

        self._distributed: Any = distributed
        self._client = executor.client
        self._threads = executor.threads
        self._retries = executor.retries
        self._files = files
        self._shared: dict[str, Any] = {}
        self._tried: dict[int, int] = {}
        self._given: dict[int, Any] = {}
        self._keep_stopped = False
        self._name = f"zkinfer-{uuid.uuid4().hex}"
        _check(executor.client)
        self._stop = distributed.Event(self._name, client=executor.client)
        workers = list(executor.client.scheduler_info(n_workers=-1)["workers"].values())
        if not workers:
            raise JobError("the Dask cluster has no workers")
        self._asks = all("MEMORY" in worker["resources"] for worker in workers)
        limits = [worker["resources"].get("MEMORY") or worker["memory_limit"] for worker in workers]
        self._most = max(limits) if all(limits) else None

    def submit(self, task: Task) -> Any:
        if self._most is not None and task.memory_bytes > self._most:
            raise JobError(
                f"a job takes {_gigabytes(task.memory_bytes)} of memory, and no worker of the cluster has more than "
                f"{_gigabytes(self._most)}: commit with more segments"
            )
        if task.segment not in self._shared:
            data = self._files[task.segment]
            self._shared[task.segment] = self._client.scatter([data], broadcast=True, hash=False)[0]
        file = self._shared[task.segment]
        self._given[task.number] = file
        tried = self._tried.setdefault(task.number, 0)
        return self._client.submit(
            _dask_work,
            task.job,
            task.segment,
            file,
            self._threads,
            self._name,
            key=f"{self._name}-{task.number}-{tried}",
            pure=False,
            resources={"MEMORY": task.memory_bytes} if self._asks else None,
        )

    def completed(self, pending: dict[Any, Task]) -> Iterator[Any]:
        completed = self._distributed.as_completed(list(pending))
        for done in completed:
            task = pending[done]
            if done.status in ("cancelled", "lost") and self._tried[task.number] < self._retries:
                # The model was lost with the workers that had it.
                self._tried[task.number] += 1
                # Unless another task has scattered it anew already.
                if self._shared.get(task.segment) is self._given[task.number]:
                    del self._shared[task.segment]
                del pending[done]
                again = self.submit(task)
                pending[again] = task
                completed.add(again)
            else:
                yield done

    def outcome(self, done: Any) -> bytes | BaseException:
        if done.status == "finished":
            result: bytes = done.result()
            return result
        if done.status == "error":
            error: BaseException = done.exception()
            if isinstance(error, self._distributed.KilledWorker):
                return _job_error("the workers that had the job died", error)
            return error
        return _job_error(f"Dask lost the job ({done.status})")

    def stop(self, pending: list[Any]) -> None:
        if not pending:
            return
        self._stop.set()
        self._client.cancel(pending, force=True)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            # Workers that are gone run nothing.
            counts = self._client.run(_count, self._name, on_error="return").values()
            if not any(count for count in counts if isinstance(count, int)):
                return
            time.sleep(0.05)
        self._keep_stopped = True

    def close(self) -> None:
        self._shared.clear()
        self._given.clear()
        if not self._keep_stopped:
            self._stop.clear()
