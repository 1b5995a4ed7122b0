"""An unmodified client of the Open Inference Protocol lists, checks and infers, and answers equal `zkinfer infer`.

    pip install 'tritonclient[http]' pytest
    pytest crates/host/tests/protocol.py    # ZKINFER=target/release/zkinfer
"""

import json
import os
import pathlib
import subprocess

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
