"""What clients are told of a network, so that they need not have it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from interactify.pictures.value_range import ValueRange


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

    @property
    def classes(self) -> tuple[str, ...]:
        """A name for each class, made up where there is none; empty for a network of one class."""
        return (self.class_names or tuple(f"class {k}" for k in range(self.count))) if self.count > 1 else ()

    def to_json(self) -> dict[str, Any]:
        """A dict for `json.dumps`; `from_json` reads it.

        >>> about = About("U-Net", 2, ("ground", "road"), False, 3, None, "0a1b2c3d")
        >>> about.to_json()["classes"], about == About.from_json(about.to_json())
        (['ground', 'road'], True)
        """
        return {**asdict(self), "class_names": list(self.class_names), "classes": list(self.classes)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> About:
        """Read what `to_json` wrote; other keys are ignored."""
        own = {name: content[name] for name in cls.__dataclass_fields__}
        own["value_range"] = None if own["value_range"] is None else tuple(own["value_range"])
        return cls(**{**own, "class_names": tuple(own["class_names"])})
