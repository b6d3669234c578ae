"""Layers and small nets with random weights, as ONNX models, for measuring."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RANDOM = np.random.default_rng(1)


class Net:
    """A graph that grows node by node; each method takes a value's name and gives that of its result."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def constant(self, data, name=""):
        name = name or f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(data, name))
        return name

    def random(self, *shape):
        size = (np.prod(shape[1:]) if len(shape) > 1 else 100.0) ** -0.5
        return self.constant(RANDOM.normal(0, size, shape).astype(np.float32))

    def node(self, op, inputs, outputs=1, **attributes):
        names = [f"{op.lower()}{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, **attributes))
        return names[0]

    def conv(self, x, inputs, outputs, kernel, stride=1, groups=1, axes=2, relu=True):
        """With a bias, as it stands after BatchNormalization was folded."""
        w, b = self.random(outputs, inputs // groups, *[kernel] * axes), self.random(outputs)
        # rten 0.27 takes no Conv without dilations.
        strides, dilations, pads = [stride] * axes, [1] * axes, [kernel // 2] * 2 * axes
        y = self.node("Conv", [x, w, b], strides=strides, dilations=dilations, pads=pads, group=groups)
        return self.node("Relu", [y]) if relu else y

    def recurrent(self, x, op, inputs, units):
        gates = {"LSTM": 4, "GRU": 3}[op]
        w, r = self.random(1, gates * units, inputs), self.random(1, gates * units, units)
        b = self.random(1, 2 * gates * units)
        states = ["h", "c"][: 2 if op == "LSTM" else 1]
        attributes = {} if op == "LSTM" else {"linear_before_reset": 1}
        names = ["y", *(s + "n" for s in states)]
        node = helper.make_node(op, [x, w, r, b, "", *(s + "0" for s in states)], names, hidden_size=units, **attributes)
        self.nodes.append(node)
        return states

    def linear(self, x, inputs, outputs):
        w = self.constant(RANDOM.normal(0, inputs**-0.5, (inputs, outputs)).astype(np.float32))
        return self.node("MatMul", [x, w])

    def save(self, path, inputs, outputs):
        """Inputs and outputs are (name, shape) or (name, shape, type)."""
        info = lambda name, shape, kind=TensorProto.FLOAT: helper.make_tensor_value_info(name, kind, shape)
        graph = helper.make_graph(
            self.nodes, path.stem, [info(*i) for i in inputs], [info(*o) for o in outputs], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, path)


def recurrent(path, op, units):
    net = Net()
    state = [1, "batch", units]
    states = net.recurrent("x", op, units, units)
    net.save(
        path, [("x", ["seq", "batch", units]), *((s + "0", state) for s in states)],
        [("y", ["seq", 1, "batch", units]), *((s + "n", state) for s in states)])


def product(path, rows, cols):
    net = Net()
    y = net.linear("x", cols, rows)
    net.save(path, [("x", ["batch", cols])], [(y, ["batch", rows])])


def text(path, words, units):
    """An embedding, an LSTM and an output for each word, as in a model of language."""
    net = Net()
    v = net.node("Gather", [net.random(words, units), "x"])
    states = net.recurrent(v, "LSTM", units, units)
    flat = net.node("Squeeze", ["y", net.constant(np.array([1]))])
    out = net.linear(flat, units, words)
    out = net.node("Add", [out, net.random(words)])
    state = [1, "batch", units]
    net.save(
        path, [("x", ["seq", "batch"], TensorProto.INT64), *((s + "0", state) for s in states)],
        [(out, ["seq", "batch", words]), *((s + "n", state) for s in states)])


def conv(path, channels, size, kernel=3, groups=1, axes=2):
    net = Net()
    y = net.conv("x", channels, channels, kernel, groups=groups, axes=axes, relu=False)
    shape = ["batch", channels, *[size] * axes]
    net.save(path, [("x", shape)], [(y, shape)])


def image_net(path, net, x, size, channels, classes=1000):
    pooled = net.node("Flatten", [net.node("GlobalAveragePool", [x])])
    y = net.node("Add", [net.linear(pooled, channels, classes), net.random(classes)])
    net.save(path, [("x", ["batch", 3, size, size])], [(y, ["batch", classes])])


def resnet(path, size=224):
    """The shapes of ResNet-18."""
    net = Net()
    x = net.conv("x", 3, 64, 7, stride=2)
    x = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    before = 64
    for channels, stride in [(64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)]:
        y = net.conv(x, before, channels, 3, stride=stride)
        y = net.conv(y, channels, channels, 3, relu=False)
        if before != channels:
            x = net.conv(x, before, channels, 1, stride=stride, relu=False)
        x = net.node("Relu", [net.node("Add", [x, y])])
        before = channels
    image_net(path, net, x, size, before)


def mobilenet(path, size=128):
    """The shapes of MobileNetV1, half as wide."""
    net = Net()
    x = net.conv("x", 3, 16, 3, stride=2)
    before = 16
    for channels, stride in [(32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), *[(256, 1)] * 5, (512, 2), (512, 1)]:
        x = net.conv(x, before, before, 3, stride=stride, groups=before)
        x = net.conv(x, before, channels, 1)
        before = channels
    image_net(path, net, x, size, before)
