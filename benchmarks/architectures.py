"""Which of timm's architectures are convolutional networks, and which are not.

A module of timm counts if its networks consist of convolutions. Attention over positions, token mixing by matrices and
state-space layers exclude it, and so does the name mixer. Gates on channels (squeeze-and-excitation and its relatives)
and attention pooling in the head don't. In modules with both kinds, the hybrids are listed. timm 1.0.31: 1,371
architectures, 652 in 45 modules here, 719 others.
"""

from __future__ import annotations

import re

import timm

_NAMES = """
    byobnet convnext cspnet cspnext densenet dla dpn efficientnet fasternet fastvit focalnet ghostnet hardcorenas hgnet
    hrnet inception_next inception_resnet_v2 inception_v3 inception_v4 lcnetv2 lowformer mambaout metaformer mobilenetv3
    nasnet nfnet pnasnet rdnet regnet repghost repvit res2net resnest resnet resnetv2 rexnet selecsls senet sknet
    starnet tresnet vgg vovnet xception xception_aligned
"""
CNN_MODULES = tuple(_NAMES.split())

# Networks of these modules that have blocks of attention over positions.
_HYBRIDS = re.compile(r"caformer_|fastvit_(sa|ma|mci)\d|lowformer_(b\d|e3)|mobilenetv4_hybrid_")


def timm_cnns() -> list[str]:
    """The convolutional architectures, in alphabetical order."""
    named = {name for module in CNN_MODULES for name in timm.list_models(module=module)}
    return sorted(name for name in named if not _HYBRIDS.match(name))


def timm_others() -> list[str]:
    """The others: transformers, mixers and hybrids, many of them with a convolution as patch embedding."""
    return sorted(set(timm.list_models()) - set(timm_cnns()))


if __name__ == "__main__":
    cnns, others = len(timm_cnns()), len(timm_others())
    print(f"timm {timm.__version__}: {cnns} CNNs in {len(CNN_MODULES)} modules, {others} others")
