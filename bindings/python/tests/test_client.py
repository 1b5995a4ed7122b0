"""Buying answers from a real `zkinfer host`, and from one behind a proxy that lies."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import zkinfer
from conftest import ROOT

GIVEN = os.environ.get("ZKINFER")
ZKINFER = Path(GIVEN or ROOT / "target" / "release" / "zkinfer")
pytestmark = pytest.mark.skipif(
    GIVEN is None and not ZKINFER.exists(), reason="needs the command line: cargo build --release, or ZKINFER=PATH"
)


class Host:
    """`zkinfer host` with the digits."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [ZKINFER, "--json", "host", "digits.model", "--listen", "127.0.0.1:0", *arguments]
        with (folder / "host.txt").open("w") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        listening = json.loads(self.process.stdout.readline())
        self.url, self.key = listening["url"], listening["key"]

        RUNNING.append(self)

    def stop(self) -> None:
        RUNNING.remove(self)
        self.process.terminate()
        assert self.process.wait(60) == 0
        assert self.process.stdout is not None
        self.process.stdout.close()


RUNNING: list[Host] = []


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Hosts of tests that failed do not stay."""
    yield
    for host in RUNNING[:]:
        host.stop()


Change = Callable[[str, int, bytes], "tuple[int, bytes]"]


class Proxy:
    """Between client and host: changes answers, by path, status and body."""

    def __init__(self, url: str, change: Change) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                length = int(self.headers.get("content-length", 0))
                body = self.rfile.read(length) if self.command == "POST" else None
                request = urllib.request.Request(url + self.path, body, method=self.command)
                request.add_header("content-type", "application/json")
                try:
                    with urllib.request.urlopen(request) as answer:
                        status, got = answer.status, answer.read()
                except urllib.error.HTTPError as error:
                    status, got = error.code, error.read()
                    error.close()
                status, got = change(self.path, status, got)
                self.send_response(status)
                self.send_header("content-length", str(len(got)))
                self.end_headers()
                self.wfile.write(got)

            do_GET = do_POST = forward

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def folder(secret, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("host")
    secret.save(folder / "digits.model")
    secret.card.save(folder / "digits.card")
    return folder


@pytest.fixture(scope="module")
def host(folder) -> Iterator[Host]:
    host = Host(folder)
    yield host
    host.stop()


def cli(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ZKINFER, *map(str, arguments)], capture_output=True, text=True, timeout=120)


def test_an_honest_host_is_audited(host, folder, secret, x, tmp_path):
    log = tmp_path / "audit.jsonl"
    card = folder / "digits.card"
    with zkinfer.Client(host.url, card, host.key, rate=1, model="digits", log=log) as client:
        for sample in x[:4]:
            answer = client.infer(sample)
            run = secret.infer(sample)
            assert answer.output.tobytes() == run.output.tobytes()
            assert answer.output.shape == run.output.shape
            assert answer.slip["host"] == host.key and answer.slip["run"] == answer.run
            assert answer.slip["card"] == secret.card.digest
            assert answer.audit.state == "pending" and answer.audit.evidence is None
            assert answer.audit.due > answer.slip["time"]
        outcomes = client.wait(60)
        assert [o.state for o in outcomes] == ["proven"] * 4 and client.pending == 0
    summary = zkinfer.audit(log, card, host.key)
    assert (summary["answers"], summary["asked"], summary["proven"], summary["confirmed"]) == (4, 4, 4, [])
    # The command line reads the same log.
    audited = cli("--json", "audit", log, "--card", card, "--host-key", host.key)
    assert audited.returncode == 0 and json.loads(audited.stdout) == summary
    with pytest.raises(zkinfer.InputError, match="closed"):
        client.infer(x[0])


def test_the_rate_is_given_or_follows_from_money(host, secret, x):
    def asked(**policy: float) -> int:
        with zkinfer.Client(host.url, secret.card, host.key, model="digits", **policy) as client:
            return sum(client.infer(sample).audit is not None for sample in x)

    assert asked(rate=0) == 0 and asked(rate=1) == len(x)
    # 1 / (1 + 1) twice is 1; half of that asks about some and not about others, but for one in 2^29 times.
    assert asked(gain=1, stake=1) == len(x)
    assert 0 < asked(gain=1, stake=1, margin=1) < len(x)
    for policy in ({}, {"rate": 0.1, "gain": 1.0}, {"gain": 1.0}, {"rate": 1.5}, {"rate": float("nan")}):
        with pytest.raises(zkinfer.InputError, match="rate"):
            asked(**policy)
    with pytest.raises(zkinfer.InputError, match="at stake"):
        asked(gain=1, stake=0, run_cost=1)
    with pytest.raises(zkinfer.InputError, match="sampling_margin|margin"):
        asked(gain=1, stake=1, margin=0.5)


def test_arguments_that_do_not_fit(host, secret, x, tmp_path):
    def client(**more: object) -> zkinfer.Client:
        arguments = {"url": host.url, "card": secret.card, "host_key": host.key, "rate": 0.0, "model": "digits", **more}
        return zkinfer.Client(**arguments)

    with pytest.raises(zkinfer.InputError, match="host_key"):
        client(host_key="00")
    with pytest.raises(zkinfer.DecodeError):
        client(card=b"no card")
    with pytest.raises(zkinfer.InputError, match="timeout is -1"):
        client(timeout=-1)
    with pytest.raises(zkinfer.InputError, match="expected shape"):
        client().infer(x[0][:3])
    with pytest.raises(zkinfer.InferError, match="1000000"):
        client().infer(np.full(64, 1e6, np.float32))
    with pytest.raises(FileNotFoundError):
        client(log=tmp_path / "no folder" / "audit.jsonl")
    (tmp_path / "none.jsonl").write_text("{}\n")
    with pytest.raises(zkinfer.InputError, match="line 1"):
        client(log=tmp_path / "none.jsonl")
    with pytest.raises(zkinfer.InputError, match="line 1"):
        zkinfer.audit(tmp_path / "none.jsonl", secret.card, host.key)
    with pytest.raises(zkinfer.HostError, match="other") as error:
        client(model="other").infer(x[0])
    assert error.value.status == 404
    with pytest.raises(zkinfer.HostError) as error:
        client(url="http://127.0.0.1:1").infer(x[0])
    assert error.value.status is None


def test_pending_proofs_are_picked_up_after_a_restart(folder, secret, x, tmp_path):
    log = tmp_path / "audit.jsonl"
    slow = Host(folder, "--store", "slow.redb", "--key-file", "slow.key", "--provers", "0")
    with zkinfer.Client(slow.url, secret.card, slow.key, rate=1, model="digits", log=log) as client:
        assert client.infer(x[0]).audit.state == "pending"
        assert client.wait(0.0) == [] and client.settle() == []
        with pytest.raises(OSError, match="another client writes to it"):
            zkinfer.Client(slow.url, secret.card, slow.key, rate=1, log=log)
    slow.stop()
    again = Host(folder, "--store", "slow.redb", "--key-file", "slow.key")
    with zkinfer.Client(again.url, secret.card, again.key, rate=0, model="digits", log=log) as client:
        assert client.pending == 1
        assert [o.state for o in client.wait(60)] == ["proven"]
    again.stop()
    assert zkinfer.audit(log, secret.card, again.key)["proven"] == 1


def test_a_host_that_breaks_its_word(folder, secret, x, tmp_path):
    late = Host(folder, "--store", "late.redb", "--key-file", "late.key", "--provers", "0", "--prove-within", "1")
    with zkinfer.Client(late.url, secret.card, late.key, rate=1, model="digits") as client:
        run = client.infer(x[0]).run
        [outcome] = client.wait(60)
    late.stop()
    assert (outcome.state, outcome.run) == ("overdue", run)
    evidence = outcome.evidence
    assert evidence.kind == "overdue"
    assert evidence.judge(secret.card, late.key)["finding"] == "overdue"
    evidence.save(tmp_path / "evidence.json")
    judged = cli("evidence", tmp_path / "evidence.json", "--card", folder / "digits.card", "--host-key", late.key)
    assert judged.returncode == 0 and "confirmed" in judged.stdout, judged
    again = zkinfer.Evidence.load(tmp_path / "evidence.json")
    assert again.to_json() == evidence.to_json() == zkinfer.Evidence.from_json(again.to_json()).to_json()
    other = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    with pytest.raises(zkinfer.EvidenceError, match="not of host"):
        again.judge(secret.card, other)
    # What the host shows settles it.
    context = bytes.fromhex(json.loads(again.to_json())["claim"]["slip"]["context"])
    proof = secret.prove(secret.infer(x[0]), context=context)
    with pytest.raises(zkinfer.EvidenceError, match="kept its word"):
        again.judge(secret.card, late.key, shown=proof.to_bytes())


def altered(path: str, status: int, body: bytes) -> tuple[int, bytes]:
    """Another number in the output."""
    if not path.endswith("/infer"):
        return status, body
    answer = json.loads(body)
    output = answer["outputs"][0]["data"]
    output[0] = np.nextafter(np.float32(output[0]), np.float32(100)).item()
    return status, json.dumps(answer).encode()


def test_altered_answers_are_not_accepted(host, secret, x, tmp_path):
    log = tmp_path / "audit.jsonl"
    with Proxy(host.url, altered) as proxy:
        with zkinfer.Client(proxy.url, secret.card, host.key, rate=1, model="digits", log=log) as client:
            with pytest.raises(zkinfer.UnboundError, match="not what its signed integers stand for") as error:
                client.infer(x[0])
    assert error.value.evidence is None and isinstance(error.value, zkinfer.HostError)
    summary = zkinfer.audit(log, secret.card, host.key)
    assert (summary["answers"], summary["unbound"]) == (0, 1)
    # Control: the proxy that changes nothing.
    with Proxy(host.url, lambda _, status, body: (status, body)) as proxy:
        with zkinfer.Client(proxy.url, secret.card, host.key, rate=1, model="digits") as client:
            client.infer(x[0])
            assert [o.state for o in client.wait(60)] == ["proven"]


def test_replayed_answers_are_not_accepted(host, secret, x):
    first: list[bytes] = []

    def replayed(path: str, status: int, body: bytes) -> tuple[int, bytes]:
        if path.endswith("/infer"):
            first.append(body)
            return status, first[0]
        return status, body

    with Proxy(host.url, replayed) as proxy:
        with zkinfer.Client(proxy.url, secret.card, host.key, rate=0, model="digits") as client:
            client.infer(x[0])
            with pytest.raises(zkinfer.UnboundError, match="another question"):
                client.infer(x[0])


def test_refused_proofs_are_complaints(host, secret, x):
    def refused(path: str, status: int, body: bytes) -> tuple[int, bytes]:
        return (403, b"no") if path.endswith("/prove") else (status, body)

    with Proxy(host.url, refused) as proxy:
        with zkinfer.Client(proxy.url, secret.card, host.key, rate=1, model="digits") as client:
            outcome = client.infer(x[0]).audit
            assert client.pending == 0
    assert outcome.state == "refused" and outcome.evidence.kind == "unanswered"
    with pytest.raises(zkinfer.EvidenceError, match="nothing is shown"):
        outcome.evidence.judge(secret.card, host.key)


def test_threads_share_a_client(host, secret, x, tmp_path):
    log = tmp_path / "audit.jsonl"
    with zkinfer.Client(host.url, secret.card, host.key, rate=0.2, model="digits", log=log) as client:
        with ThreadPoolExecutor(8) as pool:
            outputs = list(pool.map(lambda sample: client.infer(sample).output, x))
        client.wait(60)
    for sample, output in zip(x, outputs):
        np.testing.assert_array_equal(output, secret.infer(sample).output)
    summary = zkinfer.audit(log, secret.card, host.key)
    assert summary["answers"] == len(x) and summary["asked"] == summary["proven"]


def test_asyncio(host, secret, x, tmp_path):
    log = tmp_path / "audit.jsonl"

    async def buy() -> list[str]:
        async with zkinfer.AsyncClient(host.url, secret.card, host.key, rate=1, model="digits", log=log) as client:
            answers = await asyncio.gather(*(client.infer(sample) for sample in x[:8]))
            for sample, answer in zip(x, answers):
                np.testing.assert_array_equal(answer.output, secret.infer(sample).output)
            return [outcome.state for outcome in await client.wait(60)]

    assert asyncio.run(buy()) == ["proven"] * 8
    assert zkinfer.audit(log, secret.card, host.key)["proven"] == 8


def test_questions_are_open_at_the_same_time_and_can_be_cancelled(host, secret, x, tmp_path):
    log = tmp_path / "audit.jsonl"
    here = threading.Barrier(4, timeout=60)
    all_here = threading.Event()
    go_on = threading.Event()

    def held(path: str, status: int, body: bytes) -> tuple[int, bytes]:
        if path.endswith("/infer"):
            # Passes only if four are here at once.
            here.wait()
            all_here.set()
            go_on.wait(60)
        return status, body

    async def buy(url: str) -> None:
        async with zkinfer.AsyncClient(url, secret.card, host.key, rate=1, model="digits", log=log, threads=4) as client:
            tasks = [asyncio.create_task(client.infer(sample)) for sample in x[:5]]
            assert await asyncio.to_thread(all_here.wait, 60)
            for task in tasks:
                task.cancel()
            # Nobody waits for the host, which has not answered yet.
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(d, asyncio.CancelledError) for d in done)
            go_on.set()
            # Four were sent, and are answers like others; the fifth was not asked.
            while zkinfer.audit(log, secret.card, host.key)["asked"] < 4:
                await asyncio.sleep(0.05)
            assert {outcome.state for outcome in await client.wait(60)} == {"proven"}

    with Proxy(host.url, held) as proxy:
        asyncio.run(buy(proxy.url))
    summary = zkinfer.audit(log, secret.card, host.key)
    assert (summary["answers"], summary["proven"]) == (4, 4)


def in_child(client: zkinfer.Client, x: np.ndarray, queue: multiprocessing.SimpleQueue[str]) -> None:
    try:
        client.infer(x)
    except zkinfer.InputError as error:
        queue.put(str(error))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_children_have_clients_of_their_own(host, secret, x):
    client = zkinfer.Client(host.url, secret.card, host.key, rate=0, model="digits")
    client.infer(x[0])
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.SimpleQueue[str] = context.SimpleQueue()
    child = context.Process(target=in_child, args=(client, x[0], queue))
    child.start()
    child.join(60)
    assert child.exitcode == 0 and "another process" in queue.get()


def test_hosts_that_ask_for_tokens(folder, secret, x):
    made = cli("--json", "token", "alice", "--file", folder / "tokens.json", "--scope", "infer")
    token = json.loads(made.stdout)["token"]
    host = Host(folder, "--store", "tokens.redb", "--key-file", "tokens.key", "--tokens", "tokens.json")
    with zkinfer.Client(host.url, secret.card, host.key, rate=0, model="digits") as client:
        with pytest.raises(zkinfer.HostError, match="Bearer TOKEN") as error:
            client.infer(x[0])
    assert error.value.status == 401
    with zkinfer.Client(host.url, secret.card, host.key, rate=1, model="digits", token=token) as client:
        answer = client.infer(x[0])
    # It may ask, and not for proofs.
    np.testing.assert_array_equal(answer.output, secret.infer(x[0]).output)
    assert answer.audit.state == "refused" and "scope prove" in answer.audit.evidence.to_json()
    host.stop()
    with pytest.raises(zkinfer.InputError, match="a token is"):
        zkinfer.Client(host.url, secret.card, host.key, rate=0, token="two words")


def test_key_lists_are_followed(folder, secret, x, tmp_path):
    old = Host(folder, "--store", "keys.redb", "--key-file", "first.key")
    with zkinfer.Client(old.url, secret.card, old.key, rate=0, model="digits") as client:
        assert client.infer(x[0]).slip["host"] == old.key
    old.stop()
    keys = folder / "keys.json"
    assert cli("rotate", "--key-file", folder / "first.key", "--to", folder / "next.key", "--keys", keys).returncode == 0
    new = Host(folder, "--store", "keys.redb", "--key-file", "next.key", "--keys", "keys.json")
    with zkinfer.Client(new.url, secret.card, old.key, rate=0, model="digits") as client:
        with pytest.raises(zkinfer.UnboundError, match="not of host"):
            client.infer(x[0])
    log = tmp_path / "audit.jsonl"
    with zkinfer.Client(new.url, secret.card, old.key, keys=keys, rate=1, model="digits", log=log) as client:
        assert client.infer(x[0]).slip["host"] == new.key != old.key
        assert [o.state for o in client.wait(60)] == ["proven"]
    new.stop()
    for key in (old.key, new.key):
        assert zkinfer.audit(log, secret.card, key, keys=keys.read_bytes())["proven"] == 1
    with pytest.raises(zkinfer.InputError, match="not of host"):
        zkinfer.audit(log, secret.card, old.key)
    other = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    with pytest.raises(zkinfer.InputError, match="keys: the key 3d4017c3.* is not in the key list"):
        zkinfer.audit(log, secret.card, other, keys=keys)
