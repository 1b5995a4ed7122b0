"""Two hosts that share a PostgreSQL, which this test starts, and one of them killed in the middle of a proof: every run and
every promise is still there, and every promised proof arrives once.

    pip install 'tritonclient[http]' pytest
    pytest crates/host/tests/replicas.py          # ZKINFER=target/release/zkinfer, initdb and pg_ctl in PATH
"""

import glob
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import numpy as np
import pytest
import tritonclient.http as client

from protocol import DATA, Host, folder, question, run, samples  # noqa: F401

RUNS = 1000
# Every fifth is proven without asking again.
PROMISED = 5


def tool(name):
    places = [shutil.which(name), *sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))]
    return next(place for place in places if place)


@pytest.fixture(scope="module")
def database():
    """A connection string of a fresh server on a socket of its own."""
    # PostgreSQL does not start as root, and not below a folder that only root may enter.
    place = pathlib.Path(tempfile.mkdtemp(prefix="zkinfer-postgres-", dir="/tmp"))
    user = {}
    if os.geteuid() == 0:
        user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        shutil.chown(place, "nobody", "nogroup")
    data = place / "data"

    def command(name, *arguments):
        subprocess.run([tool(name), *map(str, arguments)], check=True, cwd=place, stdout=subprocess.DEVNULL, **user)

    command("initdb", "-D", data, "-U", "zkinfer", "-A", "trust", "--no-sync")
    options = f"-k {place} -c listen_addresses=''"
    command("pg_ctl", "-D", data, "-l", place / "log", "-w", "-o", options, "start")
    yield f"host={place} user=zkinfer dbname=postgres"
    command("pg_ctl", "-D", data, "-m", "immediate", "stop")
    shutil.rmtree(place)


def slip_of(answer):
    return json.loads(answer.get_response()["parameters"]["zkinfer_slip"])


def metric(host, name):
    text = host.client._get("metrics", None, None).read().decode()
    return float(next(line for line in text.splitlines() if line.startswith(name + " ")).split()[1])


def test_nothing_is_lost_with_a_host(database, folder, samples):  # noqa: F811
    (folder / "database").write_text(database)
    arguments = ["--database", "database", "--key-file", "shared.key", "--lease", "2", "--proof-threads", "1"]
    first, second = Host(folder, *arguments), Host(folder, *arguments)
    assert first.key == second.key
    slips, promised = {}, []
    for number in range(RUNS):
        host = (first, second)[number % 2]
        later = number % PROMISED == 0
        parameters = {"zkinfer_proof": "later" if later else "none"}
        answer = host.client.infer("digits", question(samples[number % len(samples)], True), parameters=parameters)
        slip = slip_of(answer)
        slips[slip["run"]] = slip
        if later:
            promised.append((slip["run"], number % len(samples)))
    assert len(slips) == RUNS
    # Each numbers its own.
    numbers = {(slip["series"], slip["sequence"]) for slip in slips.values()}
    assert len(numbers) == RUNS and len({series for series, _ in numbers}) == 2
    # Asked for on the other host than the one that answered; and it works on a long queue when it is killed.
    unasked = [run for run in slips if run not in {name for name, _ in promised}][:100]
    for name in unasked:
        assert second.client._post(f"v1/runs/{name}/prove", b"", None, None).status_code in (200, 202)
    assert metric(second, "zkinfer_host_queue") > 0
    first.process.kill()
    first.process.wait(60)
    left = metric(second, "zkinfer_host_queue")
    assert left > 0, "the host was to be killed while it had proofs to make"
    for name, slip in slips.items():
        known = json.loads(second.client._get(f"v1/runs/{name}", None, None).read())
        assert known["slip"] == slip
    wanted = [name for name, _ in promised] + unasked
    proofs = {}
    deadline = time.monotonic() + 300
    while len(proofs) < len(wanted):
        assert time.monotonic() < deadline, f"{len(wanted) - len(proofs)} proofs are missing"
        for name in wanted:
            if name not in proofs:
                answer = second.client._get(f"v1/runs/{name}/proof", None, None)
                if answer.status_code == 200:
                    proofs[name] = answer.read()
        time.sleep(0.1)
    time.sleep(0.6)
    assert metric(second, "zkinfer_host_store_proofs") == len(wanted)
    assert metric(second, "zkinfer_host_queue") == 0
    # Another host that starts later has them all, and makes none again.
    third = Host(folder, *arguments)
    time.sleep(3)
    assert metric(third, "zkinfer_host_proven_total") == 0
    for name in wanted:
        assert third.client._get(f"v1/runs/{name}/proof", None, None).read() == proofs[name]
    for name, sample in promised[:5]:
        (folder / "run.proof").write_bytes(proofs[name])
        context = slips[name]["context"]
        verify = ["verify", folder / "digits.card", folder / "run.proof", "--input", DATA / "digits.npz"]
        accepted = run(*verify, "--sample", sample, "--context-hex", context)
        assert accepted.returncode == 0, accepted
    second.stop()
    third.stop()
