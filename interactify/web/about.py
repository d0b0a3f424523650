"""What clients are told of a network, so that they need not have it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from interactify.interactive import Interactive
from interactify.pictures.value_range import ValueRange
from interactify.session.session_file import fingerprint


@dataclass(frozen=True)
class About:
    """A network as clients know it.

    Attributes:
        title: what it is called.
        count: how many classes it tells apart; 1 for one object and the rest.
        class_names: one for each class, or none.
        reads_clicks: whether it reads maps of clicks beside the photo.
        channels: of the photos that it takes.
        value_range: the values of photos that are black and white; None for those of their type.
        version: of its weights and options.
    """

    title: str
    count: int
    class_names: tuple[str, ...]
    reads_clicks: bool
    channels: int
    value_range: ValueRange | None
    version: str

    @classmethod
    def of(cls, net: Interactive, weights: str = "") -> About:
        """What is told of a network; its `fingerprint` takes a while, and may be at hand as `weights`.

        >>> about = About.of(interactify.wrap(interactify.zoo.load()))
        >>> about.channels, about.classes, about == About.from_json(about.to_json())
        (3, (), True)
        """
        spec = net.spec
        options = {name: repr(value) for name, value in sorted(net.options.items())}
        digest = hashlib.sha256(f"{weights or fingerprint(net.unwrap())} {options}".encode()).hexdigest()
        title = spec.family or type(net.unwrap()).__name__
        reads = spec.click_maps is not None
        return cls(
            title, spec.output.classes, spec.class_names, reads, spec.channels, net.value_range, digest[:8]
        )  # fmt: skip

    @property
    def classes(self) -> tuple[str, ...]:
        """A name for each class, made up where there is none; empty for a network of one class."""
        return (self.class_names or tuple(f"class {k}" for k in range(self.count))) if self.count > 1 else ()

    def to_json(self) -> dict[str, Any]:
        """A dict for `json.dumps`; `from_json` reads it."""
        return {**asdict(self), "class_names": list(self.class_names), "classes": list(self.classes)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> About:
        """Read what `to_json` wrote; other keys are ignored."""
        own = {name: content[name] for name in cls.__dataclass_fields__}
        own["value_range"] = None if own["value_range"] is None else tuple(own["value_range"])
        return cls(**{**own, "class_names": tuple(own["class_names"])})
