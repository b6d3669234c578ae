"""Compares the package with onnxruntime on the shipped model, in float and coded.

    python against_onnxruntime.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime

import amq

folder = Path(sys.argv[1])
stored = np.load(folder / "io.npz")
reference = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
inputs = {port.name: stored[port.name] for port in reference.get_inputs()}
expected = dict(zip([port.name for port in reference.get_outputs()], reference.run(None, inputs)))
for bits, least in [("f32", 100), (8, 35), (2, 5)]:
    found = amq.Session(amq.Model(amq.convert(folder / "model.onnx", bits=bits).data)).run(inputs)
    for name, value in expected.items():
        error = found[name].astype(np.float64) - value
        snr = 10 * np.log10((value.astype(np.float64) ** 2).sum() / (error**2).sum())
        print(f"bits {bits}, {name}: {snr:.1f} dB")
        assert snr > least, f"{snr} dB, {least} are expected"
