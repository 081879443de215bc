"""Captions to token ids: RoBERTa's own tokenizer, or a small byte-level one learnt from captions.

Both are one `tokenizer.json` (Hugging Face tokenizers) beside the checkpoint, so loading needs no hub.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # RoBERTa's, with RoBERTa's ids 0..3
PAD_ID = 1
FILE_NAME = "tokenizer.json"


class CaptionTokenizer:
    """Captions to padded ids, of one fixed length so that a batch's shape never depends on its texts."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self.max_tokens = max_tokens
        tokenizer.enable_truncation(max_tokens)
        tokenizer.no_padding()

    @property
    def vocabulary_size(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def __call__(self, captions: Sequence[str]) -> NDArray[np.int64]:
        """Token ids.

        Args:
            captions: N texts of any length; what does not fit in max_tokens is cut.
        Returns: (N, max_tokens) int64, padded with 1 (PAD_ID); every row starts with <s>.
        """
        ids = np.full((len(captions), self.max_tokens), PAD_ID, np.int64)
        for row, encoding in enumerate(self._tokenizer.encode_batch([" ".join(c.split()) for c in captions])):
            ids[row, : len(encoding.ids)] = encoding.ids
        return ids

    def save(self, folder: Path) -> None:
        """Write tokenizer.json into `folder`."""
        self._tokenizer.save(str(folder / FILE_NAME))

    def to_json(self) -> str:
        return str(self._tokenizer.to_str())

    @classmethod
    def load(cls, folder: Path, max_tokens: int) -> CaptionTokenizer:
        """Read tokenizer.json of `folder`. Raises FileNotFoundError when it has none."""
        path = folder / FILE_NAME
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: a checkpoint folder holds its tokenizer")
        return cls(Tokenizer.from_file(str(path)), max_tokens)


def train_tokenizer(captions: Iterable[str], vocabulary_size: int, max_tokens: int) -> CaptionTokenizer:
    """Learn a byte-level BPE tokenizer from captions: any text has ids, none is unknown.

    Numbers are split into digits, so that sizes in cm are read the same whatever stands beside them.

    Args:
        captions: the texts.
        vocabulary_size: at most so many tokens, at least 261 (256 bytes and five special ones).
        max_tokens: see CaptionTokenizer.
    """
    from tokenizers import decoders, models, pre_tokenizers, processors, trainers
    from tokenizers.normalizers import Lowercase

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=True)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return CaptionTokenizer(tokenizer, max_tokens)


def pretrained_tokenizer(name: str, max_tokens: int) -> CaptionTokenizer:
    """The tokenizer of a published model, by hub id or folder."""
    from transformers import AutoTokenizer

    fast = AutoTokenizer.from_pretrained(name, use_fast=True)
    return CaptionTokenizer(fast.backend_tokenizer, max_tokens)
