"""What peers/ezkl.py makes of a package that works, fails, hangs or takes too much memory. EZKL itself is not needed:

python3 peers/test_ezkl.py
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent / "ezkl.py"

# Stands in for the package. `MISBEHAVE` says which function does what.
PACKAGE = """
import json, os, signal, sys, time
from pathlib import Path

def act(name):
    wanted, _, how = os.environ.get("MISBEHAVE", "").partition(":")
    if wanted != name:
        return True
    if how == "hang":
        time.sleep(600)
    elif how == "memory":
        return bytearray(1 << 30)
    elif how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif how == "raise":
        raise RuntimeError("lookup table is too small")
    return False

class PyRunArgs:
    pass

def gen_settings(model, settings, py_run_args):
    kept = {"run_args": {"logrows": 15, **vars(py_run_args)}, "num_rows": 77}
    Path(settings).write_text(json.dumps(kept))
    return act("gen_settings")

def calibrate_settings(data, model, settings, target, max_logrows):
    print("a table for people")
    return act("calibrate_settings")

def compile_circuit(model, circuit, settings):
    Path(circuit).write_bytes(b"circuit")
    return act("compile_circuit")

def gen_srs(path, k):
    Path(path).write_bytes(b"parameters")

def setup(circuit, verifying, proving, srs):
    assert Path(srs).read_bytes() == b"parameters"
    Path(verifying).write_bytes(bytes(7))
    Path(proving).write_bytes(bytes(1000))
    return act("setup")

def gen_witness(data, circuit, witness, verifying, srs):
    values = json.loads(Path(data).read_text())["input_data"][0]
    Path(witness).write_text(json.dumps([str(2 * v) for v in values]))

def prove(witness, circuit, proving, proof, srs):
    values = json.loads(Path(witness).read_text())
    kept = {"proof": [0] * 64, "pretty_public_inputs": {"rescaled_outputs": [values]}}
    Path(proof).write_text(json.dumps(kept))
    act("prove")
    return kept

def verify(proof, settings, verifying, srs):
    return act("verify")
"""


@unittest.skipUnless(importlib.util.find_spec("numpy"), "numpy is not installed: peers/ezkl.py is not tested")
class WithPackage(unittest.TestCase):
    def setUp(self) -> None:
        import numpy as np

        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        packages = self.root / "packages"
        about = packages / "ezkl-9.9.dist-info"
        about.mkdir(parents=True)
        (packages / "ezkl.py").write_text(PACKAGE)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: ezkl\nVersion: 9.9\n")
        self.model = self.root / "twice"
        self.model.mkdir()
        (self.model / "network.onnx").write_bytes(b"not looked at")
        x = np.array([[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]], dtype=np.float32)
        np.savez(self.model / "samples.npz", x0=x, y0=2 * x)

    def measured(self, misbehave: str = "", *options: str) -> tuple[int, dict]:
        result = self.root / "result.json"
        arguments = [str(self.model), "--json", str(result), "--srs", str(self.root / "srs"), "--runs", "2", *options]
        packages = {"PYTHONPATH": str(self.root / "packages"), "MISBEHAVE": misbehave}
        run = subprocess.run(
            [sys.executable, str(SCRIPT), *arguments], env={**os.environ, **packages}, capture_output=True, text=True
        )
        self.assertTrue(result.exists(), run.stderr)
        (peer,) = json.loads(result.read_text())
        return run.returncode, peer

    def test_everything_is_measured(self) -> None:
        status, peer = self.measured()
        self.assertEqual(status, 0, peer)
        self.assertEqual((peer["system"], peer["version"], peer["model"]), ("EZKL", "9.9", "twice"))
        self.assertEqual(peer["onnx_bytes"], 13)
        self.assertEqual((peer["proof_bytes"], peer["proving_key_bytes"], peer["verifying_key_bytes"]), (64, 1000, 7))
        runs = {step: peer[step]["wall"]["runs"] for step in ("setup", "prove", "verify")}
        self.assertEqual(runs, {"setup": 1, "prove": 2, "verify": 10})
        for step in runs:
            for summary in (peer[step]["wall"], peer[step]["cpu"]):
                self.assertLessEqual(0, summary["low"])
                self.assertLessEqual(summary["low"], summary["median"])
                self.assertLessEqual(summary["median"], summary["high"])
        self.assertIn("77 of 2^15 rows", peer["note"])
        self.assertIn("0.0e+00", peer["note"])

    def test_calibration_has_more_samples_than_the_proof(self) -> None:
        self.measured("", "--calibration-samples", "2", "--keep", str(self.root / "kept"))
        kept = self.root / "kept" / "twice"
        self.assertEqual(json.loads((kept / "input.json").read_text())["input_data"], [[1, 2, 3]])
        self.assertEqual(json.loads((kept / "calibration.json").read_text())["input_data"], [[1, 2, 3, 4, 5, 6]])

    def failure(self, misbehave: str, *options: str) -> dict:
        status, peer = self.measured(misbehave, *options)
        self.assertEqual(status, 1, peer)
        self.assertNotIn("verify", peer)
        return peer

    def test_what_fails_is_told(self) -> None:
        note = self.failure("calibrate_settings:refuse")["note"]
        self.assertIn("circuit: ", note)
        self.assertIn("calibrate_settings answered False", note)
        note = self.failure("setup:raise")["note"]
        self.assertIn("setup: RuntimeError: lookup table is too small", note)

    def test_a_proof_that_does_not_verify_is_no_result(self) -> None:
        peer = self.failure("verify:refuse")
        self.assertIn("verify answered False", peer["note"])
        self.assertIn("prove", peer)

    def test_time_is_bounded(self) -> None:
        peer = self.failure("prove:hang", "--timeout", "15")
        self.assertIn("prove took longer than 15 s", peer["note"])
        self.assertIn("setup", peer)

    @unittest.skipUnless(sys.platform == "linux", "bounds of memory are Linux's")
    def test_memory_is_bounded(self) -> None:
        self.assertIn(
            "setup: out of memory (bound: 600 MiB)", self.failure("setup:memory", "--memory-mib", "600")["note"]
        )

    @unittest.skipUnless(os.name == "posix", "signals are POSIX's")
    def test_crashes_are_told(self) -> None:
        self.assertIn("setup: ended by SIGSEGV", self.failure("setup:crash")["note"])


class WithoutPackage(unittest.TestCase):
    @unittest.skipIf(importlib.util.find_spec("numpy") is None, "numpy is not installed")
    def test_it_says_what_is_missing(self) -> None:
        # Neither this folder nor installed packages.
        run = subprocess.run([sys.executable, "-S", "-I", str(SCRIPT), "model"], capture_output=True, text=True)
        self.assertEqual(run.returncode, 3, run.stderr)
        self.assertIn("pip install -r peers/requirements.txt", run.stderr)


if __name__ == "__main__":
    unittest.main()
