"""Proofs made by executors: pools, Ray and Dask clusters of real processes; workers that die, tasks that fail, cancellation."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zkinfer
from conftest import FIXTURES, ONNX
from numpy.typing import NDArray
from zkinfer import executors
from zkinfer.executors import DaskExecutor, RayExecutor

RUNS = 64


def layers(rows: int) -> tuple[zkinfer.Model, NDArray[np.float32]]:
    """Five dense layers on so many rows, with samples."""
    onnx = pytest.importorskip("onnx")
    rng = np.random.default_rng(5)
    nodes, weights, last = [], [], "x"
    for layer in range(5):
        name = f"w{layer}"
        weight = (rng.normal(size=(16, 16)) / 4).astype(np.float32)
        weights.append(onnx.numpy_helper.from_array(weight, name))
        nodes.append(onnx.helper.make_node("MatMul", [last, name], [f"y{layer}"]))
        nodes.append(onnx.helper.make_node("Relu", [f"y{layer}"], [f"z{layer}"]))
        last = f"z{layer}"
    info = onnx.helper.make_tensor_value_info
    ends = [info("x", 1, [rows, 16])], [info(last, 1, [rows, 16])]
    graph = onnx.helper.make_graph(nodes, "layers", *ends, weights)
    network = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    samples = rng.normal(size=(RUNS, rows, 16)).astype(np.float32)
    return zkinfer.compile(network, samples, headroom=1.0), samples


@pytest.fixture(scope="session")
def network() -> tuple[zkinfer.Secret, NDArray[np.float32]]:
    """A network of four segments."""
    model, samples = layers(1)
    secret = model.commit(segments=4)
    assert secret.card.segments == 4
    return secret, samples


def test_memory_is_bounded() -> None:
    model, x = layers(256)
    whole = model.commit()
    assert whole.card.segments == 1 and whole.cpu_seconds > 0
    bound = int(0.8 * whole.memory_bytes)
    parts = model.commit(memory=bound)
    assert parts.card.segments > 1 and parts.memory_bytes <= bound
    check(parts, x, [parts.prove(parts.infer(x[0]))], [b""])
    with pytest.raises(zkinfer.CommitError, match="MB of memory at least, 1 MB are allowed"):
        model.commit(memory=1_000_000)


class Enough(Exception):
    pass


class Cluster:
    """What the tests do with a cluster."""

    executor: Any

    def kill_a_worker(self) -> None:
        """Kills a process that is working on a job, by its number."""
        raise NotImplementedError

    def at_work(self) -> int:
        """How many jobs are being done."""
        raise NotImplementedError


def workers_of(parent: int) -> list[int]:
    """Processes below one, from ``/proc``."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat.rsplit(") ", 1)[1].split()[1]), []).append(int(entry.name))
    found, rest = [], [parent]
    while rest:
        below = children.get(rest.pop(), [])
        found += below
        rest += below
    return found


class Ray(Cluster):
    def __init__(self) -> None:
        ray = pytest.importorskip("ray")
        os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
        ray.init(
            num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False, logging_level="ERROR"
        )
        self.ray = ray
        self.executor = RayExecutor()

    def close(self) -> None:
        self.ray.shutdown()

    def pids(self) -> list[int]:
        def name(pid: int) -> str:
            try:
                return (Path("/proc") / str(pid) / "cmdline").read_bytes().split(b"\0")[0].decode()
            except OSError:
                return ""

        return [pid for pid in workers_of(os.getpid()) if name(pid).startswith("ray::_ray_work")]

    def kill_a_worker(self) -> None:
        end = time.monotonic() + 20
        while not (pids := self.pids()):
            assert time.monotonic() < end, "nobody is at work"
        os.kill(pids[0], signal.SIGKILL)

    def at_work(self) -> int:
        return len(self.pids())


class Dask(Cluster):
    def __init__(self) -> None:
        distributed = pytest.importorskip("distributed")
        self.cluster = distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=":0", silence_logs=60
        )
        self.client = distributed.Client(self.cluster)
        self.executor = DaskExecutor(self.client)

    def close(self) -> None:
        self.client.close()
        self.cluster.close()

    def kill_a_worker(self) -> None:
        pids = self.client.run(os.getpid)
        working = [worker for worker, keys in self.client.processing().items() if keys]
        os.kill(pids[working[0]], signal.SIGKILL)

    def at_work(self) -> int:
        return sum(self.client.run(lambda: sum(executors._running.values())).values())


@pytest.fixture(scope="module", params=[Ray, Dask])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    cluster = request.param()
    yield cluster
    cluster.close()


def check(secret: zkinfer.Secret, x: NDArray[np.float32], proofs: list[zkinfer.Proof], contexts: list[bytes]) -> None:
    """Every proof is of its own input and context, and says what the model answers."""
    verifier = zkinfer.Verifier(secret.card)
    assert len(proofs) == len(contexts)
    for sample, proof, context in zip(x, proofs, contexts):
        verdict = verifier.verify(proof, input=sample, context=context)
        np.testing.assert_array_equal(verdict.output, secret.infer(sample).output)


def contexts_of(count: int) -> list[bytes]:
    return [f"run {index}".encode() for index in range(count)]


def compiles(executor: Any, x: NDArray[np.float32], tmp_path: Path) -> None:
    """Compiling and committing elsewhere is as here: the same integers, the same errors."""
    here = zkinfer.compile(ONNX, x)
    there = zkinfer.compile(ONNX, x, executor=executor)
    assert (there.bits, there.weights, there.disclosures) == (here.bits, here.weights, here.disclosures)
    np.testing.assert_array_equal(there.run_float(x[0])[0], here.run_float(x[0])[0])
    secret = there.commit(executor=executor)
    assert secret.card.name == "digits" and secret.card.digest != here.commit().card.digest
    public = there.commit("named", public_weights=True, k=9, executor=executor)
    assert public.card.digest == here.commit("named", public_weights=True, k=9).card.digest
    check(secret, x, [secret.prove(secret.infer(x[0]))], [b""])
    np.savez(tmp_path / "samples.npz", x0=x)
    file = zkinfer.compile(ONNX.read_bytes(), tmp_path / "samples.npz", bits=10, executor=executor)
    assert file.bits == 10
    with pytest.raises(zkinfer.QuantizeError, match="allow_error=True"):
        zkinfer.compile(ONNX, x, bits=4, executor=executor)
    with pytest.raises(zkinfer.CommitError, match="segments"):
        there.commit(segments=60, executor=executor)
    with pytest.raises(TypeError, match="expected a concurrent.futures.Executor, .* found int"):
        there.commit(executor=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_pools_compile(pool: str, x: NDArray[np.float32], tmp_path: Path) -> None:
    made = {"threads": concurrent.futures.ThreadPoolExecutor, "processes": concurrent.futures.ProcessPoolExecutor}
    with made[pool](1) as executor:
        compiles(executor, x, tmp_path)


def test_a_cluster_compiles(cluster: Cluster, x: NDArray[np.float32], tmp_path: Path) -> None:
    compiles(cluster.executor, x, tmp_path)


@pytest.mark.parametrize("pool", ["here", "threads", "processes", "another"])
def test_pools(pool: str, network: tuple[zkinfer.Secret, NDArray[np.float32]]) -> None:
    secret, x = network
    contexts = contexts_of(6)

    class Another:
        """Does at once what it is given, which it was sent as bytes."""

        def submit(self, fn: Any, /, *args: Any) -> concurrent.futures.Future[Any]:
            future: concurrent.futures.Future[Any] = concurrent.futures.Future()
            fn, args = pickle.loads(pickle.dumps((fn, args)))
            future.set_result(fn(*args))
            return future

    told: list[float] = []
    made: dict[str, Any] = {
        "here": lambda: None,
        "threads": lambda: concurrent.futures.ThreadPoolExecutor(2),
        "processes": lambda: concurrent.futures.ProcessPoolExecutor(2),
        "another": Another,
    }
    executor = made[pool]()
    proofs = secret.prove_many(
        x[:6], context=list(contexts), executor=executor, progress=lambda stage, fraction: told.append(fraction)
    )
    check(secret, x, proofs, contexts)
    assert all(proof.segments == 4 for proof in proofs)
    assert told == sorted(told) and told[-1] == 1.0
    run = secret.infer(x[0])
    proof = secret.prove([run, run], input="committed", context=b"both", executor=executor)
    assert proof.runs == 2 and proof.openings is not None and len(proof.openings) == 2
    if executor is not None and pool != "another":
        executor.shutdown()


def test_runs_that_exist_and_what_is_asked_of_each(secret: zkinfer.Secret, x: NDArray[np.float32]) -> None:
    runs = secret.infer_many(x[:3])
    opening = secret.prove(runs[1], input="committed").openings
    assert opening is not None and opening[0][0] is not None
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        proofs = secret.prove_many(runs, input=["public", opening[0][0], "committed"], output="public", executor=executor)
    verifier = zkinfer.Verifier(secret.card)
    verifier.verify(proofs[0], input=x[0])
    assert verifier.verify(proofs[1], input=opening[0][0].commitment).inputs is None
    assert verifier.verify(proofs[2]).inputs is None
    with pytest.raises(zkinfer.InputError, match="context: 2 for 3 runs"):
        secret.prove_many(runs, context=[b"a", b"b"])
    with pytest.raises(TypeError, match="expected Runs throughout, found int"):
        secret.prove_many([runs[0], 1])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected a concurrent.futures.Executor, .* found int"):
        secret.prove_many(runs, executor=1)  # type: ignore[call-overload]
    assert secret.prove_many(x[:0]) == secret.prove_many([]) == []
    assert len(secret.prove_many(tuple(runs), parallel=0)) == 3
    handed: dict[int, Any] = {}
    kept = secret.prove_many(runs, done=handed.__setitem__)
    assert [handed[index] for index in range(3)] == kept

    def stop(index: int, proof: Any) -> None:
        raise Enough

    with pytest.raises(Enough):
        secret.prove_many(runs, done=stop)
    with pytest.raises(ValueError, match="segments is 0"):
        zkinfer.compile(ONNX, x).commit(segments=0)


def test_what_is_raised_is_raised_here(secret: zkinfer.Secret, x: NDArray[np.float32]) -> None:
    class Raises:
        def submit(self, fn: Any, /, *args: Any) -> concurrent.futures.Future[bytes]:
            future: concurrent.futures.Future[bytes] = concurrent.futures.Future()
            future.set_exception(KeyError("the queue is gone"))
            return future

    class Answers(Raises):
        def submit(self, fn: Any, /, *args: Any) -> concurrent.futures.Future[bytes]:
            future: concurrent.futures.Future[Any] = concurrent.futures.Future()
            future.set_result("text")
            return future

    class Broken(Raises):
        def submit(self, fn: Any, /, *args: Any) -> concurrent.futures.Future[bytes]:
            raise RuntimeError("cannot schedule new futures after shutdown")

    with pytest.raises(KeyError, match="the queue is gone"):
        secret.prove_many(x[:2], executor=Raises())
    with pytest.raises(zkinfer.JobError, match="an object of type str"):
        secret.prove_many(x[:2], executor=Answers())
    with pytest.raises(RuntimeError, match="after shutdown"):
        secret.prove_many(x[:2], executor=Broken())
    with concurrent.futures.ProcessPoolExecutor(1) as executor, pytest.raises(zkinfer.JobError, match="died"):
        executor.submit(os.getpid).result()
        threading.Timer(0.05, os.kill, (next(iter(executor._processes)), signal.SIGKILL)).start()
        secret.prove_many(np.repeat(x[:1], 200, axis=0), executor=executor)
    with pytest.raises(zkinfer.JobError, match="the pool is broken"):
        secret.prove_many(x[:2], executor=executor)


@pytest.mark.parametrize(
    "error",
    [
        zkinfer.InputError("a", tensor="x", expected=(1,), found=(2,)),
        zkinfer.InferError("a", layer="conv"),
        zkinfer.ProveError("a"),
        zkinfer.JobError("a"),
        zkinfer.Rejection("a", class_="malformed", code="b"),
    ],
)
def test_errors_travel(error: Exception) -> None:
    there = pickle.loads(pickle.dumps(error))
    assert type(there) is type(error) and there.args == error.args and vars(there) == vars(error)


def test_a_cluster_proves(cluster: Cluster, secret: zkinfer.Secret, x: NDArray[np.float32]) -> None:
    inputs = np.resize(x, (RUNS, 64))
    contexts = contexts_of(len(inputs))
    told: list[float] = []
    proofs = secret.prove_many(
        inputs, context=list(contexts), executor=cluster.executor, progress=lambda _, fraction: told.append(fraction)
    )
    check(secret, inputs, proofs, contexts)
    assert told[-1] == 1.0 and len(told) > 2


def test_a_cluster_proves_segments(cluster: Cluster, network: tuple[zkinfer.Secret, NDArray[np.float32]]) -> None:
    secret, x = network
    proof = secret.prove(secret.infer(x[0]), context=b"parts", executor=cluster.executor)
    check(secret, x, [proof], [b"parts"])


def test_a_worker_dies(cluster: Cluster, secret: zkinfer.Secret, x: NDArray[np.float32]) -> None:
    inputs = np.resize(x, (RUNS, 64))
    contexts = contexts_of(len(inputs))
    killed = False

    def progress(_: str, fraction: float) -> None:
        nonlocal killed
        if not killed and fraction > 0.05:
            killed = True
            cluster.kill_a_worker()

    proofs = secret.prove_many(inputs, context=list(contexts), executor=cluster.executor, progress=progress)
    assert killed
    check(secret, inputs, proofs, contexts)


def test_a_poisoned_task_fails_alone(cluster: Cluster, secret: zkinfer.Secret, x: NDArray[np.float32]) -> None:
    """One that cannot be run, and one that workers cannot prove."""
    opening = secret.prove(secret.infer(x[0]), input="committed").openings
    assert opening is not None and opening[0][0] is not None
    inputs = x[:6].copy()
    inputs[1] = 1e9
    sides: Any = ["public", "public", "public", "public", opening[0][0], "public"]
    results = secret.prove_many(inputs, input=sides, executor=cluster.executor, return_exceptions=True)
    assert isinstance(results[1], zkinfer.InferError)
    assert isinstance(results[4], zkinfer.ProveError) and "does not open" in str(results[4])
    good = [index for index in range(6) if index not in (1, 4)]
    proofs = [results[index] for index in good]
    check(secret, inputs[good], [p for p in proofs if isinstance(p, zkinfer.Proof)], [b""] * 4)
    with pytest.raises(zkinfer.ProveError, match="does not open"):
        secret.prove_many(x[:6], input=sides, executor=cluster.executor)
    with pytest.raises(zkinfer.InferError):
        secret.prove_many(inputs, executor=cluster.executor)


def test_cancellation_leaves_nothing(cluster: Cluster, secret: zkinfer.Secret, x: NDArray[np.float32]) -> None:
    inputs = np.resize(x, (8 * RUNS, 64))
    seen = 0

    def progress(_: str, fraction: float) -> None:
        nonlocal seen
        seen = max(seen, cluster.at_work())
        if fraction > 0.02:
            raise Enough

    start = time.monotonic()
    with pytest.raises(Enough):
        secret.prove_many(inputs, executor=cluster.executor, progress=progress)
    assert seen > 0
    end = time.monotonic() + 20
    while cluster.at_work() and time.monotonic() < end:
        time.sleep(0.05)
    assert cluster.at_work() == 0, f"after {time.monotonic() - start:.1f} s"
    # And what comes next is done.
    check(secret, x, secret.prove_many(x[:2], executor=cluster.executor), [b"", b""])


def test_a_pool_stops(secret: zkinfer.Secret, x: NDArray[np.float32]) -> None:
    def progress(_stage: str, _fraction: float) -> None:
        raise Enough

    with concurrent.futures.ProcessPoolExecutor(2) as executor:
        with pytest.raises(Enough):
            secret.prove_many(np.resize(x, (8 * RUNS, 64)), executor=executor, progress=progress)
        assert executor._pending_work_items == {}


def test_what_no_worker_can_do_is_refused(cluster: Cluster, secret: zkinfer.Secret, x: NDArray[np.float32]) -> None:
    task = executors.Task(0, "00", b"", 1.0, 1 << 50)
    with pytest.raises(zkinfer.JobError, match="1125899.91 GB of memory, and no"):
        list(executors.outcomes(cluster.executor, [tuple(task)], {}))  # type: ignore[list-item]


def test_a_client_of_dask_is_an_executor(secret: zkinfer.Secret, x: NDArray[np.float32]) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.Client(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as client:
        check(secret, x, secret.prove_many(x[:3], executor=client), [b""] * 3)
        check(secret, x, secret.prove_many(x[:3], executor=client.get_executor()), [b""] * 3)


def in_child(secret: zkinfer.Secret, x: NDArray[np.float32]) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        check(secret, x, secret.prove_many(x[:2], executor=executor), [b"", b""])


def test_a_forked_process_has_executors(secret: zkinfer.Secret, x: NDArray[np.float32]) -> None:
    """Whoever waits takes no thread that a worker beside it needs."""
    os.environ["RAYON_NUM_THREADS"] = "1"
    try:
        child = multiprocessing.get_context("fork").Process(target=in_child, args=(secret, x))
        child.start()
        child.join(60)
    finally:
        del os.environ["RAYON_NUM_THREADS"]
    alive = child.is_alive()
    child.kill()
    assert not alive and child.exitcode == 0


def test_jobs_that_are_none() -> None:
    with pytest.raises(zkinfer.DecodeError):
        executors.work(b"nonsense", "00", lambda: b"")
    with pytest.raises(zkinfer.DecodeError) as refused:
        zkinfer._native.keep_segment((FIXTURES / "digits.card").read_bytes())
    assert refused.value.code == "wrong_kind"
