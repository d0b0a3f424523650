"""The command-line options that name a service in place of a network, for the commands that can do without one."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from typing import TYPE_CHECKING

from interactify.commands.network_options import OPTIONS
from interactify.errors import OptionError, extra

if TYPE_CHECKING:
    from interactify.client import Service


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a service; `service` reads them."""
    group = parser.add_argument_group("a service in place of a network")
    group.add_argument(
        "--server", action="append", default=[], metavar="URL",
        help="use the network of `interactify serve` at this address, and run none here; repeat it for each replica",
    )  # fmt: skip
    group.add_argument(
        "--key", metavar="KEY",
        help="its API key; better in the environment, as INTERACTIFY_KEY, where other users don't see it",
    )  # fmt: skip
    group.add_argument("--server-network", metavar="NAME", help="which of its networks (its first)")


def service(given: argparse.Namespace, patience: float = 30.0) -> Service | None:
    """The service that the options name; None where they name none. It is asked for its networks when it is used.

    With `patience`, the seconds for which a service that is away is asked again.

    Raises:
        OptionError: options of a network beside it, options of a service without it, no address; or httpx is missing.
    """
    if not given.server:
        if given.key or given.server_network:
            raise OptionError("Expected --server URL with --key and --server-network, got none. Try --server URL.")
        return None
    own = [name for name in OPTIONS if getattr(given, name) is not None] + ["model"] * (given.model != "zoo")
    if own:
        raise OptionError(
            f"Expected either --server or options of a network, got both: --{own[0].replace('_', '-')}. Try "
            "--server-network NAME, or give the option to `interactify serve`."
        )
    if find_spec("httpx") is None:
        raise OptionError(f"A service needs httpx, which is not installed. Try {extra('client')}.")
    from interactify.client import connect  # an optional package comes with it

    return connect(given.server, given.key, patience=patience)
