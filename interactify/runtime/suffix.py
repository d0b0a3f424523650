"""The suffix of a network for one image: what depends on the variables is run, everything else is kept.

The pass that gives the image's plain logits is recorded on a tape (`tape.py`), so a suffix costs nothing to make, and
a tape is exact for its image, whatever way the network's code takes there. Tracing a network once for all images of a
shape would save nothing: each image's prefix has to be run once anyway, and while that happens it is recorded.

What is run is the tape as `lowering.py` leaves it. Where that would change the logits by more than rounding, the tape
is run as it was recorded; where a pass can't be recorded, or fails the self-check, the whole network is run, which is
always right.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from interactify.errors import ran_out
from interactify.interactions.click import Click
from interactify.network.network import finite
from interactify.network.variables import Variables, class_logits
from interactify.runtime.executor import off_by, rounds_as, tolerance_of
from interactify.runtime.lowering import lowered
from interactify.runtime.recording import InPlaceWrites, Recorded, Unrecordable, record
from interactify.runtime.runtime import Key, Runtime
from interactify.runtime.tape import Diverged, Tape

# Of the largest logit: what lowering may change on an image of noise, in single precision or as autocast computes.
_ROUNDING = {None: 5e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}
_TOGETHER = 4 * 2**30  # bytes that passes made at the same time may take


class Suffix:
    """What an evaluation runs for one image (1, C, h', w'): from the variables' values to logits (1, K, h, w)."""

    def __init__(self, runtime: Runtime, variables: Variables, image: Tensor, start: Tensor) -> None:
        self.runtime, self.variables, self.image, self.start = runtime, variables, image, start
        self.network = network = runtime.network
        self._weights = {_pointer(weight) for weight in network.weights}
        self.diverged = 0  # evaluations where the network took another way, and was run as a whole
        self._key: Key = (variables.name, tuple(image.shape))
        self._tape: Tape | None = None
        self._lowered: Tape | None = None
        self._failed = ""
        self._valid_for: tuple[object, ...] = ()
        self._reads_clicks = getattr(variables, "reads_clicks", True)
        if network.spec.draws:
            runtime.suffixes.whole.setdefault(self._key, "it draws random numbers in each pass")

    def plain(self) -> Tensor:
        """The network's own logits for the image, before any click, and the suffix made ready.

        Raises:
            ModelError: the network fails on the image.
            NonFiniteError: it returns NaN or infinity.
        """
        if not self._reads_clicks and self.whole is None:
            recorded = self._recorded(self.start, ())
            if recorded is not None:
                return finite(recorded.logits.detach())
        logits = self.network.plain_logits(self.image)
        self._remember()
        return logits

    def __call__(self, values: Tensor, clicks: Sequence[Click]) -> Tensor:
        """Logits (1, K, h, w) under the values, differentiable in them; `clicks` are in network pixels.

        The same as the whole network's, and so is their gradient, to within rounding.
        """
        if self.whole is None and (self._tape is None or self._valid_for != self.valid_for(clicks)):
            recorded = self._recorded(values, clicks)
            # A lowered tape is run here too: the same values give the same logits, to the last bit, at every call.
            if recorded is not None and not recorded.recomputes and self._lowered is None:
                return recorded.logits
        if self.whole is not None or self._tape is None:
            logits = self._whole(values, clicks)
            self._remember()
            return logits
        try:
            logits = self._run(self._tape, values)
        except Diverged:
            self.diverged += 1
            return self._whole(values, clicks)
        if self._key in self.runtime.suffixes.checked or torch.equal(values.detach(), self.start):
            return logits
        return self._checked(logits, values, clicks)

    @property
    def shared(self) -> bool:
        """Whether the same is kept whatever the clicks are."""
        return not self._reads_clicks

    def rows(self, values: Tensor) -> Tensor | None:
        """Logits (b, 1, K, h, w) under values (b, …), each row's those of a call; None where rows run one by one."""
        known = self.runtime.suffixes
        tape = self._lowered or self._tape
        if not self.shared or self.whole is not None or tape is None or self._valid_for != self.valid_for(()):
            return None
        if self._key in known.alone:
            return None
        try:
            logits: Tensor = torch.vmap(tape)(values)
        except Exception as cause:  # Diverged, or an operation of the network's that takes no rows
            if ran_out(cause):
                raise
            known.alone[self._key] = f"{type(cause).__name__}: {cause}"
            return None
        if self._key not in known.batched and not torch.equal(values[0].detach(), self.start):
            with torch.no_grad():
                off = off_by(logits[0].detach(), self(values[0].detach(), ()))
            if off > self._mistaken:
                known.alone[self._key] = f"rows gave other logits together than alone (by {off:.1e} of the largest)"
                return None
            known.batched.add(self._key)
        return logits

    def at_once(self) -> int:
        """How many rows to run in one pass: on a GPU, as many as fit into its memory; on a CPU, rows run side by side.

        There a pass over several rows has more to copy than it saves (measured: 1.8 times as long for a row).
        """
        if self.image.device.type != "cuda" or not self.shared or not self.bytes_made:
            return 1
        free, _ = torch.cuda.mem_get_info(self.image.device)
        return max(1, min(64, free // (4 * self.bytes_made)))

    def side_by_side(self) -> int:
        """How many passes to run at the same time: on a CPU one for each thread, within bounded memory.

        Whole networks run one after the other: what they take is not known, and drawing random numbers is the
        process's own.
        """
        if self.image.device.type != "cpu" or self.whole is not None:
            return 1
        return max(1, min(torch.get_num_threads(), _TOGETHER // max(1, self.bytes_made)))

    @property
    def bytes_made(self) -> int:
        """Bytes of all that a pass makes; 0 where the whole network is run."""
        return 0 if self._tape is None or self.whole is not None else self._tape.bytes_made

    @property
    def whole(self) -> str | None:
        """Why the whole network is run; None where it is not."""
        return self.runtime.suffixes.whole.get(self._key)

    @property
    def bytes_kept(self) -> int:
        """Bytes kept for this image, its own pixels included, the network's weights not."""
        own = {_pointer(tensor) for tensor in (*self.network.weights, *self.runtime.suffixes.frozen.tensors())}
        if self._tape is None:
            return self.image.untyped_storage().nbytes()
        image = self.image.untyped_storage()
        counted = any(_pointer(tensor) == image.data_ptr() for tensor in self._tape.constants.values())
        return self._tape.held(own) + (0 if counted else image.nbytes())

    def valid_for(self, clicks: Sequence[Click]) -> tuple[object, ...]:
        """What a tape is made for: the weights, and the clicks where the variables read them."""
        return self.network.version(), tuple(clicks) if self._reads_clicks else ()

    def _whole(self, values: Tensor, clicks: Sequence[Click]) -> Tensor:
        return class_logits(self.network, self.variables, self.image, values, clicks)

    def _recorded(self, values: Tensor, clicks: Sequence[Click]) -> Recorded | None:
        """Run the whole network once, and keep its tape; None where that can't be done, and from then on."""
        known = self.runtime.suffixes
        learnt = known.learnt.setdefault(self._key, InPlaceWrites())
        self._tape = None
        try:
            recorded = record(lambda start: self._whole(start, clicks), values, learnt, self._own)
        except Unrecordable as why:
            known.whole[self._key] = str(why)
            return None
        except Exception as cause:  # the network's own code: whether it only fails while watched, its next run tells
            self._failed = f"it fails while it is watched ({type(cause).__name__}: {cause})"
            return None
        self._tape, self._valid_for = recorded.tape, self.valid_for(clicks)
        self._lowered = None
        if not self._unlowered():
            self._lowered = lowered(recorded.tape, known.frozen, self._own)
            if self._key in known.checked:
                self._tape = self._lowered  # the other is not needed any more, nor are its constants
        return recorded

    def _run(self, tape: Tape, values: Tensor) -> Tensor:
        """The logits of the lowered tape, where there is one that runs; of the one it was made of elsewhere."""
        if self._lowered is None or self._lowered is tape:
            return self.runtime.executor(self._key, tape, values)
        try:
            return self.runtime.executor(self._key, self._lowered, values)
        except RuntimeError as cause:  # at this size, say, a view of a map that is laid out otherwise
            if ran_out(cause):
                raise
            self._lowered = None
        return self.runtime.executor(self._key, tape, values)

    def _unlowered(self) -> str:
        """Why this network's tapes are not lowered: on an image of noise its logits would change, or it fails.

        Always on the same image, so that what a photo gives does not hang on the photos that were opened before it.
        """
        known, network = self.runtime.suffixes.unlowered, self.network
        if self.variables.name not in known:
            spec = network.spec
            noise = torch.randn(1, spec.channels, *spec.probed, generator=torch.Generator().manual_seed(0))
            image = noise.to(spec.device, spec.dtype)
            try:
                start = self.variables.start(network, image)
                recorded = record(
                    lambda values: class_logits(network, self.variables, image, values, ()),
                    start,
                    InPlaceWrites(),
                    self._own,
                )
                with torch.no_grad():
                    off = off_by(
                        lowered(recorded.tape, self.runtime.suffixes.frozen, self._own)(start), recorded.logits
                    )
                allowed = _ROUNDING[rounds_as(spec.dtype, network.autocast, spec.device)]
                known[self.variables.name] = (
                    "" if off <= allowed else f"its logits would change by {off:.1e} of the largest"
                )
            except Exception as cause:  # the network's own operations, on maps that are laid out otherwise
                known[self.variables.name] = f"it fails on what inference allows ({type(cause).__name__}: {cause})"
        return known[self.variables.name]

    @property
    def _mistaken(self) -> float:
        return tolerance_of(self.image.dtype, self.network.autocast, self.image.device)

    def _own(self, tensor: Tensor) -> bool:
        """Whether a tensor is one of the network's weights."""
        return _pointer(tensor) in self._weights

    def _remember(self) -> None:
        """The network has just run well: where it failed while it was watched, it is not watched again."""
        if self._failed:
            self.runtime.suffixes.whole[self._key], self._failed = self._failed, ""

    def _checked(self, logits: Tensor, values: Tensor, clicks: Sequence[Click]) -> Tensor:
        """The logits, where the whole network gives the same, away from the identity; its own elsewhere, for good."""
        with torch.no_grad():
            expected = self._whole(values.detach(), clicks)
        if not bool(torch.isfinite(expected).all()):
            return logits  # a step too far: it says nothing; the next evaluation is checked
        off = off_by(logits.detach(), expected)
        if off <= self._mistaken:
            self.runtime.suffixes.checked.add(self._key)
            self._tape = self._lowered or self._tape
            return logits
        why = f"running it in part gave other logits than the whole (by {off:.1e} of the largest)"
        self.runtime.suffixes.whole[self._key] = why
        warnings.warn(f"Each evaluation runs the whole network: {why}.", stacklevel=2)
        return self._whole(values, clicks)


def _pointer(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
