"""Runs .amq models, and makes them of ONNX models."""

from ._amq import Error, Model, Port, Session, __version__
from ._convert import Conversion, convert

__all__ = ["Conversion", "Error", "Model", "Port", "Session", "__version__", "convert"]
