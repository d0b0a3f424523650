"""Small segmentation networks of Hugging Face transformers with random weights, for the support table.

Each is the family's own class with a small configuration; nothing is read from a hub. Widths and depths are small;
kinds of block, strides and heads are those of the published networks. transformers is an optional dependency, so it is
imported only where a network is built.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

CLASSES = 7
_LABELS: dict[str, Any] = {"num_labels": CLASSES}  # documented, but unknown to the types of configurations
_STAGES = ["stage1", "stage2", "stage3", "stage4"]
_WIDTHS = [16, 24, 32, 48]
_ALIVE = 0.1  # deviation of random weights: with the default, the signal fades in such narrow networks
_VIT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "patch_size": 16,
    "initializer_range": _ALIVE,
}


def transformers_architectures() -> dict[str, Callable[[], nn.Module]]:
    """Name → a call without arguments that builds the network, in training mode and with random weights.

    >>> "segformer" in transformers_architectures()
    True
    """
    return {
        "segformer": _segformer,
        "mobilevit": _mobilevit,
        "mobilevitv2": _mobilevitv2,
        "mobilenet_v2": _mobilenet_v2,
        **{f"upernet-{name}": _upernet(name) for name in _BACKBONES},
        "dpt": _dpt,
        "dpt-hybrid": _dpt_hybrid,
        "beit": _beit,
        "beit-relative": _beit_relative,
        "data2vec-vision": _data2vec_vision,
        "sapiens2": _sapiens2,
        "maskformer": _maskformer("swin"),
        "maskformer-resnet": _maskformer("resnet"),
        "mask2former": _mask2former("swin"),
        "mask2former-resnet": _mask2former("resnet"),
        "oneformer": _oneformer("swin"),
        "oneformer-convnext": _oneformer("convnext"),
        "eomt": _eomt,
        "eomt_dinov3": _eomt_dinov3,
        "detr": _detr,
        "conditional_detr": _conditional_detr,
    }


# ---- backbones -------------------------------------------------------------------------------------------------------


def _swin() -> dict[str, Any]:
    return {"embed_dim": 12, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 3, 4], "window_size": 4}


def _staged() -> dict[str, Any]:
    return {"hidden_sizes": _WIDTHS, "depths": [1, 1, 2, 1]}


_BACKBONES: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "convnext": ("ConvNextConfig", _staged),
    "convnextv2": ("ConvNextV2Config", _staged),
    "resnet": ("ResNetConfig", lambda: {**_staged(), "embedding_size": 16}),
    "bit": ("BitConfig", lambda: {**_staged(), "embedding_size": 16, "num_groups": 4}),
    "swin": ("SwinConfig", _swin),
    "swinv2": ("Swinv2Config", _swin),
    "focalnet": (
        "FocalNetConfig",  # its hidden_sizes are those after each stage's end, where the next stage begins
        lambda: {"embed_dim": 16, "depths": [1, 1, 2, 1], "hidden_sizes": [32, 64, 128, 128]},
    ),
    "hiera": (
        "HieraConfig",
        lambda: {"embed_dim": 16, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 4, 8], "image_size": [128, 128]},
    ),
    "pvt_v2": (
        "PvtV2Config",
        lambda: {**_staged(), "num_attention_heads": [1, 2, 4, 8], "mlp_ratios": [2, 2, 2, 2]},
    ),
}


def _backbone(name: str) -> Any:
    import transformers

    kind, options = _BACKBONES[name]
    return getattr(transformers, kind)(**options(), out_features=_STAGES)


# ---- a map of logits -------------------------------------------------------------------------------------------------


def _segformer() -> nn.Module:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    widths = [16, 32, 48, 64]
    config = SegformerConfig(
        hidden_sizes=widths,
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=32,
        **_LABELS,
    )
    return SegformerForSemanticSegmentation(config)


def _mobilevit() -> nn.Module:
    from transformers import MobileViTConfig, MobileViTForSemanticSegmentation

    config = MobileViTConfig(
        hidden_sizes=[32, 40, 48],
        neck_hidden_sizes=[8, 12, 16, 24, 32, 40, 48],
        output_stride=16,
        aspp_out_channels=32,
        initializer_range=_ALIVE,
        **_LABELS,
    )
    return MobileViTForSemanticSegmentation(config)


def _mobilevitv2() -> nn.Module:
    from transformers import MobileViTV2Config, MobileViTV2ForSemanticSegmentation

    config = MobileViTV2Config(
        width_multiplier=0.25,
        n_attn_blocks=[1, 1, 1],
        base_attn_unit_dims=[64, 96, 128],
        output_stride=16,
        aspp_out_channels=32,
        initializer_range=_ALIVE,
        **_LABELS,
    )
    return MobileViTV2ForSemanticSegmentation(config)


def _mobilenet_v2() -> nn.Module:
    from transformers import MobileNetV2Config, MobileNetV2ForSemanticSegmentation

    config = MobileNetV2Config(depth_multiplier=0.35, output_stride=16, **_LABELS)
    return MobileNetV2ForSemanticSegmentation(config)


def _upernet(backbone: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from transformers import UperNetConfig, UperNetForSemanticSegmentation

        config = UperNetConfig(
            backbone_config=_backbone(backbone),
            hidden_size=32,
            auxiliary_channels=16,
            auxiliary_in_channels=_backbone_widths(backbone)[2],
            **_LABELS,
        )
        return UperNetForSemanticSegmentation(config)

    return build


def _backbone_widths(name: str) -> list[int]:
    options = _BACKBONES[name][1]()
    return options.get("hidden_sizes") or [options["embed_dim"] << stage for stage in range(4)]


def _dpt() -> nn.Module:
    from transformers import DPTConfig, DPTForSemanticSegmentation

    config = DPTConfig(
        **_VIT,
        image_size=384,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=_WIDTHS,
        fusion_hidden_size=32,
        **_LABELS,
    )
    return DPTForSemanticSegmentation(config)


def _dpt_hybrid() -> nn.Module:
    from transformers import DPTConfig, DPTForSemanticSegmentation

    backbone = {
        "model_type": "bit",
        "global_padding": "same",
        "layer_type": "bottleneck",
        "embedding_dynamic_padding": True,
        "depths": [1, 1, 2],
        "hidden_sizes": [16, 24, 32],
        "embedding_size": 16,
        "num_groups": 4,
        "out_features": ["stage1", "stage2", "stage3"],
    }
    config = DPTConfig(
        **_VIT,
        is_hybrid=True,
        image_size=128,
        backbone_config=backbone,
        backbone_featmap_shape=[1, 32, 8, 8],
        backbone_out_indices=[0, 1, 2, 3],
        reassemble_factors=[1, 1, 1, 0.5],
        neck_hidden_sizes=[16, 24, 32, 48],
        fusion_hidden_size=32,
        **_LABELS,
    )
    return DPTForSemanticSegmentation(config)


def _beit_options() -> dict[str, Any]:
    return {
        **_VIT,
        "image_size": 96,
        "use_mask_token": False,
        "auxiliary_channels": 16,
        **_LABELS,
        "out_indices": [1, 2, 3, 4],
    }


def _beit() -> nn.Module:
    from transformers import BeitConfig, BeitForSemanticSegmentation

    config = BeitConfig(**_beit_options(), use_absolute_position_embeddings=True)
    return BeitForSemanticSegmentation(config)


def _beit_relative() -> nn.Module:
    from transformers import BeitConfig, BeitForSemanticSegmentation

    config = BeitConfig(**_beit_options(), use_relative_position_bias=True)
    return BeitForSemanticSegmentation(config)


def _data2vec_vision() -> nn.Module:
    from transformers import Data2VecVisionConfig, Data2VecVisionForSemanticSegmentation

    config = Data2VecVisionConfig(**_beit_options(), use_relative_position_bias=True)
    return Data2VecVisionForSemanticSegmentation(config)


def _sapiens2() -> nn.Module:
    from transformers import Sapiens2Config, Sapiens2ForSemanticSegmentation

    config = Sapiens2Config(
        **_VIT,
        num_key_value_attention_heads=2,
        num_register_tokens=2,
        num_first_full_attention_layers=2,
        num_last_full_attention_layers=2,
        head_config={"upsample_out_channels": [16, 16], "upsample_kernel_sizes": [4, 4], "conv_out_channels": [16]},
        **_LABELS,
    )
    return Sapiens2ForSemanticSegmentation(config)


# ---- classes and masks of queries ------------------------------------------------------------------------------------

_DETR: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "encoder_attention_heads": 8,  # DETR's mask head wants width and heads to sum to a multiple of 8
    "decoder_attention_heads": 8,
    "num_queries": 12,
}


def _maskformer(backbone: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from transformers import DetrConfig, MaskFormerConfig, MaskFormerForInstanceSegmentation

        config = MaskFormerConfig(
            backbone_config=_backbone(backbone),
            decoder_config=DetrConfig(**_DETR),
            fpn_feature_size=32,
            mask_feature_size=32,
            **_LABELS,
        )
        return MaskFormerForInstanceSegmentation(config)

    return build


def _mask2former(backbone: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

        config = Mask2FormerConfig(
            backbone_config=_backbone(backbone),
            feature_size=32,
            mask_feature_size=32,
            hidden_dim=32,
            encoder_feedforward_dim=64,
            dim_feedforward=64,
            encoder_layers=1,
            decoder_layers=4,
            num_attention_heads=2,
            num_queries=12,
            **_LABELS,
        )
        return Mask2FormerForUniversalSegmentation(config)

    return build


def _oneformer(backbone: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from transformers import OneFormerConfig, OneFormerForUniversalSegmentation

        config = OneFormerConfig(
            backbone_config=_backbone(backbone),
            conv_dim=32,
            mask_dim=32,
            hidden_dim=32,
            encoder_feedforward_dim=64,
            dim_feedforward=64,
            encoder_layers=1,
            decoder_layers=4,
            num_attention_heads=2,
            num_queries=12,
            text_encoder_width=32,
            text_encoder_num_layers=1,
            **_LABELS,
        )
        return OneFormerForUniversalSegmentation(config)

    return build


def _eomt() -> nn.Module:
    from transformers import EomtConfig, EomtForUniversalSegmentation

    config = EomtConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_blocks=2,
        image_size=128,
        num_queries=12,
        **_LABELS,
    )
    return EomtForUniversalSegmentation(config)


def _eomt_dinov3() -> nn.Module:
    from transformers import EomtDinov3Config, EomtDinov3ForUniversalSegmentation

    config = EomtDinov3Config(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        num_blocks=2,
        image_size=128,
        num_queries=12,
        **_LABELS,
    )
    return EomtDinov3ForUniversalSegmentation(config)


def _detr() -> nn.Module:
    from transformers import DetrConfig, DetrForSegmentation

    return DetrForSegmentation(DetrConfig(**_DETR, backbone_config=_backbone("resnet"), **_LABELS))


def _conditional_detr() -> nn.Module:
    from transformers import ConditionalDetrConfig, ConditionalDetrForSegmentation

    config = ConditionalDetrConfig(**_DETR, backbone_config=_backbone("resnet"), **_LABELS)
    return ConditionalDetrForSegmentation(config)
