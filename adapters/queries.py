"""One map of classes from the queries of MaskFormer and similar networks: each query has a class and a mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Queries(NamedTuple):
    """Where a family returns the classes and masks of its queries, and how its image processor combines them."""

    classes: str = "class_queries_logits"
    masks: str = "masks_queries_logits"
    null: bool = True  # the last class means "no object"
    masks_first: bool = False  # whether masks are resized to the image before they are summed; else their sum is


_QUERIES = {
    "MaskFormerForInstanceSegmentation": Queries(),
    "Mask2FormerForUniversalSegmentation": Queries(masks_first=True),
    "OneFormerForUniversalSegmentation": Queries(),
    "EomtForUniversalSegmentation": Queries(masks_first=True),
    "EomtDinov3ForUniversalSegmentation": Queries(masks_first=True),
    "DetrForSegmentation": Queries("logits", "pred_masks"),
    "ConditionalDetrForSegmentation": Queries("logits", "pred_masks", null=False),
}
# OneFormer's prompt: "the task is semantic" in CLIP's vocabulary, between its tokens for start and end.
_SEMANTIC_TASK = (49406, 518, 10549, 533, 29119, 1550, 49407)
_FLOOR = 1e-30  # keeps gradients of the logarithm within single precision; far below a trained network's scores


def queries_of(model: nn.Module) -> Queries | None:
    """How a model of transformers returns queries; None if it returns none."""
    return next((_QUERIES[base.__name__] for base in type(model).__mro__ if base.__name__ in _QUERIES), None)


def semantic(queries: Queries) -> Callable[[nn.Module, Tensor], dict[str, Any]]:
    """A forward that adds the semantic map to what the model returns."""

    def forward(model: nn.Module, image: Tensor) -> dict[str, Any]:
        prompt = {}
        length: int | None = getattr(model.config, "task_seq_len", None)  # OneFormer's
        if length is not None:
            tokens = torch.tensor((*_SEMANTIC_TASK, *(0,) * length)[:length], device=image.device)
            prompt = {"task_inputs": tokens.expand(image.shape[0], -1)}
        # The class's forward, since the replica's is replaced by this function.
        raw = type(model).forward(model, pixel_values=image, return_dict=True, **prompt)
        classes, masks = raw[queries.classes], raw[queries.masks]
        size = (image.shape[-2], image.shape[-1])
        return {**raw, "semantic": log_scores(classes, masks, size, queries)}

    return forward


def log_scores(classes: Tensor, masks: Tensor, size: tuple[int, int], queries: Queries) -> Tensor:
    """Classes (N, Q, K + 1) and masks (N, Q, h, w) of queries, both logits → logits of classes (N, K, H, W).

    A class's score at a pixel is Σ over queries of P(class | query) · P(pixel | query), as in Cheng et al., "Per-Pixel
    Classification is Not All You Need for Semantic Segmentation", NeurIPS 2021, section 3.4. Scores are not
    probabilities, but their shares are: the logarithm of the score is a logit for a softmax over the classes. It has
    the argmax of the score, and a gradient even if the score is very small.

    With a single class the share would be 1 everywhere. The logit is then the log-odds that any query claims the pixel.
    """
    if classes.dtype != torch.float64:
        classes, masks = classes.float(), masks.float()
    given = classes.softmax(-1)[..., : -1 if queries.null else None]
    if queries.masks_first:
        masks = _resized(masks, size)
    if given.shape[-1] == 1:
        claims = given[..., None] * masks.sigmoid()
        nobody = torch.log1p(-claims.clamp(max=1 - torch.finfo(claims.dtype).eps)).sum(1, keepdim=True)
        return (_FLOOR - torch.expm1(nobody)).log() - nobody
    scores = torch.einsum("nqk,nqhw->nkhw", given, masks.sigmoid())
    return (_resized(scores, size) + _FLOOR).log()


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
