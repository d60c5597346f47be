"""Computes what the tokenizer and the chat templates must give, with Hugging Face's tokenizers and transformers.

    python3 -m venv venv && venv/bin/pip install -r ../requirements.txt
    venv/bin/python make_golden.py

Writes encode.jsonl, decode.jsonl, variants.json, prompts.json and snippets.json beside itself, from the tokenizer of
examples/tiny-moe, corpus.py, conversations.py, snippets.py and templates/. Texts that need not be UTF-8 are in hex.
"""

import json
import pathlib
import random

import tokenizers
import transformers
from transformers.utils.chat_template_utils import render_jinja_template

from conversations import CONVERSATIONS, NULL_CONTENT, TOOLS
from corpus import SPECIAL, SPACES, corpus
from snippets import MESSAGES, SNIPPETS

HERE = pathlib.Path(__file__).resolve().parent
EXAMPLE = HERE.parents[2] / "examples" / "tiny-moe"
TOKENIZER = (EXAMPLE / "model" / "tokenizer.json").read_text(encoding="utf-8")


def encode(tokenizer, data):
    return tokenizer.encode(data.decode("utf-8", errors="replace")).ids


def make_encode():
    tokenizer = tokenizers.Tokenizer.from_str(TOKENIZER)
    records = []
    for data in corpus():
        record = {"hex": data.hex(), "ids": encode(tokenizer, data)}
        tokenizer.encode_special_tokens = True
        plain = encode(tokenizer, data)
        tokenizer.encode_special_tokens = False
        if plain != record["ids"]:
            record["specials_as_text"] = plain
        records.append(record)
    return records


def make_decode():
    tokenizer = tokenizers.Tokenizer.from_str(TOKENIZER)
    rng = random.Random(2)
    size = tokenizer.get_vocab_size()
    lists = [[], [size], [size + 5, 1, size - 1]] + [[i] for i in range(size - 30, size)]
    lists += [[rng.randrange(256) for _ in range(rng.randrange(1, 12))] for _ in range(200)]
    lists += [[rng.randrange(size) for _ in range(rng.randrange(1, 12))] for _ in range(100)]
    return [{"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=False),
             "without_special": tokenizer.decode(ids, skip_special_tokens=True)} for ids in lists]


def make_variants():
    """Added tokens of every kind, with and without the normalizer."""
    kinds = [("<x>", {}), ("<x>y", {}), ("<S>", {"special": True}), ("<l>", {"lstrip": True}), ("<r>", {"rstrip": True}),
             ("<lr>", {"lstrip": True, "rstrip": True}), ("<w>", {"single_word": True}), ("wort", {"single_word": True}),
             ("nor\u00e9", {"normalized": True}), ("raw\u00e9", {}), ("e\u0301n", {"normalized": True}), ("x y", {}), ("\u00e4\u00f6", {}),
             (" lead", {}), ("Lw", {"normalized": True, "single_word": True, "lstrip": True})]
    texts = [f"{a}{left}{token}{right}{b}" for token, _ in kinds for left in ("", " ", "  ", "\u3000", "\n") for right in ("", " ", " \n ")
             for a, b in (("", ""), ("a", "b"), ("_", "\u0301"), ("\u24d0", "1"), ("!", "-"))]
    texts += ["<x><x>y<x>", "wort wort_ wort1 swort wort", "nore\u0301 nor\u00e9 rawe\u0301 raw\u00e9 \u00e9n e\u0301n", "<S> <S><l> <l>  <r>  <l>", "<lr> <lr>  <lr>", "a\u0308\u00f6"] + SPECIAL + SPACES
    variants = []
    for normalizer in ({"type": "NFC"}, None):
        description = json.loads(TOKENIZER)
        description["normalizer"] = normalizer
        first = len(description["model"]["vocab"])
        description["added_tokens"] = [dict({"id": first + i, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
                                             "normalized": False, "special": False}, **flags) for i, (content, flags) in enumerate(kinds)]
        tokenizer = tokenizers.Tokenizer.from_str(json.dumps(description))
        cases = []
        for text in texts:
            ids = tokenizer.encode(text).ids
            cases.append({"hex": text.encode().hex(), "ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=True)})
        variants.append({"normalizer": normalizer, "added_tokens": description["added_tokens"], "cases": cases})
    return variants


def render(messages, template, **more):
    try:
        return {"text": render_jinja_template([messages], chat_template=template, **more)[0][0]}
    except Exception:  # what is raised depends on what the template does
        return {"error": True}


def make_prompts():
    paths = {"hybrid": EXAMPLE / "chat_template.jinja", **{p.stem: p for p in sorted((HERE / "templates").glob("*.jinja"))}}
    cases = []
    for name, path in paths.items():
        text = path.read_text(encoding="utf-8")
        for conversation, messages in {**CONVERSATIONS, **NULL_CONTENT}.items():
            for tools in ("no tools", "two tools"):
                for prompt, thinking in ((True, None), (True, False), (True, True), (False, None)):
                    if thinking is not None and (name != "hybrid" or tools != "no tools"):
                        continue
                    more = {} if thinking is None else {"enable_thinking": thinking}
                    result = render(messages, text, tools=TOOLS[tools], add_generation_prompt=prompt, **more)
                    cases.append({"template": name, "conversation": conversation, "tools": tools, "generation_prompt": prompt,
                                  "thinking": thinking, **result})
    return {"templates": {name: str(path.relative_to(HERE.parents[2])) for name, path in paths.items()},
            "conversations": {**CONVERSATIONS, **NULL_CONTENT}, "tools": TOOLS, "cases": cases}


def make_snippets():
    return {"messages": MESSAGES,
            "cases": [{"template": s, **render(MESSAGES, s, tools=None, eos_token="<|im_end|>")} for s in SNIPPETS]}


def dump(name, value):
    lines = isinstance(value, list) and name.endswith("l")
    text = "\n".join(json.dumps(v, ensure_ascii=False) for v in value) if lines else json.dumps(value, ensure_ascii=False, indent=0)
    (HERE / name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    print("tokenizers", tokenizers.__version__, "transformers", transformers.__version__)
    dump("encode.jsonl", make_encode())
    dump("decode.jsonl", make_decode())
    dump("variants.json", [{**v, "cases": [json.dumps(c) for c in v["cases"]]} for v in make_variants()])
    dump("prompts.json", make_prompts())
    dump("snippets.json", make_snippets())
