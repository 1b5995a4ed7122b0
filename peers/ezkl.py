#!/usr/bin/env python3
"""What EZKL takes for a model: setup, proof, verification, sizes, as JSON that `zkinfer bench --peers` merges.

    python3 peers/ezkl.py MODEL_FOLDER … --json ezkl.json

A model is an ONNX file with samples beside it, or a folder with `network.onnx` and `samples.npz` (arrays x0, x1, …, one
per input, first axis the sample). Needs the packages of peers/requirements.txt; says so and ends with 3 without them.

Every step runs in a process of its own, with bounds on its memory and time: a model that does not fit is a line of the
result, not a machine that stops answering. KZG parameters are made on the spot, never loaded, and are not part of any
figure: they serve all circuits of a size. Made like this they are worth nothing but measurements.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import resource
except ImportError:  # Windows has none of the bounds.
    resource = None  # type: ignore[assignment]

NOT_INSTALLED = 3
MIB = 1 << 20


class Failed(Exception):
    """A step that did not end well, in one line."""


# Steps. Each runs in a child process, in the folder of the model's files, and returns what is kept of it.


def circuit(ezkl: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Settings by calibration, and the compiled circuit."""
    args = ezkl.PyRunArgs()
    args.input_visibility = options["input"]
    args.output_visibility = "public"
    args.param_visibility = options["parameters"]
    onnx = options["onnx"]
    must(ezkl.gen_settings(onnx, "settings.json", py_run_args=args), "gen_settings")
    must(
        ezkl.calibrate_settings("calibration.json", onnx, "settings.json", "resources", max_logrows=options["max_k"]),
        "calibrate_settings",
    )
    must(ezkl.compile_circuit(onnx, "circuit.ezkl", "settings.json"), "compile_circuit")
    settings = json.loads(Path("settings.json").read_text())
    return {"k": settings["run_args"]["logrows"], "rows": settings["num_rows"]}


def parameters(ezkl: Any, options: dict[str, Any]) -> dict[str, Any]:
    """KZG parameters for a number of rows, kept for other models."""
    path = Path(options["srs"])
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        ezkl.gen_srs(str(unfinished), options["k"])
        unfinished.replace(path)
    return {}


def setup(ezkl: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Proving and verifying key."""
    must(ezkl.setup("circuit.ezkl", "verifying.key", "proving.key", options["srs"]), "setup")
    return {
        "proving_key_bytes": Path("proving.key").stat().st_size,
        "verifying_key_bytes": Path("verifying.key").stat().st_size,
    }


def prove(ezkl: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Witness and proof; keys and parameters are read from files, as EZKL's command does."""
    ezkl.gen_witness("input.json", "circuit.ezkl", "witness.json", "verifying.key", options["srs"])
    ezkl.prove("witness.json", "circuit.ezkl", "proving.key", "proof.json", options["srs"])
    proof = json.loads(Path("proof.json").read_text())
    outputs = [float(v) for tensor in proof["pretty_public_inputs"]["rescaled_outputs"] for v in tensor]
    return {"proof_bytes": len(proof["proof"]), "outputs": outputs}


def verify(ezkl: Any, options: dict[str, Any]) -> dict[str, Any]:
    """One verification; key and parameters are read from files, as EZKL's command does."""
    accepted = ezkl.verify("proof.json", "settings.json", "verifying.key", options["srs"])
    must(accepted, "verify")
    return {}


STEPS: dict[str, Callable[[Any, dict[str, Any]], dict[str, Any]]] = {
    step.__name__: step for step in (circuit, parameters, setup, prove, verify)
}


def must(answer: Any, what: str) -> None:
    if answer is not True:
        raise Failed(f"{what} answered {answer!r}")


def child(name: str) -> None:
    """Runs a step as often as the options on standard input say, and writes times and what is kept."""
    # This file has the package's name: look for the package everywhere but beside this file.
    sys.path = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).resolve().parent]
    import ezkl

    options = json.load(sys.stdin)
    step, wall, cpu, kept = STEPS[name], [], [], {}
    # EZKL writes tables to standard output; ours goes to the one that the parent reads.
    answer = os.dup(1)
    os.dup2(2, 1)
    for _ in range(options["repeat"]):
        clock, before = time.perf_counter(), time.process_time()
        kept = step(ezkl, options)
        wall.append(time.perf_counter() - clock)
        cpu.append(time.process_time() - before)
    with os.fdopen(answer, "w") as out:
        json.dump({"wall": wall, "cpu": cpu, "kept": kept}, out)


# The parent.


class Runner:
    """Runs steps in processes of their own."""

    def __init__(self, folder: Path, memory_mib: int, timeout: float, verbose: bool) -> None:
        self.folder, self.memory, self.timeout, self.verbose = folder, memory_mib * MIB, timeout, verbose

    def bound(self) -> None:
        """In the child, before anything runs: anonymous memory, also what other threads map."""
        if resource is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (self.memory, self.memory))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def run(self, step: str, options: dict[str, Any], repeat: int = 1) -> dict[str, Any]:
        """Times, what is kept, and the peak of resident memory.

        Raises `Failed` if the step fails, takes longer than it may, or is ended."""
        log = self.folder / f"{step}.log"
        arguments = [sys.executable, str(Path(__file__).resolve()), "--step", step]
        with log.open("wb") as errors, tempfile.TemporaryFile() as answer:
            process = subprocess.Popen(
                arguments,
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=answer,
                stderr=errors,
                preexec_fn=self.bound if os.name == "posix" else None,
            )
            assert process.stdin is not None
            process.stdin.write(json.dumps({**options, "repeat": repeat}).encode())
            process.stdin.close()
            peak, status = self.wait(process)
            answer.seek(0)
            text = answer.read()
        if self.verbose:
            sys.stderr.write(log.read_text(errors="replace"))
        if status is None:
            raise Failed(f"{step} took longer than {self.timeout:.0f} s")
        if status != 0:
            raise Failed(f"{step}: {self.reason(status, log)}")
        return {**json.loads(text), "peak": peak}

    def wait(self, process: subprocess.Popen[bytes]) -> tuple[int | None, int | None]:
        """Peak memory of the process and its status, which is `None` if it had to be ended."""
        late = time.monotonic() + self.timeout
        if not hasattr(os, "wait4"):
            try:
                return None, process.wait(self.timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return None, None
        try:
            while True:
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    break
                if time.monotonic() > late:
                    process.kill()
                    os.wait4(process.pid, 0)
                    process.returncode = -int(signal.SIGKILL)
                    return None, None
                time.sleep(0.02)
        except BaseException:
            process.kill()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        unit = 1 if sys.platform == "darwin" else 1024
        return usage.ru_maxrss * unit, process.returncode

    def reason(self, status: int, log: Path) -> str:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        last = lines[-1][-300:] if lines else "no message"
        if any("memory allocation" in line or "MemoryError" in line for line in lines[-20:]):
            return f"out of memory (bound: {self.memory // MIB} MiB)"
        if status < 0:
            return f"ended by {signal.Signals(-status).name}: {last}"
        return last


def summary(values: list[float]) -> dict[str, Any]:
    """Median and quartiles, as `zkinfer bench` has them."""
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {"median": statistics.median(values), "low": quartiles[0], "high": quartiles[2], "runs": len(values)}


def stage(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """What the report holds of one or several runs of a step."""
    peaks = [a["peak"] for a in answers if a["peak"] is not None]
    return {
        "wall": summary([v for a in answers for v in a["wall"]]),
        "cpu": summary([v for a in answers for v in a["cpu"]]),
        "peak_bytes": max(peaks, default=None),
    }


def samples(path: Path, count: int) -> tuple[list[list[list[float]]], list[list[float]]]:
    """For each of the first samples its inputs, flattened; and the float model's outputs on the first, if stored."""
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        inputs: list[Any] = []
        while f"x{len(inputs)}" in arrays:
            inputs.append(arrays[f"x{len(inputs)}"])
        if not inputs:
            raise Failed(f"{path} has no array x0")
        outputs: list[list[float]] = []
        while f"y{len(outputs)}" in arrays:
            outputs.append(arrays[f"y{len(outputs)}"][0].astype(float).ravel().tolist())
        count = min(count, *(len(x) for x in inputs))
        flat = [[x[i].astype(float).ravel().tolist() for x in inputs] for i in range(count)]
    return flat, outputs


def write_inputs(folder: Path, flat: list[list[list[float]]]) -> None:
    """The input, and calibration data: EZKL cuts longer inputs into batches."""
    (folder / "input.json").write_text(json.dumps({"input_data": flat[0]}))
    joined = [[v for sample in flat for v in sample[i]] for i in range(len(flat[0]))]
    (folder / "calibration.json").write_text(json.dumps({"input_data": joined}))


def files(model: Path, given: Path | None) -> tuple[str, Path, Path]:
    """Name, ONNX file and samples of a model."""
    onnx = model / "network.onnx" if model.is_dir() else model
    name = onnx.resolve().parent.name if onnx.stem in ("network", "model") else onnx.stem
    beside = [onnx.with_suffix(".npz"), onnx.parent / "samples.npz"]
    found = given or next((p for p in beside if p.exists()), None)
    if not onnx.is_file():
        raise Failed(f"{onnx} is not a file")
    if found is None:
        raise Failed(f"no samples beside {onnx}; give them with --samples")
    return name, onnx.resolve(), found


def error(proven: list[float], expected: list[list[float]]) -> str | None:
    """Largest error of the first sample's outputs, over their range, as a sentence."""
    flat = [v for tensor in expected for v in tensor]
    if len(flat) != len(proven) or not flat:
        return None
    spread = max(max(flat) - min(flat), 1e-9) if len(flat) > 1 else max(abs(flat[0]), 1e-9)
    worst = max(abs(a - b) for a, b in zip(proven, flat, strict=True)) / spread
    return f"Largest error of an output of the proven sample: {worst:.1e} of the outputs' range."


def measure(model: Path, args: argparse.Namespace, keep: Path | None) -> dict[str, Any]:
    """One entry of the result; failures are noted in it."""
    name, onnx, npz = files(model, args.samples)
    peer: dict[str, Any] = {
        "system": "EZKL",
        "version": importlib.metadata.version("ezkl"),
        "model": name,
        "onnx_bytes": onnx.stat().st_size,
        "machine": machine(),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "hides_weights": True,
    }
    notes = [
        f"KZG on BN254, parameters made locally; input {args.input}, output public, weights {args.parameters}, "
        "calibrated for resources."
    ]
    if hasattr(os, "getloadavg"):
        notes.append(f"Load average before: {os.getloadavg()[0]:.1f}.")
    with contextlib.ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ezkl-")))
        folder.mkdir(parents=True, exist_ok=True)
        runner = Runner(folder.resolve(), args.memory_mib, args.timeout, args.verbose)

        def run(step: str, repeat: int = 1) -> dict[str, Any]:
            say(f"{name}: {step}")
            return runner.run(step, options, repeat)

        options: dict[str, Any] = {
            "onnx": str(onnx),
            "input": args.input,
            "parameters": args.parameters,
            "max_k": args.max_k,
        }
        try:
            flat, expected = samples(npz, args.calibration_samples)
            write_inputs(folder, flat)
            made = run("circuit")
            k, rows = made["kept"]["k"], made["kept"]["rows"]
            notes.append(f"{rows} of 2^{k} rows.")
            notes.append(f"Calibration and compilation, not part of the setup: {made['wall'][0]:.1f} s.")
            options |= {"k": k, "srs": str((args.srs / f"kzg{k}.srs").resolve())}
            run("parameters")
            keys = run("setup")
            peer |= {"setup": stage([keys]), **keys["kept"]}
            proofs = [run("prove") for _ in range(args.runs)]
            proven = proofs[-1]["kept"]
            peer |= {"prove": stage(proofs), "proof_bytes": proven["proof_bytes"]}
            notes.append(error(proven["outputs"], expected) or "")
            peer["verify"] = stage([run("verify", max(args.runs, 10))])
        except Failed as failure:
            say(f"{name}: {failure}")
            notes.append(f"Failed: {failure}.")
    peer["note"] = " ".join(filter(None, notes))
    return peer


def machine() -> str:
    """The processor and how many of its cores can be used, as `zkinfer bench` names them."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{cpu}, {cores} cores"


def memory_mib() -> int:
    """Three quarters of the machine's memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4 // MIB
    except (AttributeError, ValueError, OSError):
        return 8192


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("has to be at least 1")
    return number


def main() -> int:
    summary_line, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary_line, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL", help="ONNX file or folder of a model")
    parser.add_argument("--json", type=Path, help="where the result goes (default: standard output)")
    parser.add_argument("--samples", type=Path, help="samples (.npz), for all models")
    parser.add_argument("--runs", type=positive, default=3, help="proofs that are made (default: 3)")
    parser.add_argument("--calibration-samples", type=positive, default=1, help="as many of the first (default: 1)")
    parser.add_argument("--input", choices=["public", "private", "hashed"], default="public", help="(default: public)")
    parser.add_argument(
        "--parameters",
        choices=["fixed", "private", "hashed"],
        default="fixed",
        help="fixed: part of the key (default); private: any weights do; hashed: bound by a hash in the circuit",
    )
    parser.add_argument("--memory-mib", type=positive, default=memory_mib(), help="bound of a step's memory")
    parser.add_argument("--timeout", type=float, default=1800.0, help="bound of a step's time in seconds")
    parser.add_argument("--max-k", type=positive, default=20, help="most rows, as their logarithm (default: 20)")
    parser.add_argument("--srs", type=Path, default=Path("target/ezkl"), help="folder of the local KZG parameters")
    parser.add_argument("--keep", type=Path, help="folder in which keys and proofs are left")
    parser.add_argument("--verbose", action="store_true", help="show what EZKL writes")
    parser.add_argument("--step", choices=sorted(STEPS), help=argparse.SUPPRESS)
    args = parser.parse_args()

    if args.step:
        child(args.step)
        return 0
    if not args.models:
        parser.error("no model given")
    missing = [name for name in ("ezkl", "numpy") if not installed(name)]
    if missing:
        say(f"not installed: {', '.join(missing)}. In an environment of your own:")
        say("    pip install -r peers/requirements.txt")
        return NOT_INSTALLED
    peers = []
    for model in args.models:
        try:
            peers.append(measure(model, args, args.keep and args.keep / model.stem))
        except Failed as failure:
            say(str(failure))
            return 2
        text = json.dumps(peers, indent=2) + "\n"
        if args.json:
            args.json.write_text(text)  # after every model: a run that is interrupted leaves what it has
    if not args.json:
        print(text, end="")
    return 0 if all("verify" in peer for peer in peers) else 1


def installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
