"""`interactify batch`: masks for many photos, from a file of boxes, points and earlier masks."""

from __future__ import annotations

import argparse
import sys

from interactify.commands.engine_options import add_engine_options, engine
from interactify.commands.network_options import add_network_options, note_random_weights, options
from interactify.export.formats import FORMATS, checked_tolerance, formats_named

FORMAT_HELP = f"""the files to write into OUT/masks, png by default; repeat it, or separate names by commas. For each
object PHOTO-OBJECT and {", ".join(f"{FORMATS[name].ending} ({name})" for name in ("png", "npy", "prob16", "rle"))}; for
each photo PHOTO and {", ".join(f"{FORMATS[name].ending} ({name})" for name in ("labels", "coco", "geojson", "yolo"))};
with coco also OUT/coco.json, all photos together"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("photos", metavar="PHOTOS", help="a folder of photos; or its address, as s3://bucket/photos")
    parser.add_argument(
        "--prompts", metavar="FILE", required=True,
        help="COCO, GeoJSON, CSV (photo,x,y,label or photo,left,top,right,bottom), an export of Label Studio (JSON) or "
        "CVAT (XML or its zip), a session's log; or a folder of such files",
    )  # fmt: skip
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for masks and manifest; or its address")
    parser.add_argument("--format", metavar="NAME", action="append", default=[], help=FORMAT_HELP)
    parser.add_argument(
        "--tolerance", type=float, metavar="PIXELS", default=0.0, help="of the outlines of coco, geojson and yolo"
    )
    parser.add_argument(
        "--use", metavar="SHAPES", default="boxes,clicks,masks",
        help="which shapes of the prompts (%(default)s); a box beside an earlier mask is never used",
    )  # fmt: skip
    parser.add_argument("--retry-errors", action="store_true", help="run photos again that ended with an error")
    add_engine_options(parser)
    add_network_options(parser)


def run(given: argparse.Namespace) -> int:
    """Refine the photos that are not done yet; returns the exit status: 1 where photos have errors."""
    # Errors that need no network to be found are raised before torch is loaded.
    formats, tolerance = formats_named(given.format or ["png"]), checked_tolerance(given.tolerance)
    where = engine(given)
    note_random_weights(given.model)
    # Not at the top, since they load torch or NumPy: `interactify --help` reads this module.
    from interactify.mass import NetworkRecipe, refine_photos

    try:
        outcome = refine_photos(
            NetworkRecipe(given.model, options(given), given.device),
            given.photos,
            given.prompts,
            given.out,
            formats=formats,
            tolerance=tolerance,
            uses=given.use.split(","),
            engine=where,
            threads=given.threads,
            retry_errors=given.retry_errors,
        )
    except KeyboardInterrupt:
        print(f"interactify: note: what is done is kept in {given.out}; the same command resumes", file=sys.stderr)
        raise
    print(outcome)
    for name in outcome.files:
        print(outcome.out.at(name))
    if outcome.without_prompts:
        print(f"interactify: note: {outcome.without_prompts} photos have no prompts", file=sys.stderr)
    for row in outcome.errors[:3]:
        print(f"interactify: note: {row['photo']}: {row['error']}", file=sys.stderr)
    return 1 if outcome.errors else 0
