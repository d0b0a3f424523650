"""What clicks repair and what they wreck, over several networks and photo sets, and whether a change is better.

    python -m benchmarks.harm FOLDER --data DIR --half choose                                # as it is
    python -m benchmarks.harm FOLDER --data DIR --half choose --option zoom=False --against RESULT.json

A simulated user clicks through one half of the photos; each photo's records are kept in FOLDER/harm/ as soon as it is
done, and the same command goes on with an interrupted run. Figures are those of `benchmarks.harm_figures`, networks and
photos those of `benchmarks.harm_networks`, intervals those of `benchmarks.paired`. With --against, differences from an
earlier result over the same photos, and what they say. The result is JSON with all records, the machine and versions.
Choose on one half, and report the other, which no choice has seen.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

import interactify
from benchmarks.harm_figures import Figure, Photos, Runs, difference, figures, measured, shared
from benchmarks.harm_networks import HALVES, NETWORKS, Photo, half_of, network_named, photo_set
from benchmarks.paired import Interval, verdict
from benchmarks.speed_measure import machine
from interactify.errors import InteractifyError, OptionError
from interactify.evaluation import Centre, Record
from interactify.evaluation.results_file import ResultsFile
from interactify.evaluation.run import click_through
from interactify.export.files import prepare_folder, safe_file_name, write_whole
from interactify.interactive import Interactive
from interactify.session.session_file import fingerprint

RESULTS = Path(__file__).parent / "results" / "harm"
FORMAT = 1
WHOLE = "whole"
DIGITS = 5  # of what is kept of a record: there are thousands


@dataclass(frozen=True)
class Settings:
    """What a run depends on, beside networks and photos.

    Attributes:
        half: "choose" or "report".
        clicks: the most clicks for each object.
        options: of `interactify.wrap`, over those of each network.
        every: take each n-th photo of the half.
    """

    half: str
    clicks: int = 10
    options: Mapping[str, Any] = field(default_factory=dict)
    every: int = 1

    @property
    def name(self) -> str:
        """Short, for a file."""
        options = " ".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return f"{self.half}-{safe_file_name(options or 'default', 'options', keep='-_=.')}"


@cache
def code_digest() -> str:
    """A digest of the library's code when it was first asked for: records of different code are never mixed."""
    digest = hashlib.sha256()
    root = Path(interactify.__file__).parent
    for path in sorted((*root.rglob("*.py"), *(root.parent / "adapters").rglob("*.py"))):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def run_pair(
    network: str, net: Interactive, photo_set_name: str, photos: Sequence[Photo], into: Path, settings: Settings
) -> Photos:
    """Click through the photos of one set under one network; those that `into` already has are not clicked again."""
    options = {**network_named(network).options, **settings.options}
    configuration = {
        "network": network,
        "weights": fingerprint(net.unwrap())[:16],
        "options": {name: repr(value) for name, value in sorted(options.items()) if not callable(value)},
        "photos": photo_set_name,
        "clicks": settings.clicks,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "code": code_digest(),
    }
    file_name = safe_file_name(f"{network} on {photo_set_name}", "run", keep="-_ ")
    file = ResultsFile(prepare_folder(into) / f"{file_name}.jsonl", configuration)
    user = Centre()
    for photo in tqdm(photos, desc=f"{network} on {photo_set_name}", unit="photo"):
        if photo.name not in file.done:
            file.add(photo.name, [click_through(net, sample, settings.clicks, user)[0] for sample in photo.samples])
    # As precise as in the result, so that what is compared with an earlier one differs by nothing else.
    return {photo.name: [Record.from_json(rounded(each)) for each in file.done[photo.name]] for photo in photos}


def run(
    networks: Iterable[str], sets: Sequence[str] | None, folder: Path, data: Path | None, into: Path, settings: Settings
) -> Runs:
    """Every network on every photo set that it is for and that is among `sets`.

    Raises:
        OptionError: a network has none of them.
        CheckpointError: a network's weights are missing. Both before the first click.
    """
    planned: dict[str, dict[str, list[Photo]]] = {}
    opened: dict[str, list[Photo]] = {}
    for network in networks:
        own = network_named(network).photos
        chosen = [name for name in (own if sets is None else sets) if name in own]
        if not chosen:
            raise OptionError(f"Expected photo sets that {network} is for, got {sets}. Try of {', '.join(own)}.")
        for name in chosen:
            if name not in opened:
                opened[name] = half_of(name, photo_set(name, data), settings.half)[:: settings.every]
        planned[network] = {name: opened[name] for name in chosen}
    code_digest()  # now, since files may be edited while this runs
    # All before the first click, so that a missing file is found now and not after hours.
    nets = {network: wrapped(network, folder, settings) for network in planned}
    return {
        network: {
            name: run_pair(network, nets[network], name, photos, into, settings) for name, photos in by_set.items()
        }
        for network, by_set in planned.items()
    }


def wrapped(network: str, folder: Path, settings: Settings) -> Interactive:
    """The network with its own options, and over them those of the settings."""
    known = network_named(network)
    return interactify.wrap(known.load(folder), **{**known.options, **settings.options})


def all_figures(runs: Runs, clicks: int) -> dict[str, Any]:
    """Every figure with its interval: of each network, its photo sets each and together, and of the whole."""
    known = figures(clicks)

    def of(part: Runs) -> dict[str, Any]:
        return {name: as_json(measured(part, figure)) for name, figure in known.items()}

    by_network = {
        network: {**{name: of({network: {name: photos}}) for name, photos in sets.items()}, WHOLE: of({network: sets})}
        for network, sets in runs.items()
    }
    return {"networks": by_network, WHOLE: of(runs)}


def comparison(before: Runs, after: Runs, clicks: int) -> dict[str, Any]:
    """The differences of every figure, after minus before, by network and on the whole, and what each says.

    Raises:
        OptionError: the runs share no photo.
    """
    old, new = shared(before, after)
    if not new:
        raise OptionError("Expected a result over some of the same photos and networks, got one that shares none.")
    found = {}
    for name, figure in figures(clicks).items():
        whole = difference(old, new, figure)
        by_network = {network: difference({network: old[network]}, {network: new[network]}, figure) for network in new}
        found[name] = {
            WHOLE: as_json(whole),
            "networks": {network: as_json(each) for network, each in by_network.items()},
            "verdict": verdict(whole, by_network, higher_is_better=figure.higher_is_better),
        }
    photos = {network: {name: len(photos) for name, photos in sets.items()} for network, sets in new.items()}
    return {"photos": photos, "figures": found}


def as_json(each: Interval) -> list[float | None]:
    """Value, low and high; None where there is none."""
    return [round(number, 6) if math.isfinite(number) else None for number in (each.value, each.low, each.high)]


def rounded(record: Record) -> dict[str, Any]:
    """A record for the file."""

    def short(value: Any) -> Any:
        if isinstance(value, list):
            return [short(each) for each in value]
        return round(value, DIGITS) if isinstance(value, float) else value

    return {key: short(value) for key, value in record.to_json().items()}


def write_result(path: Path, runs: Runs, settings: Settings, found: Mapping[str, Any]) -> None:
    """Write figures, settings, machine and all records."""
    result = {
        "format": FORMAT,
        "settings": asdict(settings),
        "code": code_digest(),
        "machine": machine(),
        **found,
        "records": {
            network: {
                name: {photo: [rounded(record) for record in records] for photo, records in photos.items()}
                for name, photos in sets.items()
            }
            for network, sets in runs.items()
        },
    }
    prepare_folder(path.parent)
    write_whole(path, (json.dumps(result, allow_nan=False) + "\n").encode())


def read_result(path: Path, settings: Settings) -> Runs:
    """The records of an earlier result.

    Raises:
        OptionError: it can't be read, or is of another half or number of clicks.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        theirs, records = stored["settings"], stored["records"]
        for key in ("half", "clicks"):
            if theirs[key] != getattr(settings, key):
                raise OptionError(
                    f"Expected a result with {key} {getattr(settings, key)!r} in {path}, got {theirs[key]!r}. Try "
                    f"--{key} {theirs[key]}."
                )
        return {
            network: {
                name: {photo: [Record.from_json(each) for each in objects] for photo, objects in photos.items()}
                for name, photos in sets.items()
            }
            for network, sets in records.items()
        }
    except (OSError, ValueError, KeyError, TypeError) as cause:
        if isinstance(cause, InteractifyError):
            raise
        raise OptionError(f"Expected a result of this benchmark in {path}, got none ({cause}). Try another.") from cause


def figures_table(found: Mapping[str, Any], clicks: int) -> str:
    """Figures with their intervals, as Markdown: a row for each figure, a column for each network and the whole."""
    columns = {network: sets[WHOLE] for network, sets in found["networks"].items()} | {WHOLE: found[WHOLE]}
    return _table(figures(clicks), columns, lambda name: "")


def comparison_table(found: Mapping[str, Any], clicks: int) -> str:
    """Differences with their intervals, as Markdown, and what each says."""
    by_figure = found["figures"]
    names = [*found["photos"], WHOLE]
    columns = {
        network: {
            name: each[WHOLE] if network == WHOLE else each["networks"][network] for name, each in by_figure.items()
        }
        for network in names
    }
    return _table(figures(clicks), columns, lambda name: by_figure[name]["verdict"], signed=True)


def _table(
    known: Mapping[str, Figure],
    columns: Mapping[str, Mapping[str, Sequence[float | None]]],
    said: Callable[[str], str],
    signed: bool = False,
) -> str:
    def cell(numbers: Sequence[float | None]) -> str:
        value, low, high = (None if each is None else f"{each:{'+' if signed else ''}.3f}" for each in numbers)
        return "–" if value is None else value if low is None else f"{value} ({low} to {high})"

    lines = [f"| figure | {' | '.join(columns)} | |", f"|---|{'---|' * len(columns)}---|"]
    for name in known:
        lines.append(f"| {name} | {' | '.join(cell(column[name]) for column in columns.values())} | {said(name)} |")
    return "\n".join(lines)


def option(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value as Python writes it, or else a text.

    >>> option("zoom=False"), option("energy=brs"), option("resolution=640")
    (('zoom', False), ('energy', 'brs'), ('resolution', 640))
    """
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"expected name=value, got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, click, and keep the result."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.harm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root = os.environ.get("INTERACTIFY_DATA")
    parser.add_argument("folder", type=Path, help="the networks' weights, and unfinished runs")
    parser.add_argument("--data", type=Path, default=root, help="folder with GrabCut50/, ECSSD/, …")
    parser.add_argument(
        "--networks", nargs="+", default=list(NETWORKS), metavar="NAME", help=f"of {', '.join(NETWORKS)}, or as --model"
    )
    parser.add_argument("--photos", nargs="+", metavar="SET", help="by default all that each network is for")
    parser.add_argument("--clicks", type=int, default=10, help="the most for each object; %(default)s by default")
    parser.add_argument("--half", choices=HALVES, required=True, help="the photos that choose, or those that report")
    parser.add_argument("--every", type=int, default=1, help="take every n-th photo of the half")
    parser.add_argument(
        "--option", type=option, action="append", default=[], metavar="NAME=VALUE", help="of interactify.wrap"
    )
    parser.add_argument("--against", type=Path, metavar="RESULT", help="compare with this earlier result")
    parser.add_argument("--out", type=Path, help="by default in benchmarks/results/harm/, named after half and options")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    settings = Settings(given.half, given.clicks, dict(given.option), given.every)
    out = given.out or RESULTS / f"{settings.name}.json"
    try:
        earlier = read_result(given.against, settings) if given.against else None
        runs = run(given.networks, given.photos, given.folder, given.data, given.folder / "harm" / out.stem, settings)
        found: dict[str, Any] = {"figures": all_figures(runs, settings.clicks)}
        if earlier is not None:
            found["against"] = {"result": given.against.name, **comparison(earlier, runs, settings.clicks)}
        write_result(out, runs, settings, found)
    except InteractifyError as error:
        raise SystemExit(f"error: {error}") from None
    print(figures_table(found["figures"], settings.clicks))
    if earlier is not None:
        print("\nDifference from the earlier result\n")
        print(comparison_table(found["against"], settings.clicks))


if __name__ == "__main__":
    main()
