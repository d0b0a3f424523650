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
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from interactify.errors import ran_out
from interactify.interactions.click import Click
from interactify.network.network import finite
from interactify.network.variables import Variables, class_logits
from interactify.runtime.cache import Kept
from interactify.runtime.executor import off_by, rounds_as, tolerance_of
from interactify.runtime.lowering import lowered
from interactify.runtime.recording import InPlaceWrites, Recorded, Unrecordable, record
from interactify.runtime.reduced import STEERS, Unreducible, reduced
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


@dataclass(frozen=True, eq=False)
class _Tapes:
    """The tape as it was recorded, and the lowered one; they hold all that does not depend on the variables.

    Once the lowered tape has passed the self-check, `recorded` is the same tape, so that the other one is freed.
    `tried` tells whether lowering was tried: not before a second evaluation needs it. `reduced` is the one that steers.
    """

    recorded: Tape
    lowered: Tape | None
    valid_for: tuple[object, ...]
    tried: bool = True
    reduced: Tape | None = None


@dataclass(frozen=True, eq=False)
class _Origin:
    """What the last tapes for some clicks were recorded at: recorded there again, they take the same branches."""

    valid_for: tuple[object, ...]
    values: Tensor
    clicks: tuple[Click, ...]


class Suffix:
    """What one evaluation runs for an image (1, C, h', w'): from the variables' values to logits (1, K, h, w).

    A click network reads interaction maps (1, M, h', w') beside the image: those given, else those of each evaluation's
    clicks. A suffix with `maps` answers one set of clicks, and all of its tapes depend on them.
    """

    def __init__(
        self, runtime: Runtime, variables: Variables, image: Tensor, start: Tensor, maps: Tensor | None = None
    ) -> None:
        self.runtime, self.variables, self.image, self.start = runtime, variables, image, start
        self.network = network = runtime.network
        self.maps = maps
        self._weights = {_pointer(weight) for weight in network.weights}
        self._weight_ids = set(map(id, network.weights))
        self.diverged = 0  # evaluations in which the network took another branch than the tape, and ran as a whole
        self._key: Key = (variables.name, tuple(image.shape))
        self._tapes = Kept[_Tapes]()
        self._origin: _Origin | None = None
        self._made = self._held = 0  # bytes
        self._failed = self._unsteered = ""
        self._reads_clicks = reads_clicks(variables) or (network.reads_clicks and maps is None)
        if network.spec.draws:
            runtime.suffixes.whole.setdefault(self._key, "it draws random numbers in each pass")

    def plain(self) -> Tensor:
        """The network's own logits for the image, before any click; the suffix is recorded on the way.

        With `maps` it is the forward pass of a click network for their clicks, without a gradient, and nothing is
        recorded; `answer` gives one that refinement can begin with.

        Raises:
            ModelError: the network fails on the image.
            NonFiniteError: it returns NaN or infinity.
        """
        if self.shared and self.whole is None:
            found = self._recorded(self.start, ())
            if found is not None:
                return finite(found[0].logits.detach())
        logits = self.network.plain_logits(self.image, self.maps)
        self._remember()
        return logits

    def answer(self, values: Tensor, clicks: Sequence[Click]) -> Tensor:
        """The forward pass of a click network for these clicks: logits (1, K, h, w), differentiable in the values.

        The values are the start, and require a gradient. Most clicks end here; the tape that is recorded on the way is
        lowered only for the next evaluation. The logits have no gradient where the network fails with one.

        Raises: as `plain`.
        """
        logits = None
        if self.whole is None:
            found = self._recorded(values, clicks, lower=False)
            if found is not None:  # with its graph, unless that would run layers again without the variables
                logits = found[0].logits.detach() if found[0].recomputes else found[0].logits
        if logits is None:
            try:
                with torch.enable_grad():
                    logits = self._whole(values, clicks)
            except Exception:  # the network's own code; this says what is wrong, if that is not the gradient
                logits = self.network.plain_logits(self.image, self.maps)
            self._remember()
        finite(logits.detach(), "for these clicks")
        return logits

    def __call__(self, values: Tensor, clicks: Sequence[Click]) -> Tensor:
        """Logits (1, K, h, w) under the values, differentiable in them; `clicks` are in network pixels.

        Logits and gradient are the whole network's, to within rounding.
        """
        tapes = self._tapes.get() if self.whole is None else None
        if self.whole is None and (tapes is None or tapes.valid_for != self.valid_for(clicks)):
            at, drawn = self._origin_of(values, clicks)
            found = self._recorded(at, drawn)
            # If there is a lowered tape, run it here too: the same values then give the same logits at every call.
            if at is values and found is not None and not found[0].recomputes and found[1].lowered is None:
                return found[0].logits
            tapes = None if found is None else found[1]
            del found  # frees the recorded pass
        if tapes is not None and not tapes.tried:
            tapes = self._with_lowered(tapes)
            self._keep(tapes)
        if tapes is None:
            logits = self._whole(values, clicks)
            self._remember()
            return logits
        try:
            logits = self._run(tapes, values)
        except Diverged:
            self.diverged += 1
            return self._whole(values, clicks)
        if self._key in self.runtime.suffixes.checked or torch.equal(values.detach(), self.start):
            return logits
        return self._checked(tapes, logits, values, clicks)

    @property
    def shared(self) -> bool:
        """Whether one tape serves all clicks."""
        return not self._reads_clicks and self.maps is None

    def rows(self, values: Tensor) -> Tensor | None:
        """Logits (b, 1, K, h, w) under values (b, …), as calls row by row give; None if rows can't run together."""
        known = self.runtime.suffixes
        tapes = self._tapes.get()
        if not self.shared or self.whole is not None or tapes is None or tapes.valid_for != self.valid_for(()):
            return None
        tape = tapes.lowered or tapes.recorded
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
    def recorded_tape(self) -> Tape | None:
        """The tape as it was recorded; the lowered one after the self-check; None where none is kept."""
        tapes = self._tapes.get()
        return None if tapes is None else tapes.recorded

    @property
    def lowered_tape(self) -> Tape | None:
        """The tape lowered for inference; None where none is kept."""
        tapes = self._tapes.get()
        return None if tapes is None else tapes.lowered

    def reduced_tape(self) -> Tape | None:
        """The tape in lower precision that steers refinements (`precision="auto"`); None where there is none."""
        tapes = self._tapes.get()
        if not self.unsteered and (tapes is None or tapes.valid_for != self.valid_for(())):  # it made room for others
            found = self._recorded(self.start, ())
            tapes = None if found is None else found[1]
        return None if tapes is None else tapes.reduced

    def steer_no_more(self, why: str) -> None:
        """Let refinements of this image run without passes in lower precision from now on."""
        self._unsteered = why
        tapes = self._tapes.get()
        if tapes is not None and tapes.reduced is not None:
            self._keep(replace(tapes, reduced=None))

    @property
    def unsteered(self) -> str:
        """Why no tape in lower precision steers refinements; "" where one does."""
        if self.network.unsteered or self._unsteered:
            return self.network.unsteered or self._unsteered
        if self.whole is not None or not self.shared:
            return "the whole network runs" if self.whole is not None else "what runs depends on the clicks"
        if self.runtime.executor.runs_by:
            return self.runtime.executor.runs_by
        failed = self._unlowered()  # which tries the other too, unless the network can't be recorded
        return self.runtime.suffixes.unreduced.get(self.variables.name, failed)

    @property
    def bytes_made(self) -> int:
        """Bytes of all tensors that a pass creates; 0 if the whole network runs."""
        return 0 if self.whole is not None else self._made

    @property
    def whole(self) -> str | None:
        """Why the whole network runs; None if only the suffix does."""
        return self.runtime.suffixes.whole.get(self._key)

    @property
    def bytes_kept(self) -> int:
        """Bytes held for this image: its pixels and the tape's constants, without the network's weights."""
        return self.image.untyped_storage().nbytes() + self._held

    def valid_for(self, clicks: Sequence[Click]) -> tuple[object, ...]:
        """What a tape depends on: the weights' version, and the clicks if the variables read them."""
        return self.network.version(), tuple(clicks) if self._reads_clicks else ()

    def _origin_of(self, values: Tensor, clicks: Sequence[Click]) -> tuple[Tensor, Sequence[Click]]:
        """The values and clicks to record tapes at: the same ones each time, as they decide the network's branches."""
        if self.shared:
            return (values if torch.equal(values.detach(), self.start) else self.start), ()
        origin = self._origin
        known = origin is not None and origin.valid_for == self.valid_for(clicks)  # they were dropped from the cache
        return (origin.values, origin.clicks) if known and origin is not None else (values, clicks)

    def _whole(self, values: Tensor, clicks: Sequence[Click]) -> Tensor:
        return class_logits(self.network, self.variables, self.image, values, clicks, self.maps)

    def _recorded(self, values: Tensor, clicks: Sequence[Click], lower: bool = True) -> tuple[Recorded, _Tapes] | None:
        """Run the whole network once and keep its tapes; None if the pass can't be recorded, now and later.

        Without `lower` the tape is kept as it was recorded, to be lowered when it runs.
        """
        known = self.runtime.suffixes
        writes = known.writes.setdefault(self._key, InPlaceWrites())
        self._tapes.take()
        try:
            recorded = record(lambda start: self._whole(start, clicks), values, writes, self._is_weight)
        except Unrecordable as why:
            known.whole[self._key] = str(why)
            return None
        except Exception as cause:  # the network's own code; its next run shows whether it fails only while recorded
            self._failed = f"it fails while it is recorded ({type(cause).__name__}: {cause})"
            return None
        tapes = _Tapes(recorded.tape, None, self.valid_for(clicks), tried=False)
        tapes = self._with_lowered(tapes) if lower else tapes
        self._made = tapes.recorded.bytes_made
        self._keep(tapes)
        if not self.shared:
            self._origin = _Origin(tapes.valid_for, values.detach(), tuple(clicks))
        return recorded, tapes

    def _with_lowered(self, tapes: _Tapes) -> _Tapes:
        """The tapes with a lowered one, where this network's tapes are lowered."""
        known = self.runtime.suffixes
        steers = None
        if not self.unsteered:
            try:
                steers = reduced(tapes.recorded, known.frozen, self._is_whole_weight)
            except Unreducible as why:  # this photo takes another branch
                self._unsteered = str(why)
        if self._unlowered():
            return replace(tapes, tried=True, reduced=steers)
        fast = lowered(tapes.recorded, known.frozen, self._is_whole_weight)
        first = fast if self._key in known.checked else tapes.recorded  # frees the recorded tape and its constants
        return replace(tapes, recorded=first, lowered=fast, tried=True, reduced=steers)

    def _keep(self, tapes: _Tapes) -> None:
        """Keep the tapes in the cache, with what they hold beside the network's weights and the image."""
        shared = {_pointer(tensor) for tensor in (*self.network.weights, *self.runtime.suffixes.frozen.tensors())}
        shared.add(_pointer(self.image))
        sizes = (tapes.lowered or tapes.recorded).sizes()  # after the self-check only this one is left
        self._held = sum(size for pointer, size in sizes.items() if pointer not in shared)
        sizes |= tapes.recorded.sizes()
        if tapes.reduced is not None:
            reduced_sizes = tapes.reduced.sizes()
            sizes |= reduced_sizes
            self._held += sum(size for pointer, size in reduced_sizes.items() if pointer not in shared)
        size = sum(size for pointer, size in sizes.items() if pointer not in shared)
        self._tapes.put(tapes, size, self.image.device)

    def _run(self, tapes: _Tapes, values: Tensor) -> Tensor:
        """The logits of the lowered tape; of the recorded one if there is no lowered tape, or it fails."""
        if tapes.lowered is None or tapes.lowered is tapes.recorded:
            return self.runtime.executor(self._key, tapes.recorded, values)
        try:
            return self.runtime.executor(self._key, tapes.lowered, values)
        except RuntimeError as cause:  # for example, a view at this size that needs the original memory layout
            if ran_out(cause):
                raise
            self._keep(replace(tapes, lowered=None))
        return self.runtime.executor(self._key, tapes.recorded, values)

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
                        lowered(recorded.tape, self.runtime.suffixes.frozen, self._is_whole_weight)(start),
                        recorded.logits,
                    )
                allowed = _ROUNDING[rounds_as(spec.dtype, network.autocast, spec.device)]
                self.runtime.suffixes.unreduced[self.variables.name] = self._unreduced(recorded, start)
                known[self.variables.name] = (
                    "" if off <= allowed else f"its logits would change by {off:.1e} of the largest"
                )
            except Exception as cause:  # an operation in the network that can't take another memory layout
                known[self.variables.name] = f"it fails when it is lowered ({type(cause).__name__}: {cause})"
        return known[self.variables.name]

    def _unreduced(self, recorded: Recorded, start: Tensor) -> str:
        """Why this network's tapes have no equal in lower precision; "" where they have one."""
        if self.network.unsteered:
            return self.network.unsteered
        if getattr(self.variables, "layer", ""):  # measured: docs/tried.md
            return "clicks at a layer take too few evaluations"
        try:
            tape = reduced(recorded.tape, self.runtime.suffixes.frozen, self._is_whole_weight)
            values = start.detach().clone().requires_grad_(True)
            with torch.enable_grad():
                found = tape(values.to(torch.bfloat16)).float()
            torch.autograd.grad(found.sum(), values)
        except Unreducible as why:
            return str(why)
        except Exception as cause:  # an operation in the network that is not for this type
            return f"it fails in bfloat16 ({type(cause).__name__}: {cause})"
        found, expected = found.detach(), recorded.logits.detach()
        off = float((found - expected).norm() / (expected - expected.mean()).norm().clamp(min=1e-6))
        return "" if off <= STEERS else f"in bfloat16 its logits would be off by {off:.0%} of what they vary by"

    @property
    def _tolerance(self) -> float:
        return tolerance_of(self.image.dtype, self.network.autocast, self.image.device)

    def _is_weight(self, tensor: Tensor) -> bool:
        """Whether a tensor is one of the network's weights, or a view of one."""
        return _pointer(tensor) in self._weights

    def _is_whole_weight(self, tensor: Tensor) -> bool:
        """Whether it is a weight itself: a view of one is another tensor in each pass that makes it."""
        return id(tensor) in self._weight_ids

    def _remember(self) -> None:
        """The network has just run without an error: if it failed while recorded, it is not recorded again."""
        if self._failed:
            self.runtime.suffixes.whole[self._key], self._failed = self._failed, ""

    def _checked(self, tapes: _Tapes, logits: Tensor, values: Tensor, clicks: Sequence[Click]) -> Tensor:
        """The self-check: these logits if the whole network gives the same, else the whole network's, from now on."""
        with torch.no_grad():
            expected = self._whole(values.detach(), clicks)
        if not bool(torch.isfinite(expected).all()):
            return logits  # too long a step proves nothing; the next evaluation is checked
        off = off_by(logits.detach(), expected)
        if off <= self._tolerance:
            self.runtime.suffixes.checked.add(self._key)
            now = self._tapes.get()  # without a lowered tape, if that has failed
            if now is not None and now.lowered is not None and now.valid_for == tapes.valid_for:
                self._keep(replace(now, recorded=now.lowered))
            return logits
        why = f"running it in part gave other logits than the whole (by {off:.1e} of the largest)"
        self.runtime.suffixes.whole[self._key] = why
        warnings.warn(f"Each evaluation runs the whole network: {why}.", stacklevel=2)
        return self._whole(values, clicks)


def _pointer(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
