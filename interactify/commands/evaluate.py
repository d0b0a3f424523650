"""`interactify evaluate`: runs a simulated user over a data set, and writes the report."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from interactify.commands.engine_options import add_engine_options, engine
from interactify.commands.network_options import add_network_options, note_random_weights, options
from interactify.engines.work import cores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        default="folder",
        help="grabcut, berkeley, davis, sbd, coco, classes, folder (the default)",
    )
    parser.add_argument("--root", metavar="DIR", required=True, help="the data set's folder, in its published layout")
    parser.add_argument("--report", metavar="DIR", required=True, help="folder for results and report")
    parser.add_argument(
        "--clicks", type=int, metavar="N", default=20, help="at most N clicks for each object (%(default)s)"
    )
    parser.add_argument(
        "--until", type=float, metavar="IOU", help="leave an object at this IoU: NoC up to it takes less time"
    )
    parser.add_argument("--every", type=int, metavar="N", default=1, help="take each N-th photo")
    parser.add_argument("--user", metavar="NAME", default="centre", help="who clicks: centre, jitter, pairs")
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="the seed of jittered clicks (%(default)s)")
    parser.add_argument("--strokes", metavar="DIR", help="drawn strokes that the user starts with, NAME.png")
    add_engine_options(parser)
    add_network_options(parser)


def run(given: argparse.Namespace) -> int:
    """Run the photos that are not done yet, print the figures and write the report; returns the exit status."""
    where = engine(given)
    note_random_weights(given.model)
    # Not at the top, since they load torch or NumPy: `interactify --help` reads this module.
    from interactify.evaluation.campaign import Campaign
    from interactify.evaluation.campaign import run as run_campaign
    from interactify.evaluation.reports.report import write_report
    from interactify.evaluation.scribbles import Strokes
    from interactify.evaluation.simulated_user import Jitter, user_named

    user = Jitter(seed=given.seed) if given.user == "jitter" else user_named(given.user)
    campaign = Campaign(
        dataset=given.dataset,
        root=Path(given.root),
        out=Path(given.report),
        model=given.model,
        options=options(given),
        clicks=given.clicks,
        every=given.every,
        user=user if given.strokes is None else Strokes(Path(given.strokes), then=user),
        until=given.until,
        threads=given.threads,
        device=given.device,
    )
    try:
        if given.engine == "ray":
            outcome = run_campaign(campaign, engine=where)
        else:
            outcome = run_campaign(campaign, workers=cores() if given.workers is None else given.workers)
    except KeyboardInterrupt:
        print(f"interactify: note: what is done is kept in {campaign.out}; the same command resumes", file=sys.stderr)
        raise
    print(outcome.evaluation)
    for path in write_report(outcome):
        print(path)
    return 0
