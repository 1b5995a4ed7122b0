"""Two verification services that share a PostgreSQL, which this test starts: a context that one of them accepted is used
up for both, also after restarts, and one that was used before they shared stays so.

    pip install 'tritonclient[http]' pytest
    pytest crates/server/tests/shared.py          # ZKINFER=target/release/zkinfer, initdb and pg_ctl in PATH
"""

import base64
import concurrent.futures
import json
import pathlib
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "host" / "tests"))
from protocol import ROOT, ZKINFER  # noqa: E402
from replicas import database  # noqa: E402, F401

FIXTURES = ROOT / "tests" / "fixtures"


class Server:
    def __init__(self, folder, name, *arguments):
        command = [ZKINFER, "--json", "serve", "--store", f"{name}.redb", "--card", FIXTURES / "digits.card", *arguments]
        with open(folder / f"{name}.txt", "w") as log:
            self.process = subprocess.Popen(
                [*map(str, command), "--listen", "127.0.0.1:0"], cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.url = json.loads(self.process.stdout.readline())["url"]

    def stop(self):
        self.process.terminate()
        assert self.process.wait(60) == 0

    def post(self, path, body):
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def metric(self, name):
        with urllib.request.urlopen(f"{self.url}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return float(next(line for line in lines if line.startswith(name + " ")).split()[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="module")
def question():
    card = subprocess.run([ZKINFER, "--json", "inspect", FIXTURES / "digits.card"], capture_output=True, check=True)
    proof = base64.b64encode((FIXTURES / "digits_0.proof").read_bytes()).decode()
    return {"card": json.loads(card.stdout)["digest"], "proof": proof, "context_text": "digits", "once": True}


def test_a_context_is_used_up_for_all(database, folder, question):  # noqa: F811
    (folder / "database").write_text(database)
    shared = ["--database", "database"]
    first, second = Server(folder, "first", *shared), Server(folder, "second", *shared)
    # Of many at once, to both, one alone, or several times in a batch, one is accepted.
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        batch = {"proofs": [question] * 4}
        ones = [pool.submit(server.post, "/v1/verify", question) for server in [first, second] * 8]
        batches = [pool.submit(server.post, "/v1/verify/batch", batch) for server in [first, second] * 4]
        statuses = [one.result()[0] for one in ones]
        for answer in batches:
            status, results = answer.result()
            assert status == 200
            statuses += [result["status"] for result in results["results"]]
    assert sorted(statuses) == [200] + [409] * 47
    assert first.metric("zkinfer_store_contexts") == 1
    # Without `once`, nothing is used up.
    assert second.post("/v1/verify", {**question, "once": False})[0] == 200
    first.stop()
    second.stop()
    again = Server(folder, "first", *shared)
    status, problem = again.post("/v1/verify", question)
    assert status == 409 and problem["code"] == "replayed"
    again.stop()


def test_a_file_is_taken_over(database, folder, question):  # noqa: F811
    alone = Server(folder, "alone")
    assert alone.post("/v1/verify", question)[0] == 200
    alone.stop()
    own = database.replace("dbname=postgres", "dbname=template1")
    (folder / "own").write_text(own)
    shared = Server(folder, "alone", "--database", "own")
    assert shared.post("/v1/verify", question)[0] == 409
    other = Server(folder, "other", "--database", "own")
    assert other.post("/v1/verify", question)[0] == 409
    shared.stop()
    other.stop()
    # There is room for no other one, until there is.
    card = subprocess.run([ZKINFER, "--json", "inspect", FIXTURES / "cnn.card"], capture_output=True, check=True)
    proof = base64.b64encode((FIXTURES / "cnn_1.proof").read_bytes()).decode()
    cnn = {"card": json.loads(card.stdout)["digest"], "proof": proof, "context_text": "cnn", "once": True}
    full = Server(folder, "full", "--card", FIXTURES / "cnn.card", "--database", "own", "--contexts", "1")
    status, problem = full.post("/v1/verify", cnn)
    assert status == 507 and problem["code"] == "store_full"
    full.stop()
    roomy = Server(folder, "full", "--card", FIXTURES / "cnn.card", "--database", "own", "--contexts", "2")
    assert [roomy.post("/v1/verify", cnn)[0] for _ in range(2)] == [200, 409]
    roomy.stop()


def test_nothing_is_accepted_without_the_database(folder, question):
    (folder / "nowhere").write_text(f"host={folder} user=zkinfer dbname=postgres")
    command = [ZKINFER, "serve", "--listen", "127.0.0.1:0", "--store", "none.redb", "--database", "nowhere"]
    refused = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2 and "the shared store failed" in refused.stderr
