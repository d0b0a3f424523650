"""The command line: clicks as typed, files written, and one line for each error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import interactify
from interactify import cli
from interactify.commands.segment import parse_click, with_negatives_joined
from interactify.errors import InteractionError
from interactify.export.formats import FORMATS
from tests.commands.conftest import BUILD, NETWORK


def test_python_m_interactify_is_the_command_line():
    done = subprocess.run([sys.executable, "-m", "interactify", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"interactify {interactify.__version__}\n")


def test_class_names(folder, capsys: pytest.CaptureFixture[str]):
    words = ["inspect", "--model", "network_for_cli:three_classes", "--target", "big tree"]
    assert cli.main([*words, "--class-names", "sky, road,big tree"]) == 0
    assert "class 2 (big tree)" in capsys.readouterr().out
    (folder / "names.txt").write_text("sky\n\nroad, street\nbig tree\n")
    assert cli.main([*words, "--class-names", "@names.txt"]) == 0
    assert "3: sky, road, street, big tree" in capsys.readouterr().out
    assert cli.main([*words, "--class-names", "@absent.txt"]) == 2
    assert "@absent.txt" in _only_line(capsys)
    assert cli.main([*words, "--class-names", "sky,big tree"]) == 2
    assert "Expected 3 class names" in _only_line(capsys)


def _only_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.err.startswith("interactify: error: ")
    assert captured.err.count("\n") == 1 and captured.err.endswith("\n")
    return captured.err


def test_clicks_as_typed():
    assert parse_click("120,80") == (120, 80, True)
    assert parse_click("-120,80") == (120, 80, False)
    assert parse_click("-0,80") == (0, 80, False)
    assert parse_click("+5, 6") == (5, 6, True)
    assert parse_click("1.5,2.25") == (1.5, 2.25, True)
    assert isinstance(parse_click("12,3").x, int)


def test_a_minus_before_y_is_a_coordinate():
    assert parse_click("3,-4") == (3, -4, True)  # outside every photo: the session raises


@pytest.mark.parametrize(
    "text", ["", "3", "3,", ",4", "3,4,5", "a,b", "--3,4", "nan,4", "3,inf", "-nan,4", "3;4", "- 3,4"]
)
def test_invalid_clicks(text):
    with pytest.raises(InteractionError, match="click"):
        parse_click(text)


def test_negative_clicks_pass_argparse_in_order():
    words = ["segment", "p.png", "--click", "-120,80", "--click", "3,4", "--click=-0,7", "--click", "-.5,2"]
    given = cli.parser().parse_args(with_negatives_joined(words))
    assert given.click == ["-120,80", "3,4", "-0,7", "-.5,2"]


def test_only_clicks_are_joined():
    words = ["segment", "p.png", "--click", "--out", "-5,5", "--click", "-h", "--", "--click", "-3,4"]
    assert with_negatives_joined(words) == words


def test_segment_writes_mask_and_overlay(folder, capsys):
    words = ["segment", "photo.png", "--click", "10,20", "--click", "-50,10", "--out", "new/out", *BUILD]
    assert cli.main(words) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split("  ")[1] == "click" and "milliseconds" in out[0]
    assert out[2].startswith("  + (10, 20)") and out[3].startswith("  - (50, 10)")
    assert out[4:] == [str(Path("new/out/photo-mask.png")), str(Path("new/out/photo-overlay.png"))]
    mask = np.asarray(Image.open("new/out/photo-mask.png"))
    assert mask.shape == (40, 64) and set(np.unique(mask)) <= {0, 255}
    assert np.asarray(Image.open("new/out/photo-overlay.png")).shape == (40, 64, 3)

    from interactify.models.build import build_model

    session = interactify.wrap(build_model(BUILD[1])).session("photo.png")
    session.click(x=10, y=20)
    assert np.array_equal(mask == 255, session.click(x=50, y=10, positive=False).mask)
    assert mask[20, 10] == 255 and mask[10, 50] == 0  # clicked against the network's own prediction


def test_segment_writes_every_format(folder, capsys):
    words = ["segment", "photo.png", "--click", "10,20", "--click", "-50,10", "--out", "out", *BUILD]
    words += ["--format", "png,labels", "--format", "npy,prob16,coco", "--format", "rle,geojson,yolo,png"]
    assert cli.main(words) == 0
    ends = ["-mask.png", "-labels.png", "-probability.npy", "-probability.png", "-coco.json", "-rle.json", ".geojson"]
    files = [str(Path("out", f"photo{end}")) for end in [*ends, ".txt", "-overlay.png"]]
    assert capsys.readouterr().out.splitlines()[-len(files) :] == files
    assert sorted(map(str, Path("out").iterdir())) == sorted(files)

    from shapely.geometry import shape

    from interactify import evaluation, export

    def of(end: str) -> Path:
        return Path("out", f"photo{end}")

    mask = np.asarray(Image.open(of("-mask.png"))) == 255
    assert mask.any() and not mask.all()
    with Image.open(of("-labels.png")) as labels:
        assert labels.mode == "P" and np.array_equal(np.asarray(labels), mask)
    probability = np.load(of("-probability.npy"))
    assert probability.dtype == np.float32 and np.array_equal(probability > 0.5, mask)
    assert abs(np.asarray(Image.open(of("-probability.png"))) / 65535 - probability).max() < 1e-5
    assert np.array_equal(export.mask_of_rle(json.loads(of("-rle.json").read_text())), mask)
    Path("out/photo.png").write_bytes(Path("photo.png").read_bytes())
    (sample,) = evaluation.coco(of("-coco.json"))
    assert np.array_equal(sample.truth == 1, mask)
    assert json.loads(of("-coco.json").read_text())["categories"] == [{"id": 1, "name": "object"}]
    (feature,) = json.loads(of(".geojson").read_text())["features"]
    assert feature["properties"] == {"category": "object"} and shape(feature["geometry"]).area == mask.sum()
    assert {line.split()[0] for line in of(".txt").read_text().splitlines()} == {"0"}


def test_segment_writes_no_mask_where_another_format_is_given(folder, capsys):
    assert cli.main(["segment", "photo.png", "--format", " YOLO", "--tolerance", "1.5", *BUILD]) == 0
    assert capsys.readouterr().out.splitlines() == ["photo.txt", "photo-overlay.png"]
    assert Path("photo.txt").read_text() == "0 0.5 0 1 0 1 1 0.5 1\n"
    assert not Path("photo-mask.png").exists()


def test_an_empty_mask_in_every_format(folder, capsys):
    Image.new("RGB", (64, 40)).save("photo.png")
    assert cli.main(["segment", "photo.png", "--format", ",".join(FORMATS), *BUILD]) == 0
    assert Path("photo.txt").read_text() == ""
    assert json.loads(Path("photo-coco.json").read_text())["annotations"] == []
    assert json.loads(Path("photo.geojson").read_text())["features"][0]["geometry"] is None
    assert not np.asarray(Image.open("photo-labels.png")).any()


def test_a_category_has_its_class_name(folder, capsys, monkeypatch):
    (folder / "network_for_cli.py").write_text(NETWORK.replace("nn.Conv2d(3, 1, 1)", "nn.Conv2d(3, 2, 1)"))
    wrap = interactify.wrap
    monkeypatch.setattr("interactify.interactive.wrap", lambda *a, **k: wrap(*a, class_names=["ground", "cup"], **k))
    assert cli.main(["segment", "photo.png", "--click", "50,10", "--target", "cup", "--format", "coco", *BUILD]) == 0
    assert json.loads(Path("photo-coco.json").read_text())["categories"] == [{"id": 1, "name": "cup"}]


def test_the_help_describes_the_formats(capsys):
    assert cli.main(["segment", "--help"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for name, form in FORMATS.items():
        assert f"{name} (PHOTO{form.ending}: {form.holds})" in printed.replace("- ", "-")


def test_segment_without_clicks_writes_the_networks_own_mask(folder, capsys):
    assert cli.main(["segment", "photo.png", *BUILD]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    mask = np.asarray(Image.open("photo-mask.png"))
    assert (mask[:, :32] == 0).all() and (mask[:, 32:] == 255).all()


def test_options_reach_the_network(folder, capsys):
    assert cli.main(["inspect", *BUILD]) == 0
    plain = capsys.readouterr().out
    words = ["--variables", "maps", "--energy", "brs", "--solver", "scipy", "--mean", "0.1,0.2,0.3", "--std", "0.4"]
    assert cli.main(["inspect", *BUILD, *words]) == 0
    chosen = capsys.readouterr().out
    assert plain != chosen
    from interactify.models.build import build_model

    net = interactify.wrap(
        build_model(BUILD[1]), variables="maps", energy="brs", solver="scipy", mean=(0.1, 0.2, 0.3), std=0.4
    )
    assert chosen == net.describe() + "\n"


def test_fit_order_of_colours_and_a_deviation_below_zero(folder, capsys):
    words = ["--mean", "1", "--std", "-1,-1,-1", "--bgr", "--resolution", "64", "--fit", "squash"]
    assert cli.main(["inspect", *BUILD, *words]) == 0
    out, err = capsys.readouterr()
    assert "in the order blue, green, red, mean 1/1/1, std -1/-1/-1" in out and "squashed to 64×64" in out
    assert err == ""
    assert cli.main(["inspect", *BUILD, "--fit", "crop"]) == 2
    assert "'letterbox' or 'squash', got 'crop'" in _only_line(capsys)


@pytest.mark.filterwarnings("always:Assumed")
def test_an_assumed_normalisation_is_a_line_on_stderr(folder, capsys):
    assert cli.main(["inspect", *BUILD]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("interactify: warning: Assumed ImageNet's mean and deviation as the normalisation of Conv2d")
    assert cli.main(["inspect", *BUILD, "--mean", "0.5", "--std", "0.5"]) == 0
    assert capsys.readouterr().err == ""


def test_a_network_without_checkpoint_is_noted(folder, capsys):
    assert cli.main(["inspect", "--model", "unet/resnet18"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("Unet (segmentation_models_pytorch, resnet18 encoder)\n")
    assert captured.err == "interactify: note: no checkpoint named, so the network's weights are random\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "COMMAND"),
        (["paint"], "paint"),
        (["segment"], "PHOTO"),
        (["segment", "photo.png", "--click"], "--click"),
        (["segment", "photo.png", "--clik", "3,4"], "--clik"),
        (["segment", "photo.png", "--target", "dog"], "dog"),
        (["segment", "photo.png", "--mean", "a,b"], "a,b"),
        (["segment", "photo.png", "--click", "3,x"], "'x'"),
        (["segment", "photo.png", "--click", "-nan,3"], "nan"),
        (["segment", "photo.png", "--click", "3,4", "--click", "64,3", *BUILD], "x=64, y=3, outside"),
        (["segment", "nope.png", "--click", "3,4"], "nope.png"),
        (["segment", "network_for_cli.py", "--click", "3,4", *BUILD], "network_for_cli.py"),
        (["segment", "cut.png", "--click", "3,4", *BUILD], "cut.png"),
        (["segment", "photo.png", "--out", "photo.png", *BUILD], "photo.png"),
        (["segment", "photo.png", "--format", "png,tiff", *BUILD], "png, labels, npy"),
        (["segment", "photo.png", "--format", "png,", *BUILD], "''"),
        (["segment", "photo.png", "--format", "yolo", "--tolerance", "-1", *BUILD], "tolerance"),
        (["segment", "photo.png", "--format", "yolo", "--tolerance", "nan", *BUILD], "tolerance"),
        (["segment", "photo.png", "--format", "yolo", "--tolerance", "wide", *BUILD], "wide"),
        (["segment", "photo.png", "--target", "3", *BUILD], "3"),
        (["inspect", "--variables", "everything", *BUILD], "everything"),
        (["inspect", "--model", "unett/resnet18"], "Did you mean unet"),
        (["inspect", "--model", "unet/resnet18@nope.pt"], "nope.pt"),
        (["inspect", "--model", "network_for_cli:several_lines"], "one two three"),
        (["inspect", "--model", "torch.nn:Flatten"], "Expected a network with 2-D or 3-D convolutions"),
        (["inspect", "--model", "torchvision.models:squeezenet1_1"], "per-pixel map"),
        (["demo", "--out", "photo.png/below"], "photo.png"),
    ],
)
def test_an_error_is_one_line_and_status_2(folder, capsys, words, message):
    whole = (folder / "photo.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    assert cli.main(words) == 2
    assert message in _only_line(capsys)
    assert not list(folder.glob("*-mask.png"))


def test_a_bad_click_is_found_before_the_network_is_built(folder, capsys):
    assert cli.main(["segment", "photo.png", "--click", "3,99", "--model", "network_for_cli:broken"]) == 2
    assert "outside" in _only_line(capsys)


def test_control_c(folder, capsys):
    assert cli.main(["inspect", "--model", "network_for_cli:interrupted"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_an_unforeseen_exception_keeps_its_traceback(folder):
    with pytest.raises(RuntimeError, match="unforeseen"):
        cli.main(["inspect", "--model", "network_for_cli:broken"])


def test_version_and_help(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"interactify {interactify.__version__}\n"
    for words in (["--help"], ["demo", "--help"], ["segment", "--help"], ["inspect", "--help"]):
        assert cli.main(words) == 0
        assert "usage: interactify" in capsys.readouterr().out


def test_a_real_process_ends_with_one_line_and_no_traceback(folder):
    done = subprocess.run(
        [sys.executable, "-m", "interactify.cli", "segment", "photo.png", "--click", "-70,3", *BUILD],
        capture_output=True, text=True, env=_environment(), timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("interactify: error: Expected a click")


def test_help_and_version_import_nothing_heavy():
    program = (
        "import sys\n"
        "from interactify import cli\n"
        "words = [['--version'], ['--help'], *([name, '--help'] for name in cli.COMMANDS)]\n"
        "assert [cli.main(each) for each in words] == [0] * len(words)\n"
        "heavy = {'torch', 'numpy', 'PIL', 'scipy', 'timm'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["interactify", "interactify.cli"])
@pytest.mark.parametrize("word", ["--help", "--version"])
def test_both_modules_are_the_command_line_and_load_no_torch(module, word):
    command = [sys.executable, "-X", "importtime", "-m", module, word]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(), timeout=60)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.returncode == 0 and "interactify" in done.stdout
    assert "interactify.commands.segment" in imported and "torch" not in imported


def _environment() -> dict[str, str]:
    import os

    root = str(Path(interactify.__path__[0]).parent)
    return os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
