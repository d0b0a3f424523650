"""The support table as pages and JSON, generated from the results of a sweep."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.real_networks import gallery_page

ROOT = Path(__file__).parent.parent
PAGE, SUMMARY = ROOT / "docs" / "support.md", ROOT / "benchmarks" / "results" / "support.json"
Entry = dict[str, Any]

TITLES = {
    "timm": "timm: convolutional classifiers, with their head applied at every position",
    "smp": "segmentation_models_pytorch: architectures with its own encoders",
    "tu": "segmentation_models_pytorch: Unet with timm's convolutional encoders (`tu-…`)",
    "torchvision": "torchvision: segmentation models",
    "transformers": "transformers: segmentation models with convolutional or hybrid stems",
    "timm-others": "timm: transformers, mixers and hybrids with up to 30 M parameters, as far as they were tested",
}


def write(entries: list[Entry], versions: dict[str, str]) -> None:
    """Write docs/support.md, docs/support-list.md and benchmarks/results/support.json."""
    entries = sorted(entries, key=lambda entry: (list(TITLES).index(entry["kind"]), entry["family"], entry["name"]))
    PAGE.write_text(page(entries, versions, gallery_page.read()), encoding="utf-8")
    (ROOT / "docs" / "support-list.md").write_text(full_list(entries), encoding="utf-8")
    summary = {
        "versions": versions,
        "kinds": {kind: {"works": works(own), "of": len(own)} for kind, own in _by(entries, "kind").items()},
        "networks": entries,
    }
    text = json.dumps(summary, indent=None, separators=(",", ":"))
    SUMMARY.write_text(text.replace("},{", "},\n{") + "\n", encoding="utf-8")


def write_page() -> None:
    """Write docs/support.md alone, from the results there are: after a run of real networks."""
    summary = json.loads(SUMMARY.read_text(encoding="utf-8"))
    PAGE.write_text(page(summary["networks"], summary["versions"], gallery_page.read()), encoding="utf-8")


def works(entries: list[Entry]) -> int:
    """The number of networks that pass every check."""
    return sum(not entry["reason"] for entry in entries)


def page(entries: list[Entry], versions: dict[str, str], real: Sequence[Entry] = ()) -> str:
    """The page: a row for each family, and each failure with its reason; and `real` networks with trained weights."""
    dates = sorted({entry["date"] for entry in entries})
    revived = sum(bool(entry["found"].get("revived")) for entry in entries)
    lines = [
        "# Which networks work",
        "",
        "This page is written by `python -m benchmarks.support`, which builds every architecture with random",
        "weights and checks it. Every network listed here was run. In some random weights the signal fades or",
        "explodes; then batch norms first get the statistics of the photo, or of a larger one (161×213). A network",
        "works if all of these checks pass on a photo of 45×61 pixels:",
        "",
        "- before a click, the output of the wrapped network is that of the original. Afterwards the model is",
        "  unchanged: weights, buffers, mode, `requires_grad`, and no hook is left;",
        "- the gradient of the clicked logits is finite and not zero, at the input and at each default insertion",
        "  point;",
        "- one refinement of two clicks lowers the energy, and a second one gives identical values.",
        "",
        f"{revived} of {len(entries)} networks needed the statistics of a photo.",
        f"Run on {' to '.join(dict.fromkeys((dates[0], dates[-1])))} with "
        + ", ".join(f"{package} {number}" for package, number in versions.items())
        + ".",
        "",
        "| networks | work | of |",
        "|---|---|---|",
    ]
    kinds = _by(entries, "kind")
    lines += [f"| {TITLES[kind]} | {works(own)} | {len(own)} |" for kind, own in kinds.items()]
    lines += ["", "Every network by name: [the full list](support-list.md).", ""]
    lines += gallery_page.support(real)
    for kind, own in kinds.items():
        lines += [
            f"## {TITLES[kind].partition(':')[0]}{_suffix(kind)}",
            "",
            "| family | work | of | activation | stem |",
            "|---|---|---|---|---|",
        ]
        for family, members in _by(own, "family").items():
            lines.append(
                f"| {family} | {works(members)} | {len(members)} | {_activations(members)} | {_stems(members)} |"
            )
        lines.append("")
        failures = [entry for entry in own if entry["reason"]]
        if failures:
            lines += ["These do not work, for the given reason:", ""]
            lines += [f"- `{entry['name']}`: {_plain(entry['reason'])}" for entry in failures]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def full_list(entries: list[Entry]) -> str:
    """All names, by kind and family."""
    lines = [
        "# Every network that was tested",
        "",
        "By family. Networks that do not work are ~~crossed out~~; [Which networks work](support.md) gives the",
        "reasons.",
        "",
    ]
    for kind, own in _by(entries, "kind").items():
        lines += [f"## {TITLES[kind].partition(':')[0]}{_suffix(kind)}", ""]
        for family, members in _by(own, "family").items():
            names = [f"~~{entry['name']}~~" if entry["reason"] else entry["name"] for entry in members]
            lines += [f"**{family}** ({works(members)} of {len(members)}): {', '.join(names)}", ""]
    return "\n".join(lines).rstrip() + "\n"


def _suffix(kind: str) -> str:
    return {"tu": ", timm's encoders", "timm-others": ", the others"}.get(kind, "")


def _by(entries: list[Entry], key: str) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry[key]].append(entry)
    return dict(groups)


def _activations(members: list[Entry]) -> str:
    counted = Counter(entry["found"].get("activation", "") for entry in members if not entry["reason"])
    names = {"none": "logits", "sigmoid": "sigmoid", "softmax": "softmax"}
    return ", ".join(names[kind] for kind, _ in counted.most_common() if kind) or "–"


def _stems(members: list[Entry]) -> str:
    counted = Counter(", ".join(entry["found"].get("stem", [])[:2]) for entry in members if not entry["reason"])
    common = [f"`{name}`" for name, _ in counted.most_common(2) if name]
    return " or ".join(common) + (" …" if len(counted) > 2 else "") if common else "–"


def _plain(reason: str) -> str:
    return reason.replace("|", "/").replace("<", "&lt;").replace(">", "&gt;").replace("*", "∗").replace("_", "\\_")
