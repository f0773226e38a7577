"""Models small enough to train in seconds, and a tokenizer over bytes: for the demo and for tests.

Both come from this file alone, so nothing is downloaded; a seed gives the same weights everywhere.
"""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

SPECIAL_TOKENS = ("<pad>", "<s>", "</s>")


def byte_tokenizer(*, ends: bool = False) -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token a byte of UTF-8, which therefore knows every language.

    ends: put an end-of-text after every text, as T5's does; otherwise a begin-of-text before it, as
    Llama's does.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate((*SPECIAL_TOKENS, *alphabet))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    padding, begin, end = SPECIAL_TOKENS
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end}" if ends else f"{begin} $A",
        special_tokens=[(token, vocabulary[token]) for token in (begin, end)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=padding, bos_token=begin, eos_token=end
    )


def tiny_llama(*, seed: int = 0, hidden: int = 64, layers: int = 2) -> LlamaForCausalLM:
    """Return a Llama with random weights for `byte_tokenizer`, in float32 and ready for inference.

    seed: decides the weights, and so the name ("tiny-llama-0") that adapters record as their base;
    the caller's random state stays as it was.
    """
    config = LlamaConfig(
        vocab_size=len(SPECIAL_TOKENS) + 256,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        name_or_path=f"tiny-llama-{seed}",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def tiny_t5(*, seed: int = 0, hidden: int = 64, layers: int = 2) -> T5ForConditionalGeneration:
    """Return an encoder-decoder likewise, of T5's architecture with tied embeddings."""
    config = T5Config(
        vocab_size=len(SPECIAL_TOKENS) + 256,
        d_model=hidden,
        d_kv=hidden // 4,
        d_ff=2 * hidden,
        num_layers=layers,
        num_heads=4,
        pad_token_id=0,
        decoder_start_token_id=0,
        eos_token_id=2,
        name_or_path=f"tiny-t5-{seed}",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return T5ForConditionalGeneration(config).eval()
