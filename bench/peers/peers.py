"""Times amq beside other runtimes on models with random weights; docs/performance.md has the figures.

    peers.py FOLDER AMQC [CASE..]    writes the models to FOLDER and measures the cases, or all

All contenders of a case take turns, ROUNDS times; each figure is the least time of the processor that a slice
of a step or more took: other programs on the machine make turns longer, not the least of them. With THREADS
above 1 it is the least time by the clock. The environment may cut cases down: ROUNDS=5, THREADS=1,
WAYS="2/int8 2/2 f32/f32", ISAS="avx512 avx2", PEERS="onnxruntime openvino numpy tract rten" (empty: amq alone).
COLD=1 reads other memory before each step, which is then timed alone.

Peers are onnxruntime (float; int8, dynamic where weights are matrices and static for convolutions; MatMulNBits
of 4 and 2 bits for a product), OpenVINO in float, for a product numpy, which uses OpenBLAS, and tract and rten in
float, which rust/ times (RUST_PEERS names its program; without it they are left out, and so they are when cold).
"""
import json
import logging
import os
import pathlib
import subprocess
import sys
import time

THREADS = int(os.environ.get("THREADS", 1))
os.environ.setdefault("OPENBLAS_NUM_THREADS", str(THREADS))  # Read when numpy is imported.

import models
import numpy as np
import onnx

logging.disable(logging.WARNING)
WAYS = os.environ.get("WAYS", "2/int8 2/2 f32/f32").split()
ISAS = os.environ.get("ISAS", "avx512 avx2").split()
PEERS = os.environ.get("PEERS", "onnxruntime openvino numpy tract rten").split()
COLD = os.environ.get("COLD") == "1"
RUST_PEERS = os.environ.get("RUST_PEERS")
ROUNDS = int(os.environ.get("ROUNDS", 5))
RANDOM = np.random.default_rng(2)
TURN, SLICE = 0.4, 0.001
OTHER = np.ones(256 << 17) if COLD else None

# A model, how it is made, and sizes of its dimensions.
CASES = {
    "lstm16": (lambda path: models.recurrent(path, "LSTM", 16), {}),
    "lstm32": (lambda path: models.recurrent(path, "LSTM", 32), {}),
    "lstm64": (lambda path: models.recurrent(path, "LSTM", 64), {}),
    "lstm300": (lambda path: models.recurrent(path, "LSTM", 300), {}),
    "lstm300 seq=35": (None, {"seq": 35}),
    "lstm1024": (lambda path: models.recurrent(path, "LSTM", 1024), {}),
    "lstm1024 seq=35": (None, {"seq": 35}),
    "lstm1024 batch=32": (None, {"batch": 32}),
    "gru512 seq=35": (lambda path: models.recurrent(path, "GRU", 512), {"seq": 35}),
    "text seq=2000": (lambda path: models.text(path, 10000, 300), {"seq": 2000}),
    "product4096": (lambda path: models.product(path, 4096, 1024), {}),
    "product4096 batch=8": (None, {"batch": 8}),
    "conv32": (lambda path: models.conv(path, 32, 32), {}),
    "conv64": (lambda path: models.conv(path, 64, 32), {}),
    "conv256": (lambda path: models.conv(path, 256, 14), {}),
    "conv1d": (lambda path: models.conv(path, 128, 1000, kernel=5, axes=1), {}),
    "pointwise": (lambda path: models.conv(path, 128, 28, kernel=1), {}),
    "depthwise": (lambda path: models.conv(path, 128, 56, groups=128), {}),
    "mobilenet": (models.mobilenet, {}),
    "resnet": (models.resnet, {}),
}
STATIC = ("conv", "pointwise", "depthwise", "mobilenet", "resnet")


def ports_of(path):
    """(name, shape, whether floats) of a model's inputs."""
    graph = onnx.load(path, load_external_data=False).graph
    shape = lambda i: [d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim]
    return [(i.name, shape(i), i.type.tensor_type.elem_type == 1) for i in graph.input]


def inputs_of(ports, sizes):
    """Random values for (name, shape, whether floats); dimensions without a size are 1."""
    given = {}
    for name, shape, floats in ports:
        shape = [sizes.get(d, 1) if isinstance(d, str) else d for d in shape]
        given[name] = (
            RANDOM.uniform(-1, 1, shape).astype(np.float32) if floats else RANDOM.integers(0, 1000, shape))
    return given


class Contender:
    """What steps when it is called; `least` takes a turn and gives seconds a step."""

    one_thread = staticmethod(time.thread_time)

    def least(self):
        clock = self.one_thread if THREADS == 1 else time.perf_counter
        least, end = float("inf"), time.perf_counter() + TURN
        count = 1
        while time.perf_counter() < end:
            if COLD:
                OTHER.sum()
                count = 1
            begin = clock()
            for _ in range(count):
                self.step()
            taken = (clock() - begin) / count
            least = min(least, taken)
            count = max(1, round(SLICE / max(taken, 1e-7)))
        return least


class Onnxruntime(Contender):
    def __init__(self, path, sizes):
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
        options.log_severity_level = 3
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        ports = [(i.name, i.shape, "float" in i.type) for i in session.get_inputs()]
        binding = session.io_binding()
        for name, data in inputs_of(ports, sizes).items():
            binding.bind_cpu_input(name, data)
        for o in session.get_outputs():
            binding.bind_output(o.name)
        # Outputs stay where the first run put them.
        session.run_with_iobinding(binding)
        for o, value in zip(session.get_outputs(), binding.get_outputs()):
            binding.bind_ortvalue_output(o.name, value)
        self.step = lambda: session.run_with_iobinding(binding)


class Openvino(Contender):
    # Its work is done by a thread of its own.
    one_thread = staticmethod(time.process_time)

    def __init__(self, path, sizes):
        import openvino as ov

        core = ov.Core()
        model = core.read_model(str(path))
        data = inputs_of(ports_of(path), sizes)
        model.reshape({name: list(x.shape) for name, x in data.items()})
        config = {"INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        request = core.compile_model(model, "CPU", config).create_infer_request()
        for name, x in data.items():
            request.set_tensor(name, ov.Tensor(x, shared_memory=True))
        self.step = request.infer


class Numpy(Contender):
    """The product of 4096 x 1024."""

    def __init__(self, sizes):
        w = RANDOM.normal(size=(4096, 1024)).astype(np.float32)
        x = RANDOM.normal(size=(1024, sizes.get("batch", 1))).astype(np.float32)
        out = np.zeros((4096, x.shape[1]), np.float32)
        self.step = lambda: np.matmul(w, x, out=out)


class Rust:
    """A peer that rust/ times, by the clock."""

    def __init__(self, runtime, path, sizes):
        inputs = [
            f"{name}={'f32' if floats else 'i64'}:" + "x".join(str(sizes.get(d, 1) if isinstance(d, str) else d) for d in shape)
            for name, shape, floats in ports_of(path)]
        self.command = [RUST_PEERS, runtime, str(THREADS), str(path), *inputs]

    def least(self):
        done = subprocess.run(self.command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip() or f"exit {done.returncode}")
        return float(done.stdout) / 1e6


class Amqc:
    def __init__(self, amqc, path, sizes, isa):
        dims = [word for name, size in sizes.items() for word in ("--dim", f"{name}={size}")]
        self.command = [amqc, "bench", str(path), "--json", "--threads", str(THREADS), *dims, *["--cold"] * COLD]
        self.environment = os.environ | {"AMQ_ISA": isa}

    def least(self):
        done = subprocess.run(self.command, env=self.environment, capture_output=True, check=True)
        return json.loads(done.stdout)["least_us"] / 1e6


def dynamic(model, to):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(model, to, weight_type=QuantType.QInt8)
    operators = {node.op_type for node in onnx.load(to).graph.node}
    if not operators & {"DynamicQuantizeLSTM", "MatMulInteger", "DynamicQuantizeLinear"}:
        raise ValueError(f"nothing of {sorted(operators)} is made 8 bits")


def static(model, to, sizes):
    import onnxruntime as ort
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    ports = [(i.name, i.shape, True) for i in ort.InferenceSession(str(model)).get_inputs()]

    class Data(CalibrationDataReader):
        left = 3

        def get_next(self):
            self.left -= 1
            return inputs_of(ports, sizes) if self.left >= 0 else None

    quantize_static(
        model, to, Data(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8)


def few_bits(model, to, bits):
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(onnx.load(model), bits=bits, block_size=128, accuracy_level=4)
    quantizer.process()
    quantizer.model.save_model_to_file(str(to))


def made(path, make):
    """A model that a peer's own tool makes, unless it refuses."""
    try:
        if not path.exists():
            make(path)
        return path
    except Exception as error:  # What a peer cannot do is no reason to measure nothing.
        print(f"  ({path.name}: {type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else ''})")
        path.unlink(missing_ok=True)
        return None


def contenders(folder, amqc, case, sizes):
    name = case.split()[0]
    model = folder / f"{name}.onnx"
    found = {}

    def add(key, make):
        try:
            contender = make()
            contender.least()
            found[key] = contender
        except Exception as error:
            print(f"  ({key}: {type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else ''})")

    if "onnxruntime" in PEERS:
        add("onnxruntime f32", lambda: Onnxruntime(model, sizes))
        make = (lambda to: static(model, to, sizes)) if name.startswith(STATIC) else (lambda to: dynamic(model, to))
        if eight := made(folder / f"{name}-int8.onnx", make):
            add("onnxruntime int8", lambda: Onnxruntime(eight, sizes))
        for bits in (4, 2) if name.startswith("product") else ():
            if few := made(folder / f"{name}-{bits}.onnx", lambda to: few_bits(model, to, bits)):
                add(f"onnxruntime {bits} bit", lambda: Onnxruntime(few, sizes))
    if "openvino" in PEERS:
        add("openvino f32", lambda: Openvino(model, sizes))
    if "numpy" in PEERS and name.startswith("product"):
        add("numpy (OpenBLAS)", lambda: Numpy(sizes))
    for runtime in ("tract", "rten") if RUST_PEERS and not COLD else ():
        if runtime in PEERS and not (runtime == "tract" and THREADS > 1):
            add(f"{runtime} f32", lambda: Rust(runtime, model, sizes))
    for way in WAYS:
        bits, activations = way.split("/")
        coded = folder / f"{name}-{bits}-{activations}.amq"
        if not coded.exists():
            quantized = [] if bits == "f32" else ["-a", activations]
            subprocess.run([amqc, "convert", model, "-o", coded, "-b", bits, *quantized, "--quiet"], check=True)
        for isa in ISAS:
            add(f"amq {way} {isa}", lambda: Amqc(amqc, coded, sizes, isa))
    return found


def processor():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else 'unknown processor'}, {os.cpu_count()} CPUs"


def main(folder, amqc, *cases):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{processor()}; {THREADS} thread{'s' * (THREADS > 1)}", flush=True)
    for case, (make, _) in CASES.items():
        path = folder / f"{case.split()[0]}.onnx"
        if make and not path.exists():
            make(path)
    for case in cases or CASES:
        sizes = CASES[case][1]
        print(f"\n{case}", flush=True)
        entries = contenders(folder, amqc, case, sizes)
        least = dict.fromkeys(entries, float("inf"))
        for _ in range(ROUNDS):
            for key, contender in entries.items():
                least[key] = min(least[key], contender.least())
        base = {peer: least.get(f"onnxruntime {peer}") for peer in ("f32", "int8")}
        for key, seconds in least.items():
            ratios = "".join(f"{base[peer] / seconds:9.2f}x {peer}" if base[peer] else " " * 15 for peer in base)
            print(f"  {key:24} {1e6 * seconds:12.2f} us {ratios}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
