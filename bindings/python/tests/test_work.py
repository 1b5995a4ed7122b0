"""Long work: other threads go on, progress is told, exceptions stop it, batches and forks work."""

from __future__ import annotations

import itertools
import multiprocessing
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zkinfer
from conftest import FIXTURES, ONNX


class Counter:
    """A thread that counts for as long as it gets the interpreter."""

    def __enter__(self) -> Counter:
        self.count = 0
        self.stop = False
        self.thread = threading.Thread(target=self.work)
        # Without this the interpreter would switch between threads by itself between two bytecodes. So threads take
        # turns only where one gives the interpreter away.
        self.interval = sys.getswitchinterval()
        sys.setswitchinterval(1000)
        self.thread.start()
        return self

    def work(self) -> None:
        while not self.stop:
            self.count += 1
            time.sleep(0)

    def __exit__(self, *_: object) -> None:
        self.stop = True
        self.thread.join()
        sys.setswitchinterval(self.interval)


def test_the_counter_sees_who_keeps_the_interpreter():
    """Control: pure Python that never lets go leaves the count where it is."""
    with Counter() as counter:
        time.sleep(0.01)
        before = counter.count
        sum(range(2_000_000))
        assert counter.count == before


@pytest.mark.parametrize("work", ["compile", "commit", "prove", "verify", "card"])
def test_other_threads_go_on(work, x, model, secret, run, verifier, proof):
    onnx = ONNX.read_bytes()
    calls = {
        "compile": lambda: zkinfer.compile(onnx, x),
        "commit": lambda: model.commit(),
        "prove": lambda: secret.prove(run),
        "verify": lambda: verifier.verify(proof, input=x[0], context=b"nonce"),
        "card": lambda: zkinfer.Verifier(secret.card),
    }
    call = calls[work]
    with Counter() as counter:
        before = counter.count
        # Whenever the call lets go, the other thread may run; when it does is up to a busy machine's scheduler.
        for _ in range(200):
            call()
            if counter.count > before:
                break
        after = counter.count
    assert after > before


def test_many_threads_at_once(x, secret, verifier):
    def one(i: int) -> bool:
        context = str(i).encode()
        run = secret.infer(x[i])
        proof = secret.prove(run, context=context)
        return verifier.receipt(proof, input=x[i], output=run.output, context=context).accepted

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(one, range(8)))


STAGES = {
    "compile": ["import", "calibrate", "lower", "evaluate", "done"],
    "commit": ["commit", "support", "done"],
    "prove": ["key", "witness", "fold", "sums", "open", "link", "done"],
    "prove several": ["key", "witness", "fold", "sums", "open", "link", "done"],
    "evaluate": ["evaluate", "done"],
}


def calls(x, model, secret, run):
    return {
        "compile": lambda progress: zkinfer.compile(ONNX, x, progress=progress),
        "commit": lambda progress: model.commit(progress=progress),
        "prove": lambda progress: secret.prove(run, progress=progress),
        "prove several": lambda progress: secret.prove([run, run], progress=progress),
        "evaluate": lambda progress: model.evaluate(x[:2], progress=progress),
    }


@pytest.mark.parametrize("work", STAGES)
def test_progress(work, x, model, secret, run):
    told: list[tuple[str, float]] = []
    calls(x, model, secret, run)[work](lambda stage, fraction: told.append((stage, fraction)))
    assert [stage for stage, _ in itertools.groupby(told, key=lambda t: t[0])] == STAGES[work]
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0 and fractions[-1] == 1.0


class Enough(Exception):
    pass


@pytest.mark.parametrize("work", STAGES)
def test_an_exception_in_the_callback_stops_the_work(work, x, model, secret, run):
    call = calls(x, model, secret, run)[work]
    for last in STAGES[work]:
        told: list[str] = []

        def progress(stage: str, fraction: float, last: str = last, told: list[str] = told) -> None:
            told.append(stage)
            if stage == last:
                raise Enough(stage)

        with pytest.raises(Enough, match=last):
            call(progress)
        # Nothing is told after that, and what was stopped can be done again.
        assert told[-1] == last and told.count(last) == 1
    assert call(None) is not None


def test_exceptions_that_end_programs_get_through(secret, run):
    def interrupt(stage: str, fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        secret.prove(run, progress=interrupt)
    with pytest.raises(TypeError):
        secret.prove(run, progress=lambda: None)
    with pytest.raises(TypeError):
        secret.prove(run, progress="not callable")


def test_many_proofs(x, secret, verifier, run):
    runs = secret.infer_many(x[:6])
    proofs = [secret.prove(r, context=b"%d" % i).to_bytes() for i, r in enumerate(runs)]
    proofs[2], proofs[4] = proofs[4], proofs[2][:100]
    old = zkinfer.Verifier(FIXTURES / "cnn.card")
    taken = 0

    def checks():
        nonlocal taken
        for i, proof in enumerate(proofs):
            taken += 1
            yield verifier.check(proof, input=x[i], context=b"%d" % i)
        yield old.check(FIXTURES / "cnn_0.proof", context=b"cnn")
        yield old.check(FIXTURES / "cnn_3.runs", context=b"cnn")

    receipts = zkinfer.verify_many(checks(), chunk=3)
    assert taken == 0
    first = next(receipts)
    assert taken == 3 and first.accepted
    codes = [first.code, *(r.code for r in receipts)]
    assert codes == [None, None, "other_context", None, "damaged", None, None, None]
    assert list(receipts) == []
    one_by_one = verifier.receipt(proofs[0], input=x[0], context=b"0")
    assert one_by_one == first
    np.testing.assert_array_equal(first.verdict.output, runs[0].output)
    with pytest.raises(zkinfer.InputError):
        zkinfer.verify_many([], chunk=0)


def test_an_iterable_that_raises(x, verifier, proof):
    def checks():
        yield verifier.check(proof, input=x[0], context=b"nonce")
        raise Enough

    receipts = zkinfer.verify_many(checks())
    assert next(receipts).accepted
    with pytest.raises(Enough):
        next(receipts)
    with pytest.raises(TypeError):
        next(zkinfer.verify_many([1]))


def in_child(queue: multiprocessing.SimpleQueue[bool]) -> None:
    verdict = zkinfer.verify(FIXTURES / "cnn.card", FIXTURES / "cnn_0.proof", context=b"cnn")
    queue.put(verdict.card == zkinfer.Card.load(FIXTURES / "cnn.card").digest)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_children(verifier, x, proof):
    """A child has none of its parent's threads: waiting for them would never end."""
    verifier.verify(proof, input=x[0], context=b"nonce")
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.SimpleQueue[bool] = context.SimpleQueue()
    child = context.Process(target=in_child, args=(queue,))
    child.start()
    child.join(120)
    if child.is_alive():
        child.kill()
        pytest.fail("the child hangs")
    assert child.exitcode == 0 and queue.get()
