#!/usr/bin/env python3
"""Trains the example's tokenizer: byte-level BPE in the form of Qwen's tokenizer.json.

    train_tokenizer.py [--work build/tiny-moe] [--out model]

4060 entries from bytes and merges, then Qwen's 26 added tokens in Qwen's order; the embedding's further rows up to
4096 are padding, as in Qwen's own models.
"""

import argparse
import json
import pathlib

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

ENTRIES = 4060
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
           "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
           "<|image_pad|>", "<|video_pad|>")
NOT_SPECIAL = ("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
               "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>")


def train(texts):
    """The tokenizer, trained on an iterable of texts."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=False, ignore_merges=False, continuing_subword_prefix="",
                                     end_of_word_suffix="", fuse_unk=False))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    trainer = trainers.BpeTrainer(vocab_size=ENTRIES, min_frequency=2, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=False) for t in NOT_SPECIAL])
    return tokenizer


def tokenizer_config(tokenizer, template):
    """tokenizer_config.json as Qwen's models carry it, with the chat template inside."""
    decoder = {str(tokenizer.token_to_id(t)): dict(content=t, lstrip=False, normalized=False, rstrip=False,
                                                   single_word=False, special=t in SPECIAL)
               for t in SPECIAL + NOT_SPECIAL}
    return dict(add_bos_token=False, add_prefix_space=False, added_tokens_decoder=decoder,
                additional_special_tokens=list(SPECIAL[1:]), bos_token=None, chat_template=template,
                clean_up_tokenization_spaces=False, eos_token="<|im_end|>", errors="replace", model_max_length=1024,
                pad_token="<|endoftext|>", split_special_tokens=False, tokenizer_class="Qwen2Tokenizer", unk_token=None)


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=pathlib.Path, default=here.parent.parent / "build/tiny-moe")
    parser.add_argument("--out", type=pathlib.Path, default=here / "model")
    args = parser.parse_args()
    args.out.mkdir(exist_ok=True)
    texts = (args.work / "train.txt").read_text("utf-8").split("\n\f\n")
    for line in (args.work / "chat.jsonl").read_text("utf-8").splitlines():
        texts += json.loads(line)
    tokenizer = train(texts)
    tokenizer.save(str(args.out / "tokenizer.json"))
    template = (here / "chat_template.jinja").read_text("utf-8")
    config = tokenizer_config(tokenizer, template)
    (args.out / "tokenizer_config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", "utf-8")
    held = (here / "heldout.txt").read_text("utf-8")
    print(f"{tokenizer.get_vocab_size()} tokens; {len(held) / len(tokenizer.encode(held).ids):.2f} characters per token "
          f"of heldout.txt")


if __name__ == "__main__":
    main()
