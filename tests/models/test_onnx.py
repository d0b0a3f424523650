"""ONNX as a module: the same values as onnxruntime's, whatever form the graph's writer left it in."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs onnx: install interactify[onnx]")
pytest.importorskip("onnx2torch", reason="needs onnx2torch: install interactify[onnx]")

import torch  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import interactify  # noqa: E402
from interactify.errors import ModelError  # noqa: E402
from interactify.models import as_module  # noqa: E402
from interactify.models.onnx import repaired  # noqa: E402
from tests.fixtures import networks  # noqa: E402

PHOTO = networks.random_photo()


def weights() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    shapes = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (1, 8, 1, 1), "b2": (1,)}
    return {name: draw.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def graph(constants: bool = False, shuffled: bool = False, half: bool = False, tied: bool = False) -> Any:
    """Two convolutions, a resize between them and a sigmoid, written as exporters of other frameworks do."""
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    arrays = {name: array.astype(np.float16) if half else array for name, array in weights().items()}
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Resize", ["r", "", "scales"], ["u"], mode="nearest"),
        helper.make_node("Conv", ["u", "w2", "b2"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["y"]),
    ]
    tensors.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"))
    if tied:
        nodes.insert(0, helper.make_node("Identity", ["w2"], ["w2_again"]))
        nodes[4].input[1] = "w2_again"
    if constants:
        made = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in tensors]
        nodes, tensors = [*made, *nodes], []
    if shuffled:
        nodes = nodes[::-1]
    sides = ["n", 3, "h", "w"], ["n", 1, "h", "w"]
    ends = [helper.make_tensor_value_info(n, kind, shape) for n, shape in zip("xy", sides, strict=True)]
    whole = helper.make_graph(nodes, "net", ends[:1], ends[1:], tensors)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def expected(x: torch.Tensor) -> torch.Tensor:
    w = {name: torch.from_numpy(array) for name, array in weights().items()}
    y = (
        torch.relu(torch.conv2d(x, w["w1"], w["b1"], stride=2, padding=1))
        .repeat_interleave(2, 2)
        .repeat_interleave(2, 3)
    )
    return torch.sigmoid(torch.conv2d(y, w["w2"], w["b2"]))


@pytest.mark.parametrize(
    "form", [{}, {"constants": True}, {"shuffled": True}, {"tied": True}, {"constants": True, "shuffled": True}]
)
def test_every_form_of_a_graph(form: dict[str, bool]) -> None:
    model = graph(**form)
    before = model.SerializeToString()
    x = torch.rand(1, 3, 32, 48)
    assert torch.allclose(as_module(model)(x), expected(x), atol=1e-6)
    assert model.SerializeToString() == before  # the caller's own graph is not changed


def test_half_precision_becomes_single() -> None:
    x = torch.rand(1, 3, 32, 48)
    module = as_module(graph(half=True, shuffled=True))
    assert {tensor.dtype for tensor in module.state_dict().values() if tensor.is_floating_point()} == {torch.float32}
    assert torch.allclose(module(x), expected(x), atol=2e-3)


def test_casts_to_half_precision_are_single_too() -> None:
    model = graph()
    model.graph.node.append(helper.make_node("Cast", ["y"], ["c"], to=TensorProto.FLOAT16))
    repaired(model)
    assert model.graph.node[-1].attribute[0].i == TensorProto.FLOAT


def test_a_graph_is_wrapped_from_memory_and_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(graph(constants=True), str(path))
    for source in (graph(), path, str(path)):
        net = interactify.wrap(source, mean=0.0, std=1.0, resolution=64)
        assert net.spec.stem[0].weight == (8, 3, 3, 3)
        assert (net.spec.output.activation, net.spec.output.bypassed) == ("sigmoid", True)
        session = net.session(PHOTO)
        assert session.initial_step.crop.suffix.whole is None
        assert session.click(x=20, y=30, positive=not bool(session.result.mask[30, 20])).satisfied


def stated(resized_to: tuple[int, int], joined: bool = False) -> Any:
    """The graph for images of 96 × 128, with a map of half that size resized to a constant size.

    `joined`: as PyTorch's exporter writes it, batch and channels are read from the map.
    """
    model = graph()
    for value, sides in zip((*model.graph.input, *model.graph.output), ((96, 128), resized_to), strict=True):
        for index, side in zip((2, 3), sides, strict=True):
            value.type.tensor_type.shape.dim[index].dim_value = side
    if joined:
        for name, values in (("sides", resized_to), ("zero", [0]), ("two", [2])):
            model.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
        model.graph.node.append(helper.make_node("Shape", ["r"], ["shape"]))
        model.graph.node.append(helper.make_node("Slice", ["shape", "zero", "two"], ["first"]))
        model.graph.node.append(helper.make_node("Concat", ["first", "sides"], ["sizes"], axis=0))
    else:
        model.graph.initializer.append(numpy_helper.from_array(np.array([1, 8, *resized_to], np.int64), "sizes"))
    model.graph.node[2].CopyFrom(helper.make_node("Resize", ["r", "", "", "sizes"], ["u"], mode="nearest"))
    return model


@pytest.mark.parametrize("joined", [False, True])
def test_constant_sizes_that_are_whole_factors_hold_for_other_images(joined: bool) -> None:
    module = as_module(stated((96, 128), joined))
    for size in ((96, 128), (64, 32)):
        x = torch.rand(1, 3, *size)
        assert torch.allclose(module(x), expected(x), atol=1e-6)


@pytest.mark.parametrize("baked", [False, True])
def test_the_size_that_a_graph_states(baked: bool) -> None:
    """It is where photos are seen; the only one where maps are resized to a constant size by no whole factor."""
    model = stated((72, 96) if baked else (96, 128))
    net = interactify.wrap(model, mean=0.0, std=1.0)
    assert (net.spec.exact, net.spec.resolution) == ((96, 128) if baked else None, 128)
    session = net.session(PHOTO)
    assert session.click(x=20, y=30, positive=not bool(session.result.mask[30, 20])).satisfied
    if not baked:
        assert interactify.wrap(model, mean=0.0, std=1.0, resolution=64).spec.resolution == 64


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
@pytest.mark.parametrize("resized_to", [(72, 96), (96, 128)])
def test_sessions_are_copied_and_pickled(copied: Callable[[Any], Any], resized_to: tuple[int, int]) -> None:
    """With the size that the graph states, which is noted at the module and not in it."""
    session = interactify.wrap(stated(resized_to), mean=0.0, std=1.0).session(PHOTO)
    session.click(x=20, y=30)
    again = copied(session)
    assert again.net.unwrap() is not session.net.unwrap() and again.net.spec == session.net.spec
    assert np.array_equal(again.result.probability, session.result.probability)
    assert np.array_equal(again.click(60, 40, False).probability, session.click(60, 40, False).probability)
    assert copied(again.net).spec == session.net.spec


def test_onnxruntime_gives_the_same_and_its_session_is_refused(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime: install interactify[test]")
    path = tmp_path / "net.onnx"
    onnx.save(graph(constants=True), str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    x = torch.rand(1, 3, 32, 48)
    (theirs,) = session.run(None, {"x": x.numpy()})
    assert np.abs(as_module(path)(x).detach().numpy() - theirs).max() < 1e-6
    with pytest.raises(ModelError, match=r"computes no gradients.*net\.onnx"):
        interactify.wrap(session)


def test_a_quantised_graph_is_refused_for_the_right_reason() -> None:
    model = graph()
    model.graph.node.insert(0, helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]))
    with pytest.raises(ModelError, match=r"quantised \(QuantizeLinear\).*no gradient"):
        interactify.wrap(model)


def test_an_operator_that_is_not_known() -> None:
    model = graph()
    model.graph.node[1].op_type = "Unheard"
    with pytest.raises(ModelError, match="Unheard"):
        interactify.wrap(model)
