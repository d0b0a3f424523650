"""The command-line options that say where many photos are worked on: processes of this machine, or a Ray cluster."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from interactify.engines.work import cores
from interactify.errors import OptionError

if TYPE_CHECKING:
    from interactify.engines import Engine

RAY_ONLY = ("address", "cpus", "gpus", "block")


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options; `engine` reads them."""
    group = parser.add_argument_group("where it runs")
    group.add_argument(
        "--engine",
        metavar="NAME",
        default="local",
        help="local: processes of this machine (the default); ray: a cluster",
    )
    group.add_argument(
        "--workers", type=int, metavar="N",
        help="how many processes (by default one for each core), or actors of the cluster (as many as it has room for)",
    )  # fmt: skip
    group.add_argument("--threads", type=int, metavar="N", default=1, help="threads of each worker (%(default)s)")
    group.add_argument("--device", metavar="NAME", default="cpu", help="cpu, or cuda: all GPUs are used")
    group.add_argument("--address", metavar="HOST:PORT", help="the Ray cluster; by default the one found, or one here")
    group.add_argument("--cpus", type=float, metavar="N", help="of each actor (by default as many as it has threads)")
    group.add_argument(
        "--gpus", type=float, metavar="N", help="of each actor; 0.5 shares one (by default 1 with --device cuda)"
    )
    group.add_argument("--block", type=int, metavar="N", help="photos that an actor takes at a time (4)")


def engine(given: argparse.Namespace) -> Engine:
    """The engine that the options name. Raises OptionError for options that don't belong together."""
    from interactify.engines import Local, OnRay

    if given.engine == "local":
        wrong = [name for name in RAY_ONLY if getattr(given, name) is not None]
        if wrong:
            raise OptionError(
                f"Expected --{wrong[0]} together with --engine ray, got --engine local. Try --engine ray."
            )
        return Local(cores() if given.workers is None else given.workers)
    if given.engine != "ray":
        raise OptionError(f"Expected an engine, local or ray; got {given.engine!r}. Try local.")
    gpus = given.gpus if given.gpus is not None else float(given.device.startswith("cuda"))
    return OnRay(
        address=given.address,
        workers=given.workers,
        cpus=given.threads if given.cpus is None else given.cpus,
        gpus=gpus,
        **({} if given.block is None else {"block": given.block}),
    )
