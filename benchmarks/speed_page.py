"""docs/speed.md: the method, and below it the tables of the newest results in benchmarks/results."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.gpu_tables import gpu_summary
from benchmarks.speed_tables import Results, device_name, in_short, summary

ROOT = Path(__file__).parent.parent
PAGE, RESULTS = ROOT / "docs" / "speed.md", ROOT / "benchmarks" / "results"

METHOD = """\
# Speed

The time of a click, measured by `python -m benchmarks.speed`. The same command writes this page (`--page`): no number
in the tables is typed by hand, and cases in which this library is slower are shown too. There is one section for each
machine: [the results](#results) begin below the method.

## Method

**Contestants**, on the same network, photo and clicks, in one run:

- *this library*, by its public API: `session.click(…)` until `result.mask` is computed;
- *SciPy, whole*: the published way. `scipy.optimize.fmin_l_bfgs_b` on the host with float64 vectors (m = 20, factr =
  0, pgtol = 1e-8, as in f-BRS's released code). Each evaluation runs the whole network, and a hook inserts the
  variables;
- *SciPy, head*: the same in the way of f-BRS. The features before the variables are computed once for each photo, and
  an evaluation runs only the rest of the network, which is cut by hand for each network;
- *torch.optim*, whole and head: `torch.optim.LBFGS` (strong Wolfe line search, history of 20) instead of SciPy.

All minimise the same energy (squared hinge on the clicked logits, margin 3, aim 4, inertia 1e-3) of the network's own
map. All start where the last click ended, skip the backward pass of the evaluation that reaches the goal, and stop
after 40 evaluations. None computes gradients for weights. At the input there are no features to keep, so there is no
head. The contestants share no code with the library except the photos and the clicks. A test checks that they run the
same network, and every run checks that they agree about the clicks.

On processors with AMX this library steers a click in bfloat16, as it does by default, and all others
compute in float32 throughout; its evaluations then include the pass in float32 that gives the answer. Each section says
where it was so. With `INTERACTIFY_PRECISION=float32` the benchmark measures it without.

This library's hold of the mask before a click, which is on by default, is off (`energy=Margin(hold=0)`): the others
have none. So is propagation (`propagation="none"`). On the two CPU cores below, following colours and edges takes
2.5 ms more for each click at 288² and 50 ms at 1024², and 2.5 and 160 ms for each new view of a photo.

**Networks**: smp's Unet/ResNet-34 and DeepLabV3+/ResNet-50 with random weights, and the embedded network, which was a
U-Net on a slim ResNet-18 up to version 0.2.0. The last layer of random weights is scaled for each size, so that the
logits have a standard deviation of 2 and clicks have errors to correct. **Variables**: the input, and scale and bias at
f-BRS's A, B and C, where `describe()` finds them. **Clicks** come from the simulated user, whose object is an ellipse
in the middle. The user looks at the masks of one of the other contestants, and all contestants get the same clicks.

**Timing**: each contestant plays a case at least twice to warm up. Then all take turns in each repetition, in a
different order each time. Times are medians with quartiles. Ratios are medians of the ratios within a repetition, so
a slowdown of a whole repetition cancels out. A case is repeated at least 5 times (3 at 512², 2 at 1024²), then up to
25 times until 20 seconds have passed. A GPU is synchronised before the clock is read.

**Other figures**:

- *overhead*: seconds of a click ÷ (evaluations × seconds of one forward and backward pass of the part that depends on
  the variables). This part is cut by hand and run without energy or solver in the same repetition: the *bare* part.
  The evaluation that ends a click has no backward pass, so less than 1 is possible. *Per pass run* counts only the
  forward and backward passes that were run.
- *passes a click*: seconds of a click ÷ seconds of one plain forward pass of the whole network in float32, without
  gradients, with the same threads and in the same repetition. A click at A, B or C can cost less than one pass.
  `interactify inspect --speed PHOTO` measures it on your network ([command line](command-line.md#inspect)).
- *operations*: floating-point operations of the clicks by `FlopCounterMode` ÷ those of the bare part for the same
  number of passes. It is less than 1 if a click continued from the last pass of the click before, or of the opening.
  The counter does not see replayed CUDA graphs: where they ran, the column is empty.
- *share of peak*: operations of the bare part for the same number of passes ÷ seconds ÷ the fastest float32 matrix
  product measured on the device (2048³ and 4096³). More than 100 % is possible if a convolution needs fewer
  operations than are counted, or is better tuned than the product.
- *memory*: the highest additional memory during a click ÷ that of one bare forward and backward pass. In brackets,
  the same with everything that is kept for the network and the photo added on both sides. It is measured on the CPU
  by the profiler's record of each allocation, on a GPU by its allocator.

## A GPU, in one command

`python -m benchmarks.gpu` measures, within nine minutes and in the order of worth, what only a GPU can show:

1. whether it is right: the tests marked `gpu`; CUDA graphs against the same pass step by step, on several networks; the
   same clicks in float32, TF32, float16, bfloat16 and on the processor (IoU of the masks, clicks satisfied);
2. a click at the input and at B, 512² and 1024², against the contestants above in the same run;
3. 32 objects at once; 4. the memory of a click; 5. networks of smp, timm and torchvision on the device;
6. `Predictor` on frames of 1280 × 720 pixels.

Each part is in the JSON (`--out`, by default in `benchmarks/results/`) as soon as it is done. A part for which the time
is too short is left out and named, and the same command again goes on with what is missing. `--minutes` changes the
limit, `--only TEXT` and `--list` choose and show parts, and `--tiny --device cpu` shows without a GPU that it runs. It
ends with 1 if a part failed or a check does not hold. Clicks are measured as they are by default, step by step; the
parts named `graphs` say what `wrap(cuda_graphs=True)` gains.
"""
NOTHING = "\n## Results\n\nThere are no results here yet: `python -m benchmarks.speed` measures them on your machine.\n"


NO_GPU_RUN = "\nNo results of this command are here yet, so nothing is claimed from it.\n"


def newest(folder: Path = RESULTS) -> list[Results]:
    """The newest full results of each processor and each GPU, processors first."""
    found: dict[tuple[str, str], Results] = {}
    for path in sorted(folder.glob("speed-*.json"), key=lambda path: path.name):
        results = json.loads(path.read_text(encoding="utf-8"))
        kind = results["machine"]["device"].partition(":")[0], device_name(results)
        if not results["quick"] and (kind not in found or results["machine"]["date"] >= found[kind]["machine"]["date"]):
            found[kind] = results
    return [found[kind] for kind in sorted(found)]


def newest_gpu(folder: Path = RESULTS) -> list[Results]:
    """The newest results of `python -m benchmarks.gpu` on each GPU, by its name; tries without a GPU do not count."""
    found: dict[str, Results] = {}
    for path in sorted(folder.glob("gpu-*.json"), key=lambda path: path.name):
        results = json.loads(path.read_text(encoding="utf-8"))
        card = results["machine"].get("gpu")
        if not card or results["tiny"] or not results["parts"]:
            continue
        if card not in found or results["machine"]["date"] >= found[card]["machine"]["date"]:
            found[card] = results
    return [found[card] for card in sorted(found)]


def page_text(folder: Path = RESULTS) -> str:
    """The method, and below it the newest results of each kind of device, and of the command for GPUs."""
    found, on_gpus = newest(folder), newest_gpu(folder)
    short = "\n".join(f"- **{device_name(results)}**: {in_short(results)}" for results in found)
    measured = "\n".join([f"\n## Results\n\n{short}\n", *map(summary, found)]) if found else NOTHING
    return METHOD + ("" if on_gpus else NO_GPU_RUN) + measured + "".join(f"\n{gpu_summary(each)}" for each in on_gpus)


def write_page(folder: Path = RESULTS, page: Path = PAGE) -> None:
    """Write docs/speed.md."""
    page.write_text(page_text(folder), encoding="utf-8")
