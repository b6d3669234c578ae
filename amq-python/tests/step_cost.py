"""The time of a step of a model that computes next to nothing: more than what Python adds to a step of any model
with as many inputs and outputs.

    python step_cost.py fixtures/exports/lstm_language/model.onnx
"""

import statistics
import sys
import time
import warnings

import numpy as np

import amq

warnings.simplefilter("ignore")
session = amq.Session(amq.Model(amq.convert(sys.argv[1]).data))
inputs = {"tokens": np.array([[1]])}
times = []
for _ in range(200):
    start = time.perf_counter_ns()
    for _ in range(50):
        session.step(inputs)
    times.append((time.perf_counter_ns() - start) / 50e3)
print(f"{statistics.median(times[20:]):.2f} us a step, median of {len(times) - 20} turns")
