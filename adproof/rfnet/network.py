"""RFNet: is a generated advertising picture available, and if not, why?

Du et al., "Towards Reliable Advertising Image Generation Using Human Feedback", ECCV 2024, arXiv:2408.00418.

| paper | here |
|---|---|
| I_o, I_g, I_d, I_s, Cap | product, generated, depth, saliency, caption |
| e_o, e_g, e_d, e_s | maps["product"], ["generated"], ["depth"], ["saliency"] |
| e_c | caption_tokens |
| e_f = Conv(Conv(Attn(Q=e_o; K=V=e_c)) * Conv(e_o)) + e_o | FeatureFilter, N1 of them |
| f, FC | self-attention over [e_f; e_g; e_d; e_s], N2 layers; classifier |

What the paper does not say, and our choice: Conv is 3x3; every picture's tokens get a learnt position and a
learnt "which picture" vector; f is the mean of the last layer's tokens after a LayerNorm; the product enters
on neutral grey; depth and saliency are one channel repeated to three. With the product switched off (for the
ablation) the caption's tokens join the self-attention directly; with the caption switched off e_f = e_o.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adproof.rfnet.config import RFNetConfig
from adproof.rfnet.preprocess import GREY
from adproof.rfnet.text import PAD_ID

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


class ResNetTrunk(nn.Module):
    """transformers' ResNetModel down to its last feature map."""

    def __init__(self, config: RFNetConfig, channels: int, pretrained: bool, is_map: bool) -> None:
        super().__init__()
        from transformers import ResNetConfig, ResNetModel

        shape = config.map_resnet if is_map and config.map_resnet else config.resnet
        self.body: Any = ResNetModel(ResNetConfig(num_channels=channels, **shape))
        if pretrained and config.pretrained_image and shape is config.resnet:
            published = ResNetModel.from_pretrained(config.pretrained_image)
            load_widened(self.body, published.state_dict())
        self.out_channels = int(shape["hidden_sizes"][-1])

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, channels, S, S) normalised to (B, out_channels, S/32, S/32)."""
        features: Tensor = self.body(pixels).last_hidden_state
        return features


class TimmTrunk(nn.Module):
    """Any timm network's last feature map."""

    def __init__(self, config: RFNetConfig, channels: int, pretrained: bool, is_map: bool) -> None:
        super().__init__()
        del is_map
        try:
            import timm
        except ImportError as error:
            raise ImportError(
                f"image_encoder {config.image_encoder!r} needs timm: pip install timm, or choose 'resnet'"
            ) from error
        self.body: Any = timm.create_model(
            config.image_encoder.removeprefix("timm:"),
            pretrained=pretrained and bool(config.pretrained_image),
            features_only=True,
            in_chans=channels,
        )
        self.out_channels = int(self.body.feature_info.channels()[-1])

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.body(pixels)[-1]
        return features


def load_widened(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Load `state`, whose first convolution may see fewer channels: the added ones start at zero."""
    own = module.state_dict()
    for name, value in state.items():
        wanted = own[name]
        if value.shape != wanted.shape and value.dim() == 4 and value.shape[1] < wanted.shape[1]:
            widened = torch.zeros_like(wanted)
            widened[:, : value.shape[1]] = value
            state = {**state, name: widened}
    module.load_state_dict(state)


def build_trunk(
    config: RFNetConfig, channels: int = 3, pretrained: bool = False, is_map: bool = False
) -> ResNetTrunk | TimmTrunk:
    """The image encoder of the config, with so many input channels; is_map: for depth or saliency."""
    kind = ResNetTrunk if config.image_encoder == "resnet" else TimmTrunk
    return kind(config, channels, pretrained, is_map)


class CaptionEncoder(nn.Module):
    """RoBERTa and a linear map to RFNet's width."""

    def __init__(self, config: RFNetConfig, pretrained: bool) -> None:
        super().__init__()
        from transformers import RobertaConfig, RobertaModel

        if pretrained and config.pretrained_text:
            self.body: Any = RobertaModel.from_pretrained(config.pretrained_text, add_pooling_layer=False)
        else:
            settings = RobertaConfig(pad_token_id=PAD_ID, bos_token_id=0, eos_token_id=2, **config.text)
            self.body = RobertaModel(settings, add_pooling_layer=False)
        self.project = nn.Linear(int(config.text["hidden_size"]), config.width)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) int64 to (B, L, width)."""
        hidden = self.body(input_ids=ids, attention_mask=(ids != PAD_ID).long()).last_hidden_state
        tokens: Tensor = self.project(hidden)
        return tokens


def _conv3(width: int) -> nn.Conv2d:
    return nn.Conv2d(width, width, 3, padding=1)


class FeatureFilter(nn.Module):
    """One Feature Filter Module block: keeps from the caption what can be seen of the product.

    e_f = Conv(Conv(Attn(Q = e_o; K = V = e_c)) * Conv(e_o)) + e_o
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.conv_attended = _conv3(width)
        self.conv_product = _conv3(width)
        self.conv_out = _conv3(width)

    def forward(self, product: Tensor, caption: Tensor, padding: Tensor) -> Tensor:
        """Filter the caption by the product.

        Args:
            product: (B, width, h, w) e_o.
            caption: (B, L, width) e_c.
            padding: (B, L) bool, True where the caption has no token.
        Returns: (B, width, h, w) e_f.
        """
        queries = product.flatten(2).transpose(1, 2)
        attended, _ = self.attention(queries, caption, caption, key_padding_mask=padding, need_weights=False)
        seen = self.conv_attended(attended.transpose(1, 2).reshape(product.shape))
        filtered: Tensor = self.conv_out(seen * self.conv_product(product)) + product
        return filtered


class RFNet(nn.Module):
    """The network: `encode_images`, `encode_caption`, then `fuse` to logits; `forward` does all three.

    Args:
        config: its settings.
        pretrained: fetch config.pretrained_image and config.pretrained_text (when they are set).
    """

    def __init__(self, config: RFNetConfig, pretrained: bool = False) -> None:
        super().__init__()
        self.config = config
        pictures = config.image_modalities
        self.trunks = nn.ModuleDict()
        for name in ("shared",) if config.share_encoder else pictures:
            channels = 4 if name == "product" and config.product_alpha else 3
            self.trunks[name] = build_trunk(config, channels, pretrained, name in ("depth", "saliency"))
        width = config.width
        self.projections = nn.ModuleDict()
        for name in pictures:
            trunk = self.trunks["shared" if config.share_encoder else name]
            self.projections[name] = nn.Conv2d(int(trunk.out_channels), width, 1)  # type: ignore[arg-type]
        self.caption_encoder = CaptionEncoder(config, pretrained) if "caption" in config.modalities else None
        n_filters = config.n_filter_blocks if self.caption_encoder and "product" in pictures else 0
        self.filters = nn.ModuleList([FeatureFilter(width, config.heads) for _ in range(n_filters)])
        self.position = nn.Parameter(torch.zeros(1, config.grid**2, width))
        self.stream = nn.ParameterDict({name: torch.empty(1, 1, width) for name in pictures})
        for vector in (self.position, *self.stream.values()):
            nn.init.normal_(vector, std=0.02)
        layer = nn.TransformerEncoderLayer(
            width,
            config.heads,
            config.feedforward,
            config.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.fusion = nn.TransformerEncoder(layer, config.n_fusion_layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, config.n_labels)
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def pixels(self, name: str, picture: Tensor) -> Tensor:
        """A picture (B, C, S, S) in [0, 1] as its trunk wants it: three (or four) normalised channels."""
        alpha = None
        if name == "product":
            alpha = picture[:, 3:]
            picture = picture[:, :3] * alpha + GREY * (1 - alpha)
        elif picture.shape[1] == 1:
            picture = picture.expand(-1, 3, -1, -1)
        picture = (picture - self.mean) / self.std  # type: ignore[operator]
        if alpha is not None and self.config.product_alpha:
            picture = torch.cat([picture, 2 * alpha - 1], 1)
        return picture.contiguous(memory_format=torch.channels_last)

    def encode_images(self, pictures: dict[str, Tensor]) -> dict[str, Tensor]:
        """The trunks' maps, projected.

        Args:
            pictures: any of product (B, 4, S, S), generated (B, 3, S, S), depth and saliency (B, 1, S, S),
                float in [0, 1]; the ones the config switches off are ignored.
        Returns: the same names, (B, width, grid, grid).
        """
        names = [name for name in self.config.image_modalities if name in pictures]
        inputs = [self.pixels(name, pictures[name]) for name in names]
        if self.config.share_encoder:
            # One call: batch statistics of a mixed batch are what the shared running statistics will hold.
            maps = list(self.trunks["shared"](torch.cat(inputs)).split([len(x) for x in inputs]))
        else:
            maps = [self.trunks[name](x) for name, x in zip(names, inputs, strict=True)]
        grid = self.config.grid
        pooled = [m if m.shape[-2:] == (grid, grid) else F.adaptive_avg_pool2d(m, grid) for m in maps]
        return {name: self.projections[name](m) for name, m in zip(names, pooled, strict=True)}

    def encode_caption(self, ids: Tensor) -> Tensor | None:
        """(B, L) int64 token ids to e_c (B, L, width); None when the caption is switched off."""
        return None if self.caption_encoder is None else self.caption_encoder(ids)

    def filter_caption(self, product: Tensor, caption: Tensor | None, ids: Tensor) -> Tensor:
        """e_f (B, width, grid, grid) of e_o, e_c and the token ids; e_o itself when there is no caption."""
        if caption is not None:
            for block in self.filters:
                product = block(product, caption, ids == PAD_ID)
        return product

    def fused(self, maps: dict[str, Tensor], caption: Tensor | None, ids: Tensor) -> Tensor:
        """f: (B, width), the self-attention layers' mean token.

        Args:
            maps: of encode_images, with e_f (filter_caption) in the place of "product".
            caption: of encode_caption.
            ids: (B, L) int64.
        """
        padding = ids == PAD_ID
        streams = [
            maps[name].flatten(2).transpose(1, 2) + self.position + self.stream[name]
            for name in self.config.image_modalities
        ]
        tokens = torch.cat(streams, 1)
        mask = None
        if caption is not None and not self.filters:
            mask = torch.cat([padding.new_zeros(tokens.shape[:2]), padding], 1)
            tokens = torch.cat([tokens, caption], 1)
        fused = self.fusion(tokens, src_key_padding_mask=mask)
        if mask is not None:
            kept = (~mask).unsqueeze(2).to(fused.dtype)
            return self.norm((fused * kept).sum(1) / kept.sum(1))  # type: ignore[no-any-return]
        return self.norm(fused.mean(1))  # type: ignore[no-any-return]

    def fuse(self, maps: dict[str, Tensor], caption: Tensor | None, ids: Tensor) -> Tensor:
        """Logits (B, n_labels), float32, of what encode_images and encode_caption gave."""
        if "product" in maps:
            maps = {**maps, "product": self.filter_caption(maps["product"], caption, ids)}
        logits: Tensor = self.classifier(self.fused(maps, caption, ids))
        return logits.float()

    def forward(self, pictures: dict[str, Tensor], ids: Tensor) -> Tensor:
        """Logits of a batch.

        Args:
            pictures: see encode_images; all that the config uses.
            ids: (B, L) int64 token ids, padded with 1.
        Returns: (B, n_labels) float32.
        """
        return self.fuse(self.encode_images(pictures), self.encode_caption(ids), ids)
