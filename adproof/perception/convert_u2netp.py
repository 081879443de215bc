"""Turn the published u2netp.onnx into u2netp.safetensors for `TorchU2NetP`.

    python -m adproof.perception.convert_u2netp u2netp.onnx u2netp.safetensors

Needs the `onnx` package; nothing else in adproof does.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import save
from torch import Tensor, nn

from adproof.perception.u2netp import U2NetP
from adproof.whole_files import write_whole

PUBLISHED_MD5 = "8e83ca70e441ab06c318d82300c84806"


def weights_in_order(onnx_bytes: bytes) -> list[tuple[Tensor, Tensor]]:
    """Read weight and bias of every convolution, in the order in which they run.

    Args:
        onnx_bytes: an ONNX model whose convolutions have both as initialisers (normalisation folded in).
    Returns: pairs of (out, in, k, k) float32 and (out,) float32.
    Raises: KeyError: a convolution's weight is not an initialiser.
    """
    graph = onnx.load_model_from_string(onnx_bytes).graph
    arrays = {each.name: np.array(numpy_helper.to_array(each)) for each in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    return [(torch.from_numpy(arrays[node.input[1]]), torch.from_numpy(arrays[node.input[2]])) for node in convolutions]


def convert(onnx_bytes: bytes) -> dict[str, Tensor]:
    """Name the ONNX file's weights as `U2NetP` does.

    Args:
        onnx_bytes: u2netp.onnx.
    Returns: U2NetP's state dict, float32.
    Raises: ValueError: the net in the file has another number or other shapes of convolutions.
    """
    found = weights_in_order(onnx_bytes)
    network = U2NetP()
    convolutions = [(name, part) for name, part in network.named_modules() if isinstance(part, nn.Conv2d)]
    if len(found) != len(convolutions):
        raise ValueError(f"the file has {len(found)} convolutions, U2-Net-p has {len(convolutions)}")
    state: dict[str, Tensor] = {}
    for (name, part), (weight, bias) in zip(convolutions, found, strict=True):
        if weight.shape != part.weight.shape:
            raise ValueError(f"{name} is {tuple(weight.shape)} in the file, not {tuple(part.weight.shape)}")
        state[f"{name}.weight"], state[f"{name}.bias"] = weight, bias
    return state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    data = options.onnx.read_bytes()
    if hashlib.md5(data).hexdigest() != PUBLISHED_MD5:
        parser.error(f"{options.onnx} is not the published u2netp.onnx (md5 {PUBLISHED_MD5})")
    write_whole(options.out, save(convert(data)))
    print(f"{options.out}: {options.out.stat().st_size} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
