"""The suffix: the same logits and gradients as the whole network, with no more work than they need."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import interactify
from interactify.inspection.image_flow import Convolution
from interactify.interactions.click import Click
from interactify.network.network import Network
from interactify.network.variables import class_logits
from interactify.runtime.suffix import Suffix
from interactify.runtime.tape import Tape
from tests.fixtures import awkward, networks


def of_smp(name: str, encoder: str, **options: object) -> Callable[[], nn.Module]:
    return lambda: smp.create_model(name, encoder, encoder_weights=None, **options)


THREE_STAGES = {"encoder_depth": 3, "decoder_channels": [32, 24, 16]}
# The smallest of each kind: what a suffix has to get right is in each of their blocks, and more of them show no more.
TWENTY: dict[str, Callable[[], nn.Module]] = {
    "the embedded network": interactify.zoo.load,
    "Unet, ResNet-18": of_smp("unet", "resnet18"),
    "Unet++, EfficientNet-B0": of_smp("unetplusplus", "efficientnet-b0", **THREE_STAGES),
    "DeepLabV3+, ResNet-18": of_smp("deeplabv3plus", "resnet18"),
    "DeepLabV3, MobileNetV2": of_smp("deeplabv3", "mobilenet_v2"),
    "FPN, DenseNet, 11 classes": of_smp("fpn", "tu-densenet121", classes=11, block_config=(2, 2, 2, 2)),
    "PSPNet, VGG-11 with batch norm, sigmoid": of_smp("pspnet", "vgg11_bn", activation="sigmoid"),
    "LinkNet, RepGhostNet": of_smp("linknet", "tu-repghostnet_050", encoder_depth=3),
    "MAnet, RegNet": of_smp("manet", "timm-regnetx_002", **THREE_STAGES),
    "PAN, SE-ResNet-18": of_smp("pan", "tu-seresnet18"),
    "UPerNet, ConvNeXt": of_smp("upernet", "tu-test_convnext", decoder_channels=64),
    "Segformer, MiT-B0": of_smp("segformer", "mit_b0"),
    "Unet, SCSE attention, Xception": of_smp("unet", "xception", decoder_attention_type="scse", **THREE_STAGES),
    "Unet, NFNet": of_smp("unet", "tu-test_nfnet"),
    "Unet, HRNet, sigmoid": of_smp("unet", "tu-hrnet_w18_small", activation="sigmoid"),
    "torchvision FCN, dilated, auxiliary": networks.small_fcn,
    "torchvision LR-ASPP": lambda: torchvision.models.segmentation.lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=3
    ),
    "writing in place": awkward.InPlace,
    "lists with None": awkward.ListsWithNone,
    "functional": networks.Functional,
}


OFTEN = (  # one of each kind, tested in full every time; the others too where slow tests run
    *("the embedded network", "Unet, ResNet-18", "FPN, DenseNet, 11 classes", "UPerNet, ConvNeXt"),
    *("writing in place", "lists with None", "functional"),
)
TINY = ("writing in place", "lists with None", "functional")
SOME = [pytest.param(name, marks=() if name in OFTEN else pytest.mark.slow) for name in TWENTY]
# What they have, others of the twenty have too: depthwise and separable convolutions, dilation, branches, a sigmoid.
SLOW = ("DeepLabV3, MobileNetV2", "PAN, SE-ResNet-18", "Unet, SCSE attention, Xception", "Unet, HRNet, sigmoid")


def apart(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-30))


def both(suffix: Suffix, values: Tensor, clicks: list[Click]) -> tuple[float, float]:
    """How far logits and gradient of the suffix are from the whole network's, for a random cotangent of the logits."""
    found: list[tuple[Tensor, Tensor]] = []
    for run in (suffix, lambda v, c: class_logits(suffix.network, suffix.variables, suffix.image, v, c)):
        at = values.clone().requires_grad_(True)
        logits = run(at, clicks)
        cotangent = networks.random_tensor(*logits.shape, dtype=logits.dtype, seed=7)
        (gradient,) = torch.autograd.grad(logits, at, cotangent)
        found.append((logits.detach(), gradient))
    (logits, gradient), (plain, slope) = found
    return apart(logits, plain), apart(gradient, slope)


def suffix_of(net: interactify.Interactive, photo: object) -> Suffix:
    suffix = net.session(photo).initial_step.crop.suffix
    assert suffix.whole is None, f"the whole network is run: {suffix.whole}"
    return suffix


def somewhere(suffix: Suffix, seed: int = 3, size: float = 0.02) -> Tensor:
    return size * networks.random_tensor(*suffix.start.shape, dtype=suffix.start.dtype, seed=seed)


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.deep = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Conv2d(6, 1, 1)


FEW, OTHERS = ("input", "kernels", "scale_bias@B"), ("maps", "scale_bias@A", "scale_bias@C")
# Convolutions in double precision are slow here: no maps, no kernels.
DOUBLE = ("input", "scale_bias@A", "scale_bias@B", "scale_bias@C")


def unless(quick: bool) -> Any:
    return () if quick else pytest.mark.slow


EXACT = [
    *(pytest.param(each, torch.float32, FEW, id=f"{each}-float32", marks=unless(each not in SLOW)) for each in TWENTY),
    *(pytest.param(each, torch.float32, OTHERS, id=f"{each}-others", marks=unless(each in OFTEN)) for each in TWENTY),
    *(pytest.param(each, torch.float64, DOUBLE, id=f"{each}-float64", marks=unless(each in TINY)) for each in TWENTY),
]


@pytest.mark.parametrize(("name", "dtype", "kinds"), EXACT)
def test_exact(name: str, dtype: torch.dtype, kinds: tuple[str, ...]) -> None:
    model = networks.seeded(TWENTY[name]).eval().to(dtype)
    points = interactify.wrap(model).spec.insertion_points()
    within = (1e-5, 1e-4) if dtype == torch.float32 else (1e-10, 1e-10)
    clicks = [Click(20, 30), Click(50, 40, False)]
    for variables in (kind for kind in kinds if "@" not in kind or kind[-1] in points):
        net = interactify.wrap(model, variables=variables, resolution=64)
        for seed in (1, 2) if name in OFTEN else (1,):  # a second photo: no state of the first remains
            if dtype == torch.float32:  # lowering changes rounding: see the next test
                net.runtime.suffixes.unlowered[net.variables.name] = "asked for"
            suffix = suffix_of(net, networks.random_photo(64, 64, seed=seed))
            # In flat patches of the unchanged photo, pixels tie in a maximum: the last bit decides which one gets the
            # gradient, and a folded batch norm changes the last bit.
            small = 0.01 if dtype == torch.float64 and variables == "input" else 0.0
            for value in (small, 0.02) if seed == 1 else (0.02,):
                logits, gradient = both(suffix, somewhere(suffix, seed, value), clicks)
                assert logits <= within[0] and gradient <= within[1], (variables, seed, value, logits, gradient)


@pytest.mark.parametrize("name", SOME)
def test_lowered_in_single_precision(name: str) -> None:
    """Logits equal the whole network's to rounding; so does the gradient, except at units that rounding switches."""
    model = networks.seeded(TWENTY[name]).eval()
    for variables in ("input", *(f"scale_bias@{letter}" for letter in interactify.wrap(model).spec.insertion_points())):
        net = interactify.wrap(model, resolution=64, variables=variables)
        suffix = suffix_of(net, networks.random_photo(64, 64, seed=1))
        at = somewhere(suffix, 1)
        found, expected = (
            (run(values), values)
            for run, values in (
                (lambda v, s=suffix: s(v, []), at.clone().requires_grad_(True)),
                (
                    lambda v, s=suffix, n=net: class_logits(n.network, n.variables, s.image, v, []),
                    at.clone().requires_grad_(True),
                ),
            )
        )
        assert apart(found[0].detach(), expected[0].detach()) <= 1e-5, variables
        cotangent = networks.random_tensor(*found[0].shape, seed=7)
        gradients = [
            torch.autograd.grad(logits, values, cotangent)[0].flatten() for logits, values in (found, expected)
        ]
        gradients = [F.normalize(gradient.double(), dim=0, eps=0.0) for gradient in gradients]
        assert float(gradients[0] @ gradients[1]) > 0.999, variables
        assert net.runtime.suffixes.unlowered == {net.variables.name: ""}


def test_a_lowered_tape_that_fails_at_a_size_gives_way_to_the_recorded_one() -> None:
    class NeedsItsLayout(Base):
        """Channels-last maps of this width can't be viewed flat."""

        def forward(self, x: Tensor) -> Tensor:
            deep = self.deep(self.stem(x))
            if x.shape[-1] == 96:
                deep = deep.view(len(deep), -1).view(deep.shape)
            return self.head(deep)

    net = interactify.wrap(networks.seeded(NeedsItsLayout).eval())
    suffix = suffix_of(net, networks.random_photo(64, 96))
    assert (
        net.runtime.suffixes.unlowered == {"input": ""} and suffix.lowered_tape is None
    )  # tried while the photo was opened
    assert max(both(suffix, somewhere(suffix), [])) < 1e-5 and suffix.lowered_tape is None


@pytest.mark.parametrize(
    "name", ["the embedded network", pytest.param("torchvision FCN, dilated, auxiliary", marks=pytest.mark.slow)]
)
def test_the_same_whatever_was_opened_before(name: str) -> None:
    """What the library learns about a network from one photo changes nothing for the next."""
    photos = [networks.random_photo(64, 64, seed=seed) for seed in (1, 2)]

    def clicked(net: interactify.Interactive, photo: object) -> Tensor:
        session = net.session(photo)
        session.click(x=20, y=20)
        return session.click(x=50, y=45, positive=False).logits

    model = networks.seeded(TWENTY[name]).eval()
    net = interactify.wrap(model, resolution=64, max_evaluations=3, target=0)
    first, second, again = (clicked(net, photo) for photo in (*photos, photos[0]))
    other = interactify.wrap(model, resolution=64, max_evaluations=3, target=0)
    assert torch.equal(clicked(other, photos[1]), second)
    assert torch.equal(first, again) and torch.equal(clicked(other, photos[0]), first)


def test_batch_norms_are_folded_once_for_a_network() -> None:
    model = networks.seeded(of_smp("unet", "resnet18")).eval()
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    net = interactify.wrap(model, resolution=64)
    frozen = net.runtime.suffixes.frozen
    photos = [networks.random_photo(64, 64, seed=seed) for seed in (1, 2)]
    first = suffix_of(net, photos[0])
    assert not any(step.function is F.batch_norm for step in first.lowered_tape.steps)
    assert any(step.function is F.batch_norm for step in first.recorded_tape.steps), "held until the self-check"
    assert sum(key[0][0] == ("folded", 1e-5) for key in frozen.derived) == norms
    derived = {id(tensor) for tensor in frozen.tensors()}
    suffix_of(net, photos[1])
    assert {id(tensor) for tensor in frozen.tensors()} == derived
    with torch.no_grad():
        model.encoder.conv1.weight.mul_(2)
    changed = suffix_of(net, photos[0])
    assert max(both(changed, somewhere(changed), [])) < 1e-2
    assert sum(key[0][0] == ("folded", 1e-5) for key in frozen.derived) == norms, "the old ones are dropped"


def session_of(name: str, variables: str, evaluations: int) -> list[Tensor]:
    """Three clicks in a row, undo and another one, on two photos, in double precision."""
    net = interactify.wrap(
        networks.seeded(TWENTY[name]).eval().double(),
        variables=variables,
        max_evaluations=evaluations,
        resolution=64,
        target=0,
    )
    results = []
    for seed in (1, 2):
        session = net.session(networks.random_photo(64, 64, seed=seed))
        for x, y, positive in ((20, 30, True), (60, 20, False), (40, 50, True)):
            results.append(session.click(x=x, y=y, positive=positive).logits)
        results += [session.undo().logits, session.click(x=10, y=60, positive=False).logits]
    return results


def check_session(name: str, variables: str, evaluations: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with_tapes = session_of(name, variables, evaluations)
    with monkeypatch.context() as patched:
        patched.setattr(Suffix, "whole", "asked for")
        expected = session_of(name, variables, evaluations)
        differences = [apart(a, b) for a, b in zip(with_tapes, expected, strict=True)]
        if max(differences) < 1e-6:
            return
        # Some random networks amplify rounding. If the whole network does so by itself, on a photo whose last bit
        # differs, its tape can't do better.
        prepared = Network.normalised
        patched.setattr(Network, "normalised", lambda *args: prepared(*args) * (1 + 1e-15))
        nudged = session_of(name, variables, evaluations)
    own = [apart(a, b) for a, b in zip(nudged, expected, strict=True)]
    assert max(differences) < 10 * max(own), (variables, differences, own)
    assert max(own) < 1e-2, (variables, own)


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("the embedded network", "scale_bias@B"),
        *(("writing in place", variables) for variables in ("input", "maps", "kernels", "scale_bias@B")),
        *(("writing in place", variables) for variables in ("bias_field@B", "conv1x1@B", "rows_columns@B")),
        *(pytest.param("the embedded network", each, marks=pytest.mark.slow) for each in ("input", "maps", "kernels")),
    ],
)
def test_three_clicks_undo_and_a_second_photo(name: str, variables: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole session with tapes gives the same as one in which each evaluation runs the whole network."""
    check_session(name, variables, 4, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", TWENTY)
def test_sessions_on_all_twenty_at_all_points(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for letter in interactify.wrap(networks.seeded(TWENTY[name]).eval()).spec.insertion_points():
        check_session(name, f"scale_bias@{letter}", 3, monkeypatch)
    check_session(name, "input", 3, monkeypatch)


@pytest.mark.parametrize("letter", ["A", "B", "C"])
def test_an_evaluation_runs_the_suffix_and_no_more(letter: str) -> None:
    """FLOPs of one forward and backward pass, against the layers after the point, run by hand."""
    model = networks.seeded(TWENTY["DeepLabV3+, ResNet-18"]).eval().requires_grad_(False)
    net = interactify.wrap(model, variables=f"scale_bias@{letter}")
    suffix = suffix_of(net, networks.random_photo(128, 128))
    point = net.spec.insertion_points()[letter].name
    outputs: list[list[Tensor]] = []
    handle = model.get_submodule(point).register_forward_hook(
        lambda module, args, out: outputs.append(out if isinstance(out, list) else [out])
    )
    with torch.no_grad():
        model(suffix.image)
        handle.remove()
        beside = model.decoder.block1(outputs[0][2]) if point == "encoder" else outputs[0][0]
    leaf = outputs[0][-1].clone().requires_grad_(True)

    def by_hand() -> Tensor:
        if point == "encoder":
            deep = model.decoder.up(model.decoder.aspp(leaf))
            return model.segmentation_head(model.decoder.block2(torch.cat([deep, beside], 1)))
        if point == "decoder":
            return model.segmentation_head(leaf)
        assert point == "decoder.block2.0.0", f"{point}: cut it by hand here"
        (_, pointwise), norm, relu = model.decoder.block2
        return model.segmentation_head(relu(norm(pointwise(leaf))))

    def counted(run: Callable[[], Tensor]) -> int:
        with FlopCounterMode(display=False) as counter:
            run().sum().backward()
        return counter.get_total_flops()

    values = somewhere(suffix).requires_grad_(True)
    suffix(values, [])  # the first is checked against the whole network
    assert counted(lambda: suffix(values, [])) == pytest.approx(counted(by_hand), rel=0.01)


def test_the_self_check_falls_back_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    net = interactify.wrap(networks.seeded(networks.Plain))
    suffix = suffix_of(net, networks.random_photo())
    run = type(suffix.recorded_tape).__call__
    monkeypatch.setattr(type(suffix.recorded_tape), "__call__", lambda self, values: run(self, values) + 1)
    with pytest.warns(UserWarning, match="other logits than the whole"):
        assert both(suffix, somewhere(suffix), []) == (0.0, 0.0)
    assert "other logits" in str(suffix.whole)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it warns once
        assert both(suffix, somewhere(suffix), []) == (0.0, 0.0)


def test_the_check_is_made_once_for_a_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[object] = []
    whole = Network.class_logits
    monkeypatch.setattr(Network, "class_logits", lambda *given: runs.append(given[1]) or whole(*given))
    net = interactify.wrap(networks.seeded(networks.Plain))
    for seed in (1, 2):
        suffix = suffix_of(net, networks.random_photo(seed=seed))
        for _ in range(3):
            suffix(somewhere(suffix), [])
    assert len(runs) == 4, "a recording for each photo, one self-check, one pass over noise to decide about lowering"


def test_changed_weights_are_noticed() -> None:
    model = networks.seeded(networks.Plain)
    net = interactify.wrap(model, variables="scale_bias@deep")
    suffix = suffix_of(net, networks.random_photo())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    assert max(both(suffix, somewhere(suffix), [])) < 1e-5


def test_what_is_held_for_a_photo() -> None:
    """The map that the variables change and the image, and nothing from before that map."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(4, 1, 1))
    net = interactify.wrap(networks.seeded(lambda: model), variables="scale_bias@2")
    suffix = suffix_of(net, networks.random_photo(64, 96))
    assert suffix.bytes_kept == 4 * 64 * 96 * (3 + 4)


def test_what_the_logits_do_not_need_is_not_run() -> None:
    """A side output after the insertion point costs a click nothing."""

    class WithASide(Base):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            deep = self.deep(self.stem(x))
            return {"out": self.head(deep), "aux": self.head(F.relu(self.deep(deep)))}

    suffix = suffix_of(
        interactify.wrap(networks.seeded(WithASide), variables="scale_bias@stem"), networks.random_photo()
    )
    assert sum(step.function is torch.conv2d for step in suffix.recorded_tape.steps) == 2


def test_convolutions_in_groups_stay_as_they_are() -> None:
    """Channels-last is several times slower for them; if there are many of them, no layout is changed."""

    def lowered_tape(model: nn.Module) -> Tape:
        suffix = suffix_of(interactify.wrap(networks.seeded(lambda: model).eval()), networks.random_photo())
        assert suffix.lowered_tape is not None
        return suffix.lowered_tape

    def layouts(tape: Tape) -> dict[int, set[bool]]:
        """By groups, whether the weights are channels-last."""
        found: dict[int, set[bool]] = {}
        for step in tape.steps:
            if step.function is torch.conv2d:
                call = Convolution(*step.args, **step.kwargs)
                weight = tape.constants[call.weight.slot]  # type: ignore[attr-defined]
                last = weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
                if weight.shape[1] > 1 and weight.shape[-1] > 1:
                    found.setdefault(call.groups, set()).add(last)
        return found

    def stack(*groups: int) -> nn.Module:
        inner = [nn.Conv2d(8, 8, 3, padding=1, groups=each) for each in groups]
        return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *inner, nn.Conv2d(8, 1, 1))

    assert layouts(lowered_tape(stack(1, 4, 1))) == {1: {True}, 4: {False}}
    assert layouts(lowered_tape(stack(4, 4, 1))) == {1: {False}, 4: {False}}
