#!/usr/bin/env bash
# onnxruntime 1.32.0: where sequence_lens is 0, LSTM and GRU give zeros as last state although an initial one is
# given. A step that does not happen should leave the state as it is, so that a stream that has nothing to say in
# a batch loses its memory.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

print("onnxruntime", onnxruntime.__version__)
random = np.random.default_rng(0)


def last_states(op, gates, states):
    h = 4
    initial = [f"{name}0" for name in states]
    outputs = [f"Y_{name}" for name in states]
    node = helper.make_node(op, ["x", "w", "r", "", "lens", *initial], ["", *outputs], hidden_size=h)
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node], "g",
        [info("x", TensorProto.FLOAT, [2, 2, 3]), info("lens", TensorProto.INT32, [2]),
         *(info(name, TensorProto.FLOAT, [1, 2, h]) for name in initial)],
        [info(name, TensorProto.FLOAT, [1, 2, h]) for name in outputs],
        [numpy_helper.from_array(random.normal(size=(1, gates * h, n)).astype(np.float32), name)
         for name, n in (("w", 3), ("r", h))])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    feed = {"x": np.ones((2, 2, 3), np.float32), "lens": np.array([0, 2], np.int32)}
    feed |= {name: np.full((1, 2, h), 0.5, np.float32) for name in initial}
    return session.run(None, feed)


for op, gates, states in (("LSTM", 4, "hc"), ("GRU", 3, "h"), ("RNN", 1, "h")):
    for state, value in zip(states, last_states(op, gates, states)):
        print(f"{op}: Y_{state} of the empty sequence, begun at 0.5: {value[0, 0]}")
        assert not value[0, 0].any(), "the state is no longer zero"
        assert value[0, 1].any()
PYTHON
