#!/usr/bin/env bash
# onnx.reference of onnx 1.23.2 computes LSTM, GRU and RNN as if the input sequence_lens were not there: Y goes on behind
# the end of a sequence, and Y_h is the state after the padding. It says nothing. onnxruntime 1.32.0 heeds it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
random = np.random.default_rng(0)
steps, batch, hidden = 4, 2, 3
x = random.normal(size=(steps, batch, 3)).astype(np.float32)
for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
    constants = [numpy_helper.from_array(random.normal(size=(1, gates * hidden, n)).astype(np.float32), name) for name, n in (("w", 3), ("r", hidden))]

    def answers(lens):
        node = helper.make_node(op, ["x", "w", "r", "", "lens"], ["y", "h"], hidden_size=hidden)
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            [node], "g", [info("x", TensorProto.FLOAT, list(x.shape)), info("lens", TensorProto.INT32, [batch])],
            [info("y", TensorProto.FLOAT, [steps, 1, batch, hidden]), info("h", TensorProto.FLOAT, [1, batch, hidden])], constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        feed = {"x": x, "lens": np.array(lens, np.int32)}
        return ReferenceEvaluator(model).run(None, feed), onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)

    whole, runtime_whole = answers([steps, steps])
    cut, runtime_cut = answers([1, steps])
    print(f"{op}: last state of a sequence of length 1 in {steps} steps: reference {cut[1][0, 0]}, onnxruntime {runtime_cut[1][0, 0]}")
    for a, b in zip(whole, runtime_whole):
        assert np.allclose(a, b, atol=1e-5)
    assert all(np.array_equal(a, b) for a, b in zip(cut, whole)), "the reference now heeds the lengths"
    assert not runtime_cut[0][1:, 0, 0].any() and np.allclose(runtime_cut[1][0, 0], runtime_cut[0][0, 0, 0])
PYTHON
