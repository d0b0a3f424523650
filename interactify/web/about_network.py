"""What is told of a network and of its sessions, from the network itself."""

from __future__ import annotations

import hashlib

from interactify.interactive import Interactive
from interactify.session.session import Session
from interactify.session.session_file import fingerprint, identity_of
from interactify.web.about import About


def about_network(net: Interactive, weights: str = "") -> About:
    """What clients are told of a network; its `fingerprint` takes a while, and may be at hand as `weights`.

    >>> about = about_network(interactify.wrap(interactify.zoo.load()))
    >>> about.channels, about.classes
    (3, ())
    """
    spec = net.spec
    options = {name: repr(value) for name, value in sorted(net.options.items())}
    digest = hashlib.sha256(f"{weights or fingerprint(net.unwrap())} {options}".encode()).hexdigest()
    title = spec.family or type(net.unwrap()).__name__
    reads = spec.click_maps is not None
    return About(title, spec.output.classes, spec.class_names, reads, spec.channels, net.value_range, digest[:8])


def session_identity(session: Session, weights: str) -> str:
    """A digest of all that a session's masks depend on: its photo, the network, by its `fingerprint`, its options."""
    return identity_of(session.wrapped, session.refiner, session.target, weights)
