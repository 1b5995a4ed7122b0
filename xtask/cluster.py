#!/usr/bin/env python3
"""Measures what executors make of a machine: throughput of 1 and more workers, overhead of a job, bytes that are moved.

    python3 xtask/cluster.py MODEL.model SAMPLES.npz --engine ray --workers 1,2 --proofs 32

Needs the package `zkinfer` with the extra of the engine. Each worker has one thread. Times are wall times behind one proof
per worker, which gives it the model and its keys; the first row is a pool of one thread of this process, without an engine.
"""

import argparse
import concurrent.futures
import contextlib
import time

import numpy as np
import zkinfer
from zkinfer import executors


@contextlib.contextmanager
def pool(workers):
    with concurrent.futures.ThreadPoolExecutor(workers) as executor:
        yield executor


@contextlib.contextmanager
def processes(workers):
    with concurrent.futures.ProcessPoolExecutor(workers) as executor:
        yield executor


@contextlib.contextmanager
def ray(workers):
    import ray

    ray.init(num_cpus=workers, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False, logging_level="ERROR")
    yield executors.RayExecutor()
    ray.shutdown()


@contextlib.contextmanager
def dask(workers):
    import distributed

    options = {"n_workers": workers, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": ":0"}
    with distributed.LocalCluster(**options, silence_logs=60) as cluster, distributed.Client(cluster) as client:
        yield executors.DaskExecutor(client)


class Counted:
    """Counts the bytes of jobs and outcomes on their way through another executor."""

    def __init__(self):
        self.jobs, self.outcomes, self.files = [], [], {}

    def outcomes_of(self, executor, tasks, files):
        for number, segment, job, cpu, memory in tasks:
            self.jobs.append(len(job))
            self.files[segment] = len(files[segment])
        for number, outcome in self.inner(executor, tasks, files):
            if isinstance(outcome, bytes):
                self.outcomes.append(len(outcome))
            yield number, outcome


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("samples")
    parser.add_argument("--engine", choices=["processes", "ray", "dask"], default="ray")
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--proofs", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    secret = zkinfer.Secret.load(arguments.model)
    with np.load(arguments.samples) as arrays:
        inputs = [arrays[f"x{index}"] for index in range(len(secret.card.inputs))]
    at = np.resize(np.arange(len(inputs[0])), arguments.proofs)
    chosen = [x[at] for x in inputs]
    chosen = chosen[0] if len(chosen) == 1 else chosen
    runs = secret.infer_many(chosen)
    counted = Counted()
    counted.inner, executors.outcomes = executors.outcomes, counted.outcomes_of
    segments = secret.card.segments
    print(f"{arguments.model}: {segments} segment(s), {arguments.proofs} proofs, medians of {arguments.rounds}")
    print(f"{'executor':<14} {'workers':>7} {'seconds':>8} {'a proof':>9} {'overhead':>9} {'efficiency':>10}")
    plans = [("thread", pool, 1)]
    plans += [(arguments.engine, globals()[arguments.engine], int(n)) for n in arguments.workers.split(",")]
    alone, one = None, None
    for name, start, workers in plans:
        with start(workers) as executor:
            # Models and keys.
            secret.prove_many(runs[: 2 * workers], executor=executor)
            times = []
            for _ in range(arguments.rounds):
                begin = time.perf_counter()
                proofs = secret.prove_many(runs, attach_input=True, executor=executor)
                times.append(time.perf_counter() - begin)
        zkinfer.verify(secret.card, proofs[-1])
        took = sorted(times)[len(times) // 2]
        alone = alone or took
        one = took if name != "thread" and workers == 1 else one
        overhead = 1e3 * (took * workers - alone) / (arguments.proofs * segments)
        efficiency = f"{one / workers / took:.2f}" if one and name != "thread" else ""
        each = 1e3 * took / arguments.proofs
        print(f"{name:<14} {workers:>7} {took:>8.2f} {each:>6.1f} ms {overhead:>6.1f} ms {efficiency:>10}", flush=True)
    print(
        f"bytes: a job {max(counted.jobs)}, its outcome {max(counted.outcomes)}; once for each worker, files of segments: "
        f"{', '.join(str(size) for size in counted.files.values())}"
    )


if __name__ == "__main__":
    main()
