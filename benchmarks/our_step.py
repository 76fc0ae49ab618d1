"""One run of our ``PPOTrainer`` over the shared workload; its times as a line of JSON."""

from __future__ import annotations

import json
import sys

import torch

from benchmarks.workload import Workload, step_times

if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    torch.set_num_threads(request["threads"])
    rows = step_times(Workload(**request["work"]).trainer(), request["iterations"])
    print(json.dumps([{"process": r["process"], "wall": r["wall"]} for r in rows]))
