"""Settings of RFNet and of its training, as frozen dataclasses that read and write JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from adproof.labels import N_LABELS

MODALITIES = ("product", "generated", "depth", "saliency", "caption")
IMAGE_MODALITIES = MODALITIES[:4]

# torchvision's and transformers' ResNet50; "basic" is the layer of ResNet18/34.
RESNET50: dict[str, Any] = {
    "embedding_size": 64,
    "hidden_sizes": [256, 512, 1024, 2048],
    "depths": [3, 4, 6, 3],
    "layer_type": "bottleneck",
}
MINI_RESNET: dict[str, Any] = {
    "embedding_size": 24,
    "hidden_sizes": [32, 64, 96, 128],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
}
# Depth and saliency are simple pictures: a trunk at a quarter of the cost.
MINI_MAP_RESNET: dict[str, Any] = {
    "embedding_size": 12,
    "hidden_sizes": [16, 32, 48, 64],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
}
ROBERTA_BASE: dict[str, Any] = {
    "vocab_size": 50265,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
}
MINI_TEXT: dict[str, Any] = {
    "vocab_size": 2048,
    "hidden_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 192,
    "max_position_embeddings": 66,
    "type_vocab_size": 1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def _refuse_unknown(kind: type, values: Mapping[str, Any]) -> None:
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(
            f"unknown {kind.__name__} setting{'s' if len(unknown) > 1 else ''}: {', '.join(unknown)}; "
            f"known: {', '.join(sorted(known))}"
        )


@dataclass(frozen=True)
class RFNetConfig:
    """The network. The defaults are the paper's (methods: ResNet50, RoBERTa, width 384, 8 heads, N1 1, N2 3).

    Attributes:
        image_encoder: "resnet" (transformers ResNetModel built from `resnet`) or "timm:NAME".
        resnet: embedding_size, hidden_sizes, depths, layer_type of the ResNet.
        map_resnet: the same for the depth's and saliency's trunks; {} = as `resnet`. Not with share_encoder.
        pretrained_image: hub id or folder whose ResNet weights start a new network ("" = none); not read
            when a checkpoint is loaded. For "timm:NAME" any text but "" means timm's own weights.
        share_encoder: one trunk for the four pictures instead of one each. The paper does not say.
        image_size: side of the square input, px.
        grid: the trunk's map is pooled to grid x grid tokens for each picture.
        product_alpha: give the product's trunk its alpha as a fourth channel (needs share_encoder off).
        product_scale: a product picture that does not lie on the generated one (see preprocess) is cut to its
            alpha box and put centred with its longest side this share of the square; 0 = only resize it.
        text: transformers RobertaConfig values.
        pretrained_text: as pretrained_image, for the text encoder and its tokenizer.
        max_caption_tokens: longer captions are cut, counting <s> and </s>.
        width: channels of every token in the network's own layers.
        heads: attention heads.
        n_filter_blocks: N1, Feature Filter Module blocks.
        n_fusion_layers: N2, self-attention layers.
        feedforward: hidden width of a self-attention layer's MLP.
        dropout: in the self-attention layers.
        modalities: which inputs the network sees (for the ablation).
        n_labels: classes.
    """

    image_encoder: str = "resnet"
    resnet: dict[str, Any] = field(default_factory=lambda: dict(RESNET50))
    map_resnet: dict[str, Any] = field(default_factory=dict)
    pretrained_image: str = "microsoft/resnet-50"
    share_encoder: bool = False
    image_size: int = 384
    grid: int = 12
    product_alpha: bool = False
    product_scale: float = 0.72
    text: dict[str, Any] = field(default_factory=lambda: dict(ROBERTA_BASE))
    pretrained_text: str = "FacebookAI/roberta-base"
    max_caption_tokens: int = 64
    width: int = 384
    heads: int = 8
    n_filter_blocks: int = 1
    n_fusion_layers: int = 3
    feedforward: int = 1536
    dropout: float = 0.1
    modalities: tuple[str, ...] = MODALITIES
    n_labels: int = N_LABELS

    def __post_init__(self) -> None:
        unknown = [m for m in self.modalities if m not in MODALITIES]
        if unknown:
            raise ValueError(f"unknown modality {unknown[0]!r}; known: {', '.join(MODALITIES)}")
        if not any(m in IMAGE_MODALITIES for m in self.modalities):
            raise ValueError(f"RFNet needs at least one picture: {', '.join(IMAGE_MODALITIES)}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} does not divide by {self.heads} heads")
        if self.product_alpha and self.share_encoder:
            raise ValueError("product_alpha gives one trunk a fourth channel: set share_encoder to false")
        if self.map_resnet and (self.share_encoder or self.image_encoder != "resnet"):
            raise ValueError("map_resnet is for image_encoder 'resnet' without share_encoder")
        if self.image_encoder != "resnet" and not self.image_encoder.startswith("timm:"):
            raise ValueError(f"image_encoder must be 'resnet' or 'timm:NAME', not {self.image_encoder!r}")

    @property
    def image_modalities(self) -> tuple[str, ...]:
        """The pictures in use, in the network's order."""
        return tuple(m for m in IMAGE_MODALITIES if m in self.modalities)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values; `from_dict` gives the same config back."""
        return {**asdict(self), "modalities": list(self.modalities)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RFNetConfig:
        """Raises ValueError for a key that is not a setting."""
        _refuse_unknown(cls, values)
        given = dict(values)
        if "modalities" in given:
            given["modalities"] = tuple(given["modalities"])
        return cls(**given)


def paper_network() -> RFNetConfig:
    """The paper's network: ResNet50 at 384 px, RoBERTa base, width 384, 8 heads, N1 = 1, N2 = 3."""
    return RFNetConfig()


def mini_network() -> RFNetConfig:
    """The same architecture for a laptop's CPU: 128 px, a four-stage ResNet, 16 tokens a picture."""
    return RFNetConfig(
        resnet=dict(MINI_RESNET),
        map_resnet=dict(MINI_MAP_RESNET),
        pretrained_image="",
        image_size=128,
        grid=4,
        product_alpha=True,
        product_scale=0.5,
        text=dict(MINI_TEXT),
        pretrained_text="",
        max_caption_tokens=60,
        width=128,
        heads=4,
        n_fusion_layers=3,
        feedforward=256,
    )


@dataclass(frozen=True)
class TrainConfig:
    """One training. The defaults are the paper's schedule; what it does not say is ours and marked so.

    Attributes:
        network: the network's settings; when `init` is given they must have its shapes.
        init: "" (new weights, or the network's pretrained_* ones), "mini" (the shipped starting point) or
            the path of a checkpoint folder to start from. Its classifier head is not taken over.
        epochs: passes over the training split.
        learning_rate: AdamW's, before the drops.
        drop_epochs: at the start of each of these epochs (0 = the first) the rate is divided by drop_factor.
        drop_factor: see drop_epochs.
        warmup_steps: linear warm-up of the rate (ours).
        batch_size: samples a step (ours).
        weight_decay: AdamW's (ours).
        gradient_clip: largest gradient norm; 0 = off (ours).
        label_smoothing: 0 = the paper's plain cross-entropy over the five labels.
        class_weights: weigh each label by the inverse of its frequency, mean 1.
        flip: mirror all four pictures of half of the samples.
        freeze_batchnorm: keep the trunks' running statistics as they were in `init`.
        head_first: strength (over 0) of the penalty with which the new classifier is fitted to the labels on the features
            as they are in `init`, before the whole network learns (ours, see adproof.rfnet.head); 0 = it starts at random.
        precision: "fp32" or "bf16" (autocast; weights stay fp32).
        device: torch device.
        threads: torch threads on the CPU; 0 = leave as it is.
        checkpoint_steps: write the resume file every so many steps, besides every epoch.
        seed: decides weights, order, flips and dropout.
    """

    network: RFNetConfig = field(default_factory=RFNetConfig)
    init: str = ""
    epochs: int = 10
    learning_rate: float = 1e-4
    drop_epochs: tuple[int, ...] = (5,)
    drop_factor: float = 10.0
    warmup_steps: int = 0
    batch_size: int = 32
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    label_smoothing: float = 0.0
    class_weights: bool = False
    flip: bool = False
    freeze_batchnorm: bool = False
    head_first: float = 0.0
    precision: str = "fp32"
    device: str = "cpu"
    threads: int = 0
    checkpoint_steps: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "bf16"):
            raise ValueError(f"precision must be fp32 or bf16, not {self.precision!r}")
        if self.epochs < 1 or self.batch_size < 1 or self.checkpoint_steps < 1:
            raise ValueError("epochs, batch_size and checkpoint_steps must be at least 1")
        if self.head_first < 0:
            raise ValueError(f"head_first is 0 or more, not {self.head_first}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values; `from_dict` gives the same config back."""
        return {**asdict(self), "network": self.network.to_dict(), "drop_epochs": list(self.drop_epochs)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Raises ValueError for a key that is not a setting, here or in `network`."""
        _refuse_unknown(cls, values)
        given = dict(values)
        if "network" in given:
            given["network"] = RFNetConfig.from_dict(given["network"])
        if "drop_epochs" in given:
            given["drop_epochs"] = tuple(given["drop_epochs"])
        return cls(**given)

    def with_seed(self, seed: int) -> TrainConfig:
        """The same training with another seed."""
        return replace(self, seed=seed)


def paper_training() -> TrainConfig:
    """10 epochs, rate 1e-4 divided by 10 at epoch 5, cross-entropy on five classes."""
    return TrainConfig(network=paper_network())


def mini_training() -> TrainConfig:
    """A few hundred labelled candidates on one CPU thread in minutes, from the shipped starting point."""
    return TrainConfig(
        network=mini_network(),
        init="mini",
        epochs=8,
        learning_rate=1e-4,
        drop_epochs=(5, 7),
        drop_factor=4.0,
        warmup_steps=20,
        batch_size=32,
        flip=True,
        freeze_batchnorm=True,
        head_first=0.3,
        precision="bf16",
    )
