"""Generators with tiny random weights, of the same classes as the real ones."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel

from adproof.diffusion import mini_nets

WORDS = ("on a table", "in front of blue red wall", "a cup beside it")


def save_mini(folder: Path) -> Path:
    """The mini generator's own nets at a smaller width; the net that starts at zero is woken up."""
    torch.manual_seed(0)
    tokenizer = mini_nets.build_tokenizer(WORDS)
    unet = mini_nets.build_unet((16, 32))
    torch.nn.init.normal_(unet.conv_out.weight, std=0.05)
    controlnet = mini_nets.build_controlnet(unet)
    _wake(controlnet)
    vae = mini_nets.build_vae((8, 8, 16, 16))
    text_encoder = mini_nets.build_text_encoder(tokenizer)
    mini_nets.assemble(vae, unet, controlnet, text_encoder, tokenizer).save_pretrained(folder)
    return folder


def save_stable_diffusion(folder: Path) -> Path:
    """As Stable Diffusion 1.5: four latent channels, known latents blended in, eps prediction; 64 px canvas."""
    torch.manual_seed(0)
    tokenizer = mini_nets.build_tokenizer(WORDS)
    text_encoder = mini_nets.build_text_encoder(tokenizer)
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        latent_channels=4,
    )
    with torch.no_grad():  # no posterior noise to speak of, so that two encodings agree
        vae.quant_conv.bias[4:] = -30.0
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=mini_nets.TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8, 16, 16))
    _wake(controlnet)
    pipeline = mini_nets.assemble(vae, unet, controlnet, text_encoder, tokenizer)
    pipeline.scheduler = DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False
    )
    pipeline.save_pretrained(folder)
    return folder


def _wake(controlnet: ControlNetModel) -> None:
    """A new ControlNet adds nothing; give its last layers random weights."""
    for layer in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
        torch.nn.init.normal_(layer.weight, std=0.05)
