"""The suffix of a network for one image: runs what depends on the variables, and caches everything before it.

The pass that gives the image's initial logits is recorded on a tape (`tape.py`). So a suffix costs no extra pass, and
a tape is exact for its image, whichever branches the network's code takes there. Tracing the network once for all
images of a shape would save nothing: the prefix of each image runs once anyway, and that pass is recorded.

`lowering.py` then rewrites the tape for inference. If that changes the logits by more than rounding, the tape runs as
recorded. If a pass can't be recorded or fails the self-check, the whole network runs, which is always correct.
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

# How much lowering may change the logits of an image of noise, relative to the largest; by autocast's dtype.
_ROUNDING = {None: 5e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}
_PARALLEL_BYTES = 4 * 2**30  # how much memory passes that run at the same time may take


def reads_clicks(variables: Variables) -> bool:
    """Whether the variables' `run` looks at the clicks.

    Variables without the member, written before the protocol had it, count as reading them: that is always correct,
    and only slower.
    """
    return bool(getattr(variables, "reads_clicks", True))


class Suffix:
    """What one evaluation runs for an image (1, C, h', w'): from the variables' values to logits (1, K, h, w)."""

    def __init__(self, runtime: Runtime, variables: Variables, image: Tensor, start: Tensor) -> None:
        self.runtime, self.variables, self.image, self.start = runtime, variables, image, start
        self.network = network = runtime.network
        self._weights = {_pointer(weight) for weight in network.weights}
        self.diverged = 0  # evaluations in which the network took another branch than the tape, and ran as a whole
        self._key: Key = (variables.name, tuple(image.shape))
        self._tape: Tape | None = None
        self._lowered: Tape | None = None
        self._failed = ""
        self._valid_for: tuple[object, ...] = ()
        self._reads_clicks = reads_clicks(variables)
        if network.spec.draws:
            runtime.suffixes.whole.setdefault(self._key, "it draws random numbers in each pass")

    def plain(self) -> Tensor:
        """The network's own logits for the image, before any click; the suffix is recorded on the way.

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

        Logits and gradient are the whole network's, to within rounding.
        """
        if self.whole is None and (self._tape is None or self._valid_for != self.valid_for(clicks)):
            recorded = self._recorded(values, clicks)
            # If there is a lowered tape, run it here too: the same values then give the same logits at every call.
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
        """Whether one tape serves all clicks."""
        return not self._reads_clicks

    def rows(self, values: Tensor) -> Tensor | None:
        """Logits (b, 1, K, h, w) under values (b, …), as calls row by row give; None if rows can't run together."""
        known = self.runtime.suffixes
        tape = self._lowered or self._tape
        if not self.shared or self.whole is not None or tape is None or self._valid_for != self.valid_for(()):
            return None
        if self._key in known.alone:
            return None
        try:
            logits: Tensor = torch.vmap(tape)(values)
        except Exception as cause:  # Diverged, or an operation in the network without a batching rule
            if ran_out(cause):
                raise
            known.alone[self._key] = f"{type(cause).__name__}: {cause}"
            return None
        if self._key not in known.batched and not torch.equal(values[0].detach(), self.start):
            with torch.no_grad():
                off = off_by(logits[0].detach(), self(values[0].detach(), ()))
            if off > self._tolerance:
                known.alone[self._key] = f"rows gave other logits together than alone (by {off:.1e} of the largest)"
                return None
            known.batched.add(self._key)
        return logits

    def at_once(self) -> int:
        """How many rows to run in one pass: on a GPU as many as fit into its memory, on a CPU one.

        On a CPU a pass over several rows copies more than it saves (measured: 1.8 times as long per row); there, passes
        run in parallel instead (`side_by_side`).
        """
        if self.image.device.type != "cuda" or not self.shared or not self.bytes_made:
            return 1
        free, _ = torch.cuda.mem_get_info(self.image.device)
        return max(1, min(64, free // (4 * self.bytes_made)))

    def side_by_side(self) -> int:
        """How many passes to run at the same time: on a CPU one for each thread, within bounded memory.

        Whole networks run one after the other: their memory is unknown, and the random state belongs to the process.
        """
        if self.image.device.type != "cpu" or self.whole is not None:
            return 1
        return max(1, min(torch.get_num_threads(), _PARALLEL_BYTES // max(1, self.bytes_made)))

    @property
    def bytes_made(self) -> int:
        """Bytes of all tensors that a pass creates; 0 if the whole network runs."""
        return 0 if self._tape is None or self.whole is not None else self._tape.bytes_made

    @property
    def whole(self) -> str | None:
        """Why the whole network runs; None if only the suffix does."""
        return self.runtime.suffixes.whole.get(self._key)

    @property
    def bytes_kept(self) -> int:
        """Bytes held for this image: its pixels and the tape's constants, without the network's weights."""
        weights = {_pointer(tensor) for tensor in (*self.network.weights, *self.runtime.suffixes.frozen.tensors())}
        if self._tape is None:
            return self.image.untyped_storage().nbytes()
        image = self.image.untyped_storage()
        counted = any(_pointer(tensor) == image.data_ptr() for tensor in self._tape.constants.values())
        return self._tape.held(weights) + (0 if counted else image.nbytes())

    def valid_for(self, clicks: Sequence[Click]) -> tuple[object, ...]:
        """What a tape depends on: the weights' version, and the clicks if the variables read them."""
        return self.network.version(), tuple(clicks) if self._reads_clicks else ()

    def _whole(self, values: Tensor, clicks: Sequence[Click]) -> Tensor:
        return class_logits(self.network, self.variables, self.image, values, clicks)

    def _recorded(self, values: Tensor, clicks: Sequence[Click]) -> Recorded | None:
        """Run the whole network once and keep its tape; None if the pass can't be recorded, now and later."""
        known = self.runtime.suffixes
        writes = known.writes.setdefault(self._key, InPlaceWrites())
        self._tape = None
        try:
            recorded = record(lambda start: self._whole(start, clicks), values, writes, self._is_weight)
        except Unrecordable as why:
            known.whole[self._key] = str(why)
            return None
        except Exception as cause:  # the network's own code; its next run shows whether it fails only while recorded
            self._failed = f"it fails while it is recorded ({type(cause).__name__}: {cause})"
            return None
        self._tape, self._valid_for = recorded.tape, self.valid_for(clicks)
        self._lowered = None
        if not self._unlowered():
            self._lowered = lowered(recorded.tape, known.frozen, self._is_weight)
            if self._key in known.checked:
                self._tape = self._lowered  # frees the recorded tape and its constants
        return recorded

    def _run(self, tape: Tape, values: Tensor) -> Tensor:
        """The logits of the lowered tape; of the recorded one if there is no lowered tape, or it fails."""
        if self._lowered is None or self._lowered is tape:
            return self.runtime.executor(self._key, tape, values)
        try:
            return self.runtime.executor(self._key, self._lowered, values)
        except RuntimeError as cause:  # for example, a view at this size that needs the original memory layout
            if ran_out(cause):
                raise
            self._lowered = None
        return self.runtime.executor(self._key, tape, values)

    def _unlowered(self) -> str:
        """Why this network's tapes are not lowered; "" if they are. Decided on an image of noise.

        The image is always the same, so that a photo's result does not depend on the photos opened before it.
        """
        known, network = self.runtime.suffixes.unlowered, self.network
        if self.variables.name not in known:
            spec = network.spec
            generator = torch.Generator("cpu").manual_seed(0)
            shape = (1, spec.channels, *spec.probed)
            noise = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
            image = noise.to(spec.device, spec.dtype)
            try:
                start = self.variables.start(network, image)
                recorded = record(
                    lambda values: class_logits(network, self.variables, image, values, ()),
                    start,
                    InPlaceWrites(),
                    self._is_weight,
                )
                with torch.no_grad():
                    off = off_by(
                        lowered(recorded.tape, self.runtime.suffixes.frozen, self._is_weight)(start), recorded.logits
                    )
                allowed = _ROUNDING[rounds_as(spec.dtype, network.autocast, spec.device)]
                known[self.variables.name] = (
                    "" if off <= allowed else f"its logits would change by {off:.1e} of the largest"
                )
            except Exception as cause:  # an operation in the network that can't take another memory layout
                known[self.variables.name] = f"it fails when it is lowered ({type(cause).__name__}: {cause})"
        return known[self.variables.name]

    @property
    def _tolerance(self) -> float:
        return tolerance_of(self.image.dtype, self.network.autocast, self.image.device)

    def _is_weight(self, tensor: Tensor) -> bool:
        """Whether a tensor is one of the network's weights."""
        return _pointer(tensor) in self._weights

    def _remember(self) -> None:
        """The network has just run without an error: if it failed while recorded, it is not recorded again."""
        if self._failed:
            self.runtime.suffixes.whole[self._key], self._failed = self._failed, ""

    def _checked(self, logits: Tensor, values: Tensor, clicks: Sequence[Click]) -> Tensor:
        """The self-check: these logits if the whole network gives the same, else the whole network's, from now on."""
        with torch.no_grad():
            expected = self._whole(values.detach(), clicks)
        if not bool(torch.isfinite(expected).all()):
            return logits  # too long a step proves nothing; the next evaluation is checked
        off = off_by(logits.detach(), expected)
        if off <= self._tolerance:
            self.runtime.suffixes.checked.add(self._key)
            self._tape = self._lowered or self._tape
            return logits
        why = f"running it in part gave other logits than the whole (by {off:.1e} of the largest)"
        self.runtime.suffixes.whole[self._key] = why
        warnings.warn(f"Each evaluation runs the whole network: {why}.", stacklevel=2)
        return self._whole(values, clicks)


def _pointer(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
