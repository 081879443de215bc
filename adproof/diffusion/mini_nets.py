"""The mini generator's networks: the classes of Stable Diffusion + ControlNet, small enough to train on one core.

128x128 pictures, latents 16x16 with 16 channels (f = 8). With 16 latent channels the inpainting pipeline neither
blends known latents nor takes a 9-channel U-Net: the ControlNet alone tells the net where the product is, and the
product's own pixels are pasted back at the end, as always.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionControlNetInpaintPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer, pre_tokenizers, trainers
from tokenizers.models import BPE
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

CANVAS = 128
LATENT_CHANNELS = 16
LATENT_SIDE = 16
TEXT_WIDTH = 64
TEXT_TOKENS = 32
START, END = "<|startoftext|>", "<|endoftext|>"


def build_vae(channels: tuple[int, ...] = (16, 32, 64, 96), groups: int = 1) -> AutoencoderKL:
    """Autoencoder (B,3,128,128) in [-1,1] <-> latents (B,16,16,16); no attention, so any multiple of 8 px works."""
    vae = AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        latent_channels=LATENT_CHANNELS,
        layers_per_block=1,
        norm_num_groups=groups,
        mid_block_add_attention=False,
        sample_size=CANVAS,
    )
    _start_near_linear(vae)
    with torch.no_grad():  # posterior noise near zero
        vae.quant_conv.weight[LATENT_CHANNELS:] *= 0.01
        vae.quant_conv.bias[LATENT_CHANNELS:] = -6.0
    return vae


@torch.no_grad()
def _start_near_linear(model: nn.Module) -> None:
    """Residual branches start near zero, the path beside them as orthogonal maps.

    With diffusers' own start (each convolution shrinks its input) the first thousand steps only undo the shrinking.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and name.endswith(("to_out.0", "ff.net.2", "proj_out")):
            nn.init.normal_(module.weight, std=1e-3)
        if not isinstance(module, nn.Conv2d):
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
        if name.endswith(("conv2", "proj_out")):
            nn.init.normal_(module.weight, std=1e-3)
        elif name.endswith("conv1"):
            nn.init.kaiming_normal_(module.weight)
        elif "upsamplers" in name:
            nn.init.dirac_(module.weight)
        else:
            nn.init.orthogonal_(module.weight)


def build_unet(channels: tuple[int, ...] = (64, 128)) -> UNet2DConditionModel:
    """Denoiser on latents (B,16,16,16); attention (self and to the prompt) below the first level only."""
    lower = len(channels) - 1
    unet = UNet2DConditionModel(
        sample_size=LATENT_SIDE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=channels,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * lower,
        up_block_types=("CrossAttnUpBlock2D",) * lower + ("UpBlock2D",),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )
    _start_near_linear(unet)
    nn.init.zeros_(unet.conv_out.weight)
    return unet


def build_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """ControlNet for `unet`; its condition picture is (B,3,128,128) in [0,1]."""
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16, 32, 64))
    # It is trained together with the U-Net from the start, so the condition is let in from the start.
    _start_near_linear(controlnet.controlnet_cond_embedding)
    return controlnet


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TEXT_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_tokenizer(vocabulary: Iterable[str]) -> CLIPTokenizer:
    """CLIP tokenizer in which every word of `vocabulary` is one token; other words fall into letters.

    The merges are learnt from the word list itself until each word is whole, so they are consistent by construction.
    """
    words = sorted({word for text in vocabulary for word in re.findall(r"[^\W\d_]+|\d|[^\w\s]+", text.lower())})
    model = Tokenizer(BPE(unk_token=END, end_of_word_suffix="</w>"))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=100_000,
        min_frequency=1,
        special_tokens=[START, END, *(letter + "</w>" for letter in alphabet)],
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    model.train_from_iterator(words, trainer)
    state = json.loads(model.to_str())["model"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in state["merges"]]
    return CLIPTokenizer(vocab=state["vocab"], merges=merges, model_max_length=TEXT_TOKENS)


def build_scheduler() -> DDIMScheduler:
    """v-prediction, squared-cosine noise schedule, trailing steps (so that the first step starts from pure noise)."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )


def assemble(
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    controlnet: ControlNetModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
) -> StableDiffusionControlNetInpaintPipeline:
    return StableDiffusionControlNetInpaintPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        controlnet=controlnet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save_half(pipeline: StableDiffusionControlNetInpaintPipeline, folder: Path) -> None:
    """Write the pipeline as a diffusers folder, safetensors in float16."""
    for part in (pipeline.vae, pipeline.unet, pipeline.controlnet, pipeline.text_encoder):
        part.half()
    pipeline.save_pretrained(folder, safe_serialization=True)
