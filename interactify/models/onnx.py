"""ONNX as a module that can be differentiated: read, repaired where onnx2torch needs it, converted.

Graphs that other tools wrote are valid for onnxruntime and yet can't be converted: their weights are the outputs of
Constant nodes, their nodes are in no particular order, they compute in half precision. Each of these is brought into
the usual form; the values stay the same.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from torch import nn

from interactify.errors import CheckpointError, ModelError, extra, reason_of

# What computes in whole numbers: no gradient passes through it.
_QUANTISED: Final = {
    *("QLinearConv", "ConvInteger", "MatMulInteger", "QLinearMatMul", "QuantizeLinear", "DequantizeLinear"),
    *("DynamicQuantizeLinear", "QGemm", "QLinearAdd", "QLinearMul", "QAttention", "QLinearConcat", "QLinearSigmoid"),
}


def module_from_onnx(source: Any, name: str) -> nn.Module:
    """A module that computes what an ONNX graph does, in float32.

    Args:
        source: the path of an `.onnx` file, or an `onnx.ModelProto`, which is not changed.
        name: of the network, for errors.

    Raises:
        ModelError: the packages are missing, the graph is quantised or has an operator that can't be converted.
        CheckpointError: the file can't be read.
    """
    onnx = _package("onnx")
    convert = _package("onnx2torch").convert
    if isinstance(source, Path):
        try:
            model = onnx.load(str(source))
        except Exception as cause:  # of protobuf, and of files with weights outside
            raise CheckpointError(
                f"Expected a readable ONNX file in {source}, got {reason_of(cause)}. Try downloading or exporting it "
                "again."
            ) from cause
    else:
        model = onnx.ModelProto()
        model.CopyFrom(source)
    if not model.graph.node:
        raise CheckpointError(f"Expected an ONNX graph in {name}, got none. Try exporting it again.")
    quantised = sorted({node.op_type for node in model.graph.node} & _QUANTISED)
    if quantised:
        raise ModelError(
            f"Expected a network in floating point, got {name}, which is quantised ({', '.join(quantised[:3])}): "
            "rounding to whole numbers has no gradient, so no click could move it. Try the float32 or float16 network "
            "that it was quantised from."
        )
    repaired(model)
    try:
        with warnings.catch_warnings():  # onnx2torch warns of its own use of torch
            warnings.simplefilter("ignore")
            module: nn.Module = convert(model)
    except Exception as cause:  # an operator it does not know, or one with arguments it does not
        raise ModelError(
            f"Expected an ONNX graph that onnx2torch can convert, got {name}: {reason_of(cause)}. Try exporting it "
            "with opset 13 to 17 and fixed attributes, or the PyTorch network that it was made from."
        ) from cause
    # Read by adapters/exported.py.
    module.onnx_size, module.onnx_size_is_baked_in = _size(model.graph), _bakes_sizes_in(model.graph)  # type: ignore[assignment]
    return module.eval()


def _size(graph: Any) -> tuple[int, int] | None:
    """(H, W) of the images that the graph states; None where it leaves them open."""
    weights = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        sides = [side.dim_value for side in value.type.tensor_type.shape.dim]
        if value.name not in weights and len(sides) == 4:
            return (sides[2], sides[3]) if min(sides[2:]) > 0 else None
    return None


def _bakes_sizes_in(graph: Any) -> bool:
    """Whether maps are resized or reshaped to sizes that are constants: on images of another size they are wrong."""
    numpy_helper = _package("onnx.numpy_helper")
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        name = node.input[3] if node.op_type == "Resize" and len(node.input) > 3 else ""
        name = node.input[1] if node.op_type == "Reshape" else name
        if name in constants and sum(int(side) > 1 for side in numpy_helper.to_array(constants[name]).ravel()) > 2:
            return True
    return False


def repaired(model: Any) -> None:
    """Bring an `onnx.ModelProto` into the form that onnx2torch reads; in place.

    Constants become initialisers, half precision becomes single, nodes come after what they read. Maps that are resized
    to a constant size by a whole factor are resized by that factor, so that images of other sizes can be run.
    """
    graph = model.graph
    _widen(graph)
    _constants_as_initialisers(graph)
    _aliases_removed(graph)
    _sort(graph)
    _resize_by_scale(model)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as cause:
        raise ModelError(
            f"Expected the package {name} for ONNX networks, got none ({cause}). Try {extra('onnx')}."
        ) from cause


def _constants_as_initialisers(graph: Any) -> None:
    """Constant nodes, which Paddle's exporter writes for every weight, as initialisers."""
    numpy_helper = _package("onnx.numpy_helper")
    kept = []
    for node in graph.node:
        value = _constant_value(node) if node.op_type == "Constant" else None
        if value is None:
            kept.append(node)
        else:
            graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)


def _constant_value(node: Any) -> Any:
    """The value of a Constant node as an array; None for texts and sparse tensors."""
    numpy_helper = _package("onnx.numpy_helper")
    for attribute in node.attribute:
        if attribute.name == "value":
            return numpy_helper.to_array(attribute.t)
        if attribute.name in ("value_float", "value_floats"):
            return np.array(attribute.f if attribute.name == "value_float" else list(attribute.floats), np.float32)
        if attribute.name in ("value_int", "value_ints"):
            return np.array(attribute.i if attribute.name == "value_int" else list(attribute.ints), np.int64)
    return None


def _aliases_removed(graph: Any) -> None:
    """Identity nodes over initialisers, as in tied weights: their readers read the initialiser itself."""
    initialisers = {tensor.name for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    instead: dict[str, str] = {}
    kept = []
    for node in graph.node:
        source = instead.get(node.input[0], node.input[0]) if node.input else ""
        if node.op_type == "Identity" and source in initialisers and node.output[0] not in outputs:
            instead[node.output[0]] = source
        else:
            kept.append(node)
    for node in kept:
        for index, name in enumerate(node.input):
            node.input[index] = instead.get(name, name)
    del graph.node[:]
    graph.node.extend(kept)


def _sort(graph: Any) -> None:
    """Nodes in an order in which each comes after those that compute what it reads."""
    known = {"", *(tensor.name for tensor in graph.initializer), *(value.name for value in graph.input)}
    known |= {tensor.values.name for tensor in graph.sparse_initializer}
    made_here = {name for node in graph.node for name in node.output}
    waiting, ordered = list(graph.node), []
    while waiting:
        # Names from an outer graph, which a branch of an If may read, count as known.
        ready = [node for node in waiting if all(name in known or name not in made_here for name in _reads(node))]
        if not ready:
            raise ModelError("Expected an ONNX graph without circles, got one whose nodes read each other's outputs.")
        chosen = set(map(id, ready))
        ordered += ready
        waiting = [node for node in waiting if id(node) not in chosen]
        known.update(name for node in ready for name in node.output)
    del graph.node[:]
    graph.node.extend(ordered)


def _resize_by_scale(model: Any) -> None:
    """Resize nodes with constant sizes, in a graph for one size of image, as ones with constant factors."""
    onnx, numpy_helper = _package("onnx"), _package("onnx.numpy_helper")
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    sides = {}  # by the number of the node: the constant height and width that it resizes to
    for number, node in enumerate(graph.node):
        if node.op_type != "Resize" or len(node.input) < 4:
            continue
        # PyTorch's exporter joins the constant sides to the batch and channels that it reads from the map.
        joined = makers[node.input[3]].input[-1] if _kind(makers.get(node.input[3])) == "Concat" else ""
        sizes = constants.get(node.input[3], constants.get(joined))
        if sizes is not None and sizes.size in (2, 4):
            sides[number] = [int(side) for side in sizes[-2:]]
    if not sides or _size(graph) is None:
        return
    try:
        inferred = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # of its own kinds: then the sizes stay as they are
        return
    shapes = {value.name: value.type.tensor_type.shape.dim for value in inferred.value_info}
    for number, after in sides.items():
        node = graph.node[number]
        before = [side.dim_value for side in shapes.get(node.input[0], ())][2:]
        if len(before) != 2 or min(before) < 1 or after[0] % before[0] or after[1] % before[1]:
            continue
        factors = np.array([1, 1, after[0] // before[0], after[1] // before[1]], np.float32)
        graph.initializer.append(numpy_helper.from_array(factors, f"whole_factors_{number}"))
        node.input[2] = f"whole_factors_{number}"
        del node.input[3:]


def _kind(node: Any) -> str:
    return "" if node is None else str(node.op_type)


def _reads(node: Any) -> Iterator[str]:
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _reads(inner)


def _widen(graph: Any) -> None:
    """Half precision as single precision: weights, constants, casts, inputs and outputs."""
    onnx, numpy_helper = _package("onnx"), _package("onnx.numpy_helper")
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    for tensor in graph.initializer:
        if tensor.data_type == half:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == half:
            value.type.tensor_type.elem_type = single
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i == half:
                attribute.i = single
            elif attribute.t.data_type == half:
                array = numpy_helper.to_array(attribute.t).astype(np.float32)
                attribute.t.CopyFrom(numpy_helper.from_array(array, attribute.t.name))
