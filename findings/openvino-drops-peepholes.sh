#!/usr/bin/env bash
# OpenVINO 2026.4.1 reads an ONNX LSTM that has peepholes (input P) or input_forget and computes it as if it had not,
# without a word. onnxruntime 1.32.0 honours both, and the two agree on the layer without them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper

print("onnxruntime", onnxruntime.__version__, "openvino", openvino.__version__)
random = np.random.default_rng(0)
constants = {"w": (1, 16, 3), "r": (1, 16, 4), "p": (1, 12)}
constants = [numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name) for name, shape in constants.items()]
x = 2 * random.normal(size=(4, 2, 3)).astype(np.float32)


def answers(peepholes, **attributes):
    inputs = ["x", "w", "r", *(["", "", "", "", "p"] if peepholes else [])]
    node = helper.make_node("LSTM", inputs, ["y"], hidden_size=4, **attributes)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 1, 2, 4])], constants[:3 if peepholes else 2])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    bytes = model.SerializeToString()
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(bytes), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled({"x": x})[compiled.output(0)], onnxruntime.InferenceSession(bytes).run(None, {"x": x})[0]


plain, runtime = answers(False)
assert np.allclose(plain, runtime, atol=1e-5)
for what, peepholes, attributes in (("peepholes", True, {}), ("input_forget", False, {"input_forget": 1})):
    other, runtime = answers(peepholes, **attributes)
    print(f"{what}: onnxruntime {runtime[-1, 0, 0]}, openvino {other[-1, 0, 0]}, without {what} {plain[-1, 0, 0]}")
    assert np.allclose(other, plain, atol=1e-5), f"openvino now heeds {what}"
    assert not np.allclose(runtime, plain, atol=1e-2)
PYTHON
