"""`interactify cvat-function`: writes the folder that nuclio deploys, and prints the command that deploys it."""

from __future__ import annotations

import argparse
import shlex

from interactify.commands.network_options import add_network_options, note_random_weights, options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("out", metavar="OUT", help="a folder that is new, empty, or was written by this command")
    parser.add_argument("--name", metavar="TEXT", help="what CVAT's list of tools shows (the network's)")
    parser.add_argument("--gpu", action="store_true", help="run on a GPU of the machine that nuclio runs on")
    parser.add_argument(
        "--requirement", metavar="PACKAGE", action="append", default=[],
        help="a package that the network needs beside this one, as pip takes it; repeat it for several",
    )  # fmt: skip
    parser.add_argument(
        "--torch-index", metavar="ADDRESS", default="",
        help="where pip finds torch and torchvision: without a GPU, PyTorch's index for processors saves gigabytes",
    )  # fmt: skip
    add_network_options(parser)


def run(given: argparse.Namespace) -> int:
    """Write the folder, and print what is in it and how it is deployed; returns the exit status."""
    from interactify.tools.cvat_folder import SETTINGS, fill  # torch comes with it, which --help does without

    folder = fill(given.out, given.model, options(given), given.name, given.gpu, given.requirement, given.torch_index)
    note_random_weights(given.model)
    for name in ("function.yaml", "main.py", SETTINGS, "interactify"):
        print(folder / name)
    if not given.gpu and not given.torch_index:
        print("\nPyTorch with CUDA is installed, gigabytes more than needed: see --torch-index.")
    print("\nWhere CVAT and its nuclio run:\n")
    print(f"  nuctl deploy --project-name cvat --path {shlex.quote(str(folder))} --platform local \\")
    print(f"    --file {shlex.quote(str(folder / 'function.yaml'))} \\")
    print('    --platform-config \'{"attributes": {"network": "cvat_cvat"}}\'')
    return 0
