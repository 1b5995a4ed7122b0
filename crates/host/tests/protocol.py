"""An unmodified client of the Open Inference Protocol lists, checks and infers, and answers equal `zkinfer infer`.

    pip install 'tritonclient[http]' pytest
    pytest crates/host/tests/protocol.py    # ZKINFER=target/release/zkinfer
"""

import json
import os
import pathlib
import subprocess
import time
import urllib.request

import numpy as np
import pytest
import tritonclient.http as client
from tritonclient.utils import InferenceServerException

ROOT = pathlib.Path(__file__).resolve().parents[3]
DATA = ROOT / "examples" / "data"
ZKINFER = os.environ.get("ZKINFER", str(ROOT / "target" / "release" / "zkinfer"))


def zkinfer(*arguments):
    done = subprocess.run([ZKINFER, "--json", *map(str, arguments)], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


class Host:
    def __init__(self, folder, *arguments):
        self.folder = folder
        command = [ZKINFER, "--json", "host", "digits.model", "--listen", "127.0.0.1:0", *arguments]
        with open(folder / "log", "w") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)
        listening = json.loads(self.process.stdout.readline())
        self.key = listening["key"]
        self.address = listening["url"].removeprefix("http://")
        self.client = client.InferenceServerClient(self.address)

    def stop(self):
        self.client.close()
        self.process.terminate()
        assert self.process.wait(60) == 0, (self.folder / "log").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("host")
    zkinfer("compile", DATA / "digits.onnx", "--calibration", DATA / "digits.npz", "-o", folder / "digits")
    return folder


@pytest.fixture(scope="module")
def host(folder):
    host = Host(folder)
    yield host
    host.stop()


@pytest.fixture(scope="module")
def samples():
    return np.load(DATA / "digits.npz")["x0"].astype(np.float32)


@pytest.fixture(scope="module")
def expected(folder):
    """What `zkinfer infer` says of every sample, as single precision."""
    lines = zkinfer("infer", folder / "digits.model", "--input", DATA / "digits.npz", "--all")
    return [np.array(line["output"][0], dtype=np.float32) for line in lines]


def question(sample, binary):
    tensor = client.InferInput("input", [1, 64], "FP32")
    tensor.set_data_from_numpy(sample.reshape(1, 64), binary_data=binary)
    return [tensor]


def test_lists_and_checks(host, folder):
    digest = zkinfer("inspect", folder / "digits.card")[0]["digest"]
    assert host.client.is_server_live() and host.client.is_server_ready()
    assert host.client.get_server_metadata()["name"] == "zkinfer"
    index = host.client.get_model_repository_index()
    assert [(m["name"], m["version"], m["state"]) for m in index] == [("digits", digest, "READY")]
    assert host.client.is_model_ready("digits") and host.client.is_model_ready("digits", digest)
    assert not host.client.is_model_ready("other")
    metadata = host.client.get_model_metadata("digits", digest)
    assert metadata["versions"] == [digest]
    assert metadata["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [1, 64]}]


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("wanted", [True, False, None])
def test_infers_bit_for_bit(host, samples, expected, sent, wanted):
    outputs = None if wanted is None else [client.InferRequestedOutput("output", binary_data=wanted)]
    assert len(samples) == len(expected)
    for sample, numbers in zip(samples, expected):
        answer = host.client.infer("digits", question(sample, sent), outputs=outputs)
        values = answer.as_numpy("output")
        assert values.dtype == np.float32
        assert values.tobytes() == numbers.tobytes()


def test_answers_carry_slips_and_proofs(host, folder, samples):
    parameters = {"zkinfer_proof": "now", "zkinfer_context": "00ff", "zkinfer_integers": True}
    answer = host.client.infer("digits", question(samples[0], True), parameters=parameters, request_id="7")
    response = answer.get_response()
    slip = json.loads(response["parameters"]["zkinfer_slip"])
    assert response["id"] == "7" and slip["host"] == host.key and slip["context"] == "00ff"
    assert slip["card"] == response["model_version"]
    assert answer.as_numpy("zkinfer_integers").dtype == np.uint16
    proof = folder / "run.proof"
    with client.InferenceServerClient(host.address) as again:
        proof.write_bytes(again._get(f"v1/runs/{slip['run']}/proof", None, None).read())
    verify = ["verify", folder / "digits.card", proof, "--input", DATA / "digits.npz", "--context-hex"]
    accepted = subprocess.run([ZKINFER, *map(str, verify), "00ff"], capture_output=True)
    assert accepted.returncode == 0, accepted.stderr
    refused = subprocess.run([ZKINFER, *map(str, verify), "00fe"], capture_output=True)
    assert refused.returncode == 1


def test_says_what_is_wrong(host, samples):
    with pytest.raises(InferenceServerException, match='there is no model "other"'):
        host.client.infer("other", question(samples[0], True))
    with pytest.raises(InferenceServerException, match="one request is one run"):
        tensor = client.InferInput("input", [2, 64], "FP32")
        tensor.set_data_from_numpy(np.zeros((2, 64), np.float32))
        host.client.infer("digits", [tensor])
    with pytest.raises(InferenceServerException, match="input.*1000000"):
        host.client.infer("digits", question(np.full(64, 1e6, np.float32), True))


def test_a_stopped_host_goes_on(folder, samples):
    arguments = ["--store", "again.redb", "--key-file", "again.key"]
    first = Host(folder, *arguments, "--provers", "0")
    answer = first.client.infer("digits", question(samples[0], True), parameters={"zkinfer_proof": "later"})
    slip = json.loads(answer.get_response()["parameters"]["zkinfer_slip"])
    first.process.kill()
    first.process.wait(60)
    second = Host(folder, *arguments)
    assert second.key == first.key
    answer = second.client.infer("digits", question(samples[1], True), parameters={"zkinfer_proof": "now"})
    assert json.loads(answer.get_response()["parameters"]["zkinfer_slip"])["sequence"] > slip["sequence"]
    # The earlier promise was due first.
    assert second.client._get(f"v1/runs/{slip['run']}/proof", None, None).status_code == 200
    second.stop()


def run(*arguments):
    return subprocess.run([ZKINFER, *map(str, arguments)], capture_output=True, text=True)


def test_a_buyer_audits(host, folder):
    pin = ["--card", folder / "digits.card", "--host-key", host.key]
    log = folder / "audit.jsonl"
    ask = [f"http://{host.address}", *pin, "--input", DATA / "digits.npz", "--all", "--log", log]
    lines = zkinfer("ask", *ask, "--gain", "1", "--stake", "3")
    # (1 / (1 + 3)) twice: half of 30 answers, none or all of them once in 2^30 times.
    assert lines[-1]["answers"] == 30 and 0 < lines[-1]["proven"] < 30
    assert lines[-1]["pending"] == lines[-1]["bad"] == 0
    assert sum(line["asked"] for line in lines[:-1]) == lines[-1]["proven"]
    summary = zkinfer("audit", log, *pin)[0]
    assert summary["answers"] == 30 and summary["proven"] == lines[-1]["proven"]
    # Somebody changes what the host said.
    text = log.read_text()
    (folder / "changed.jsonl").write_text(text.replace('"sequence":', '"sequence":1', 1))
    changed = run("audit", folder / "changed.jsonl", *pin)
    assert changed.returncode == 2 and "line 1" in changed.stderr and "signature" in changed.stderr
    other = run("audit", log, "--card", folder / "digits.card", "--host-key", "02" + "00" * 30 + "00")
    assert other.returncode == 2 and "Ed25519" in other.stderr
    hopeless = run("ask", *ask, "--gain", "1", "--stake", "0", "--run-cost", "1")
    assert hopeless.returncode == 2 and "at stake" in hopeless.stderr


def test_a_host_that_breaks_its_word(folder):
    arguments = ["--store", "late.redb", "--key-file", "late.key"]
    late = Host(folder, *arguments, "--provers", "0", "--prove-within", "1")
    pin = ["--card", folder / "digits.card", "--host-key", late.key]
    log = folder / "late.jsonl"
    asked = run("ask", f"http://{late.address}", *pin, "--input", DATA / "digits.npz", "--rate", "1", "--log", log)
    assert asked.returncode == 1 and "1 not proven" in asked.stdout, asked
    late.stop()
    audited = run("audit", log, *pin, "--evidence", folder / "evidence")
    assert audited.returncode == 1 and "1 overdue" in audited.stdout, audited
    [evidence] = (folder / "evidence").iterdir()
    confirmed = run("evidence", evidence, *pin)
    assert confirmed.returncode == 0 and "confirmed: the host promised a proof" in confirmed.stdout
    # Nobody else signed that, and of another model it says nothing.
    for wrong in (["--card", folder / "digits.card", "--host-key", "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"],):
        refused = run("evidence", evidence, *wrong)
        assert refused.returncode == 1 and "not of host" in refused.stdout
    # The host shows the proof, which it made after all.
    again = Host(folder, *arguments)
    claim = json.loads(evidence.read_text())["claim"]
    path = f"v1/runs/{claim['slip']['run']}"
    for _ in range(600):
        proof = again.client._get(f"{path}/proof", None, None)
        if proof.status_code == 200:
            break
        time.sleep(0.1)
    (folder / "shown.proof").write_bytes(proof.read())
    again.stop()
    settled = run("evidence", evidence, *pin, "--shown", folder / "shown.proof")
    assert settled.returncode == 1 and "kept its word" in settled.stdout


def test_pending_proofs_are_picked_up_after_a_restart(folder):
    arguments = ["--store", "pending.redb", "--key-file", "pending.key"]
    slow = Host(folder, *arguments, "--provers", "0")
    pin = ["--card", folder / "digits.card", "--host-key", slow.key]
    log = folder / "pending.jsonl"
    ask = [*pin, "--input", DATA / "digits.npz", "--rate", "1", "--log", log]
    assert zkinfer("ask", f"http://{slow.address}", *ask, "--wait", "0")[-1]["pending"] == 1
    assert zkinfer("audit", log, *pin)[0]["pending"] == 1
    # A host that is not there has until the proof is due.
    slow.stop()
    assert zkinfer("audit", log, *pin, "--fetch", f"http://{slow.address}")[0]["pending"] == 1
    host = Host(folder, *arguments)
    # The next call to ask goes on with what the first one left.
    done = zkinfer("ask", f"http://{host.address}", *ask)[-1]
    assert (done["earlier"], done["proven"], done["pending"]) == (1, 2, 0)
    zkinfer("ask", f"http://{host.address}", *ask, "--wait", "0")
    fetched = zkinfer("audit", log, *pin, "--fetch", f"http://{host.address}", "--wait", "60")[0]
    assert (fetched["asked"], fetched["proven"], fetched["pending"]) == (3, 3, 0)
    host.stop()
    missing = run("audit", folder / "none.jsonl", *pin, "--fetch", f"http://{host.address}")
    assert missing.returncode == 2 and "cannot open" in missing.stderr
    assert not (folder / "none.jsonl").exists()


def test_tokens(folder, samples):
    tokens = folder / "tokens.json"
    alice = zkinfer("token", "alice", "--file", tokens, *(f"--scope={s}" for s in ("infer", "prove", "read")))[0]
    (folder / "alice.token").write_text(alice["token"] + "\n")
    assert alice["token"] not in tokens.read_text()
    host = Host(folder, "--store", "tokens.redb", "--key-file", "tokens.key", "--tokens", tokens)
    ask = ["ask", f"http://{host.address}", "--card", folder / "digits.card", "--host-key", host.key]
    ask += ["--input", DATA / "digits.npz", "--rate", "1"]
    refused = run(*ask)
    assert refused.returncode == 2 and "status 401" in refused.stderr and "Bearer TOKEN" in refused.stderr
    assert run(*ask, "--token-file", folder / "alice.token").returncode == 0
    # A client of the protocol sends it as a header.
    bearer = {"Authorization": f"Bearer {alice['token']}"}
    assert host.client.infer("digits", question(samples[0], True), headers=bearer).as_numpy("output") is not None
    with pytest.raises(InferenceServerException, match="Bearer TOKEN"):
        host.client.infer("digits", question(samples[0], True))
    # It is revoked while the host runs.
    zkinfer("token", "alice", "--file", tokens, "--revoke")
    for _ in range(600):
        gone = run(*ask[:-1], "0", "--token-file", folder / "alice.token")
        if gone.returncode == 2:
            break
        time.sleep(0.1)
    assert "not known, or not any more" in gone.stderr
    host.stop()


def test_keys_are_rotated(folder, samples):
    old, new, keys = (folder / name for name in ("first.key", "second.key", "keys.json"))
    arguments = ["--store", "rotated.redb"]
    card = folder / "digits.card"
    # What the old key signed: one promise that will be late, one that is kept, and an answer that nobody asked about.
    late = Host(folder, *arguments, "--key-file", old, "--provers", "0", "--prove-within", "1")
    pin = ["--card", card, "--host-key", late.key]
    ask = ["--input", DATA / "digits.npz", "--rate", "1"]
    asked = run("ask", f"http://{late.address}", *pin, *ask, "--wait", "30", "--log", folder / "late2.jsonl")
    assert asked.returncode == 1
    late.stop()
    first = Host(folder, *arguments, "--key-file", old, "--provers", "0")
    log = folder / "rotated.jsonl"
    assert zkinfer("ask", f"http://{first.address}", *pin, *ask, "--wait", "0", "--log", log)[-1]["pending"] == 1
    answer = first.client.infer("digits", question(samples[0], True))
    slip = json.loads(answer.get_response()["parameters"]["zkinfer_slip"])
    first.stop()

    rotated = zkinfer("rotate", "--key-file", old, "--to", new, "--keys", keys)[0]
    assert rotated["from"] == first.key != rotated["to"]
    wrong = run("host", "digits.model", "--key-file", old, "--keys", keys, "--store", folder / "wrong.redb")
    assert wrong.returncode == 2 and "goes on to" in wrong.stderr
    second = Host(folder, *arguments, "--key-file", new, "--earlier-key-file", old, "--keys", keys)
    assert second.key == rotated["to"]
    # What it promises of an earlier answer is signed as the answer is.
    prove = f"http://{second.address}/v1/runs/{slip['run']}/prove"
    with urllib.request.urlopen(urllib.request.Request(prove, b"", method="POST")) as promise:
        assert json.load(promise)["host"] == first.key
    # A buyer who pinned the old key follows the list that the host publishes, and not without it.
    with urllib.request.urlopen(f"http://{second.address}/v1/keys") as published:
        (folder / "published.json").write_bytes(published.read())
    url = f"http://{second.address}"
    refused = run("ask", url, *pin, *ask)
    assert refused.returncode == 2 and "not of host" in refused.stderr
    follow = ["--keys", folder / "published.json"]
    done = zkinfer("ask", url, *pin, *follow, *ask, "--wait", "60", "--log", log)[-1]
    assert (done["earlier"], done["proven"], done["bad"]) == (1, 2, 0)
    second.stop()
    # The log of both keys, and evidence against the old one, by whichever key somebody knows.
    for key in (first.key, second.key):
        known = ["--card", card, "--host-key", key, *follow]
        assert zkinfer("audit", log, *known)[0]["proven"] == 2
        audited = run("audit", folder / "late2.jsonl", *known, "--evidence", folder / f"by-{key}")
        assert audited.returncode == 1
        [evidence] = (folder / f"by-{key}").iterdir()
        assert run("evidence", evidence, *known).returncode == 0
    alone = run("evidence", evidence, "--card", card, "--host-key", second.key)
    assert alone.returncode == 1 and "not of host" in alone.stdout
    # A host without the old key says so.
    third = Host(folder, "--store", "rotated.redb", "--key-file", new)
    answer = third.client.infer("digits", question(samples[0], True))
    assert json.loads(answer.get_response()["parameters"]["zkinfer_slip"])["host"] == second.key
    third.stop()


def test_models_of_segments(folder, samples):
    parts = folder / "parts"
    parts.mkdir()
    zkinfer("compile", DATA / "digits.onnx", "--calibration", DATA / "digits.npz", "--segments", "2", "-o", parts / "digits")
    [card] = zkinfer("inspect", parts / "digits.card")
    host = Host(parts)
    pin = ["--card", parts / "digits.card", "--host-key", host.key]
    assert card["segments"] == 2
    # Answered as they are run, and proven in all their parts.
    lines = zkinfer("infer", parts / "digits.model", "--input", DATA / "digits.npz", "--all")
    log = parts / "audit.jsonl"
    asked = zkinfer("ask", f"http://{host.address}", *pin, "--input", DATA / "digits.npz", "--all", "--rate", "0.2", "--log", log)
    for line, answer in zip(lines, asked[:-1], strict=True):
        assert np.float32(line["output"][0]).tobytes() == np.float32(answer["output"][0]).tobytes()
    assert asked[-1]["bad"] == asked[-1]["pending"] == 0
    summary = zkinfer("audit", log, *pin)[0]
    assert summary["proven"] == summary["asked"] == asked[-1]["proven"]
    metadata = host.client.get_model_metadata("digits", card["digest"])
    assert metadata["outputs"][0]["shape"] == [1, 10]
    host.stop()


def test_a_host_that_is_stopped_at_once(folder):
    for _ in range(5):
        # As soon as it says that it listens.
        Host(folder, "--store", "stopped.redb").stop()
