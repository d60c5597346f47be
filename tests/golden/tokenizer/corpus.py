"""Texts on which the tokenizer must agree with the tokenizers library: a list of byte strings, in order."""

import random
import unicodedata

WORDS = [
    # Latin, Greek, Cyrillic, Armenian, Georgian
    "The quick brown fox jumps over the lazy dog. It's what they'd've SAID: \"don't\", we'll, I'M, YOU'RE'S.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy; Zażółć gęślą jaźń; Ça où là-bas, naïve façade, Ærøskøbing, straße ẞ.",
    "Tiếng Việt: Trăm năm trong cõi người ta, chữ tài chữ mệnh khéo là ghét nhau.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. ἐν ἀρχῇ ἦν ὁ λόγος",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. Їжак ґанок Ѣ",
    "Բարեւ աշխարհ։ გამარჯობა მსოფლიო ႠႡ ᲐᲑ",
    # Right to left
    "مرحبا بالعالم، كيف حالُكَ؟ ١٢٣٤ ۱۲۳۴", "שָׁלוֹם עוֹלָם, מַה נִּשְׁמָע?", "سلام دنیا؛ می‌خواهم", "ܫܠܡܐ ߊߓߌߖߊ ދިވެހި",
    # Indic and South-East Asian
    "नमस्ते दुनिया, क्षत्रिय श्री ज़िन्दगी १२३", "ওহে বিশ্ব ড় ঢ় য়", "ਸਤ ਸ੍ਰੀ ਅਕਾਲ ਖ਼", "નમસ્તે", "ନମସ୍କାର ଡ଼", "வணக்கம் ௧௨௩ கொ",
    "నమస్కారం", "ನಮಸ್ಕಾರ ಕೊ", "നമസ്കാരം ൨൦൨൪", "ආයුබෝවන්", "สวัสดีชาวโลก น้ำ", "ສະບາຍດີ", "བོད་སྐད། གྷ", "မင်္ဂလာပါ ကမ္ဘာ",
    "សួស្តី​ពិភពលោក", "ᮞᮥᮔ᮪ᮓ ᬩᬮᬶ ꦗꦮ",
    # East Asian
    "你好，世界！今天天氣怎麼樣？「測試」㐀𠀀𪛖", "こんにちは世界、がぎぐげご、ガギグゲゴ、ﾊﾝｶｸ ｶﾞ ー々〆", "안녕하세요 세계 각 한글 ㄱㄴㄷ",
    "ㄅㄆㄇ ꀀꀁ 𛀀 ᠮᠣᠩᠭᠣᠯ", "全角ＡＢＣ１２３　スペース",
    # Others
    "ሰላም ልዑል ፩፪", "ᏣᎳᎩ ꭰꭱ", "ᐊᐃᓄᒃᑎᑐᑦ", "ⵜⴰⵎⴰⵣⵉⵖⵜ", "𐌰𐌱 𐤀𐤁 𒀀𒁀 𓀀𓂀 𐎠 𝔘𝔫𝔦 𝟙𝟚 𞤀𞤣", "ⰀⰁ ⲀⲂ ᚠᚢᚦ ᚁᚂ ⠓⠑",
    # Numbers and symbols
    "1 12 123 1234567890 3.14159 1,000,000 ½ ² ₃ Ⅷ ⅷ ① ㊿ ٣ ৪ 〇 𝟘 12ab 0x1F 1e-5",
    "!?.,;:'\"()[]{}<>@#$%^&*-_=+|\\/~` € £ ¥ ₹ © ® ™ § ¶ † ‡ • … – — ′ ″ ∑ ∫ √ ∞ ≠ ≤ ← → ⇒ ♥ ☃ ✓",
    "a_b __init__ snake_case camelCase HTTPServer x+=1; /* c */ // d\n#define X(y) ((y)*2)\nif(a&&b||!c){return;}",
    "http://example.org/a?b=c&d=%20#e user@example.org C:\\dir\\file.txt /usr/bin/env",
    # Contractions: case, the long s, other apostrophes, at the start and the end
    "'s 'S 't 'T 're 'RE 'Re 've 'VE 'm 'M 'll 'LL 'lL 'd 'D 'ſ 'x ''s it's it''s 's's 'sa 'rex ’s don’t 'K 'k '",
    # Emoji
    "😀😃 👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇯🇵 ❤️ ☺︎ 1️⃣ #️⃣ 🧑🏿‍🚀 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🫠",
]

MARKS = [
    "e\u0301 \u00e9 E\u0301 a\u0308\u0323 a\u0323\u0308 \u1ea1\u0308 q\u0307\u0323 o\u0302\u0301\u0308 \u1e9b\u0323",
    "\u0344 \u0340\u0341 \u0343 \u0374 \u037e \u0387 \u1f71 \u1fef \u2126 \u212a \u212b \u2000 \u2001 \u2329",
    "\u1100\u1161\u11a8 \uac00\u11a8 \u1100\u1161 \u11a8 \u1161 \uac01\u11a8 \u1112\u1161\u11ab\u1100\u1173\u11af",
    "\u0958 \u09dc \u0a33 \u0b5c \u0f43 \u0f77 \ufb1d \ufb2a \ufb4e \u2adc \U0001d15e \U0001d1bb",
    "\uf900 \ufa0e \ufa10 \U0002f800 \U0002fa1d \ufb00 \ufb01 \u00bd \u3392",
    "\u0301 \u0301a a\u0301\u0301\u0301 " + "a" + "\u0316\u0301" * 40 + " x\u0334\u0338\u20d0",
    "\u0915\u093c \u0b47\u0b3e \u0bc6\u0bbe \u0cc6\u0cc2\u0cd5 \u0d46\u0d3e \u0dd9\u0dcf\u0dca \u1025\u102e \u3046\u3099 \u304b\u3099\u309a",
    "\u1b05\u1b35 \U00011131\U00011127 \U00011347\U0001133e \U000114b9\U000114ba \U000115b8\U000115af \u0f71\u0f72 \u0f71\u0f80",
    "x\u07fd\u0327\u0301\u07fd e\u0301\u0898\u0301\u0327 \U00011935\U00011930 a\u0345\u0898 \u1abf\u0316\u1ace",
    "A\u030a \u00c5 \u212b\u0301 n\u0303 \u0131\u0307 i\u0307 \u01d5 u\u0308\u0304 \u0419 \u0418\u0306 \u0439\u0301",
]

SPACES = [
    "", " ", "  ", "   ", "\n", "\n\n", "\n\n\n", "\r", "\r\n", "\r\n\r\n", "\t", "\t\t", " \n", "\n ", " \n ", "  \n  \n  x",
    "a b", "a  b", "a   b", "a\tb", "a\t\tb", "a \tb", "a\nb", "a\n\nb", "a \n b", "a\r\nb", "a\r\n\r\n  b", "a ", "a  ", " a", "  a",
    "x\u00a0y \u00a0\u00a0y", "x\u3000y\u3000\u3000z", "x\u2003\u2003y", "x\u2028y\u2029z", "x\u0085y", "x\u000by\u000cz", "x\u180ey \u180e \u180e\u180ez",
    "x\u200by\u200b \u200bz", "x\ufeffy \ufeff", "x\u202fy\u205fz", "x\u1680y", "x\u001cy\u001dz\u001ew\u001fv", " \u3000 \n\u2003\n x", "a. \n\nb", "a.\n \nb",
    "def f(x):\n    return x\n\n\n    # done\n\tpass\n", "| a | b |\n|---|---|\n| 1 |   2 |\n", "   \u0301x", " \u200d x", "\n\u0301", "end   ",
    "!\n", "!\n\nx", "!!! \n", "a!\r\n\r\nb", " !\n", "...\n\n\n...", "?\n?", "x !\ny",
]

CONTROLS = ["".join(map(chr, range(0, 32))), "a\x00b\x00\x00c", "\x7f\x80\x81\x9f", "\x1b[31mred\x1b[0m", "\ufffe\uffff\U0010ffff \ue000 \U000f0000",
            "\ufff9\ufffa\ufffb \ufffc \ufffd\ufffd", "\u202aabc\u202c \u2066x\u2069", "\u034f\u061c\u115f\u3164\uffa0"]

SPECIAL = [
    "<|im_start|>system\nYou are.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    "<|endoftext|>", "a<|endoftext|>b", " <|endoftext|> ", "<|endoftext|><|endoftext|>", "<|im_start|", "|im_start|>", "<|im_start |>", "<|IM_START|>",
    "<<|im_end|>>", "<|im_<|im_end|>", "<|im_end|><|im_end|", "<think>x</think>", "< think>", "<think", "</think>\n\n", "<tool_call>\n{\"name\": 1}\n</tool_call>",
    "e<|im_end|>\u0301", "e\u0301<|im_end|>\u0301e", "\u1100<|im_end|>\u1161", " <|im_end|>\n\n <|im_end|>  x", "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>",
    "<|vision_start|><|image_pad|><|vision_end|>", "<tool_response>\nx\n</tool_response>", "<|im_end|>\r\n", "it's<|im_end|>'s", "<|object_ref_start|>猫<|object_ref_end|>",
    "<\u200b|im_end|>", "<|im_end|\u0338>", "<|im_end|>\u0338",
]

LONG = ["a" * 900, "ab" * 500, " " * 900, " " * 899 + "x", "\n" * 500, " \n" * 300, "!" * 700, "1" * 300, "漢" * 300, "e\u0301" * 300,
        "\u0301" * 300, "supercalifragilistic" * 40, "\t" * 200 + "x", "ha" * 40 + " " + "HA" * 40, "=-" * 150, "😀" * 150, "\u00e9" * 250,
        "х" * 150 + "ы" * 150, "Donaudampfschifffahrtsgesellschaft" * 10, "the " * 200, "<|im_end|>" * 60, "<" * 200, "<|" * 150]

INVALID = [
    b"\xff", b"a\xffb", b"\x80", b"\xc3", b"\xc3(", b"abc\xe2\x82", b"\xe2\x82\xac\xe2\x82", b"\xe2(\xa1", b"\xe2\x82(", b"\xf0\x9f\x98", b"\xf0\x9f\x98a",
    b"\xf0\x28\x8c\xbc", b"\xf0\x90\x28\xbc", b"\xf0\x28\x8c\x28", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xed\xa0\xbd\xed\xb8\x80",
    b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe\xff", b"\xff\xfea\x00", b"e\xcc", b"e\xcc\x81\xcc", b"\xe1\x84\x80\xe1\x85",
    b"<|im_end|>\xff<|im_end|>", b"<|im_\xffend|>", b"x\x80\x80\x80y", b"\xc3\xa9\xc3\xc3\xa9", b"\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f", bytes(range(256)),
    bytes(range(255, -1, -1)), b"Latin-1: caf\xe9 na\xefve", b"\x93quoted\x94", b"\xed\x9f\xbf\xed\xa0\x80\xee\x80\x80",
]


def every_character_of_the_plane(first, last, step):
    """Assigned characters that NFC and the pattern treat in some way, twelve to a text."""
    found = [chr(c) for c in range(first, last, step) if unicodedata.category(chr(c)) not in ("Cs", "Cn")]
    return ["x".join(found[i:i + 12]) for i in range(0, len(found), 12)]


def random_texts(count, seed):
    """Pieces of all the above, glued at random places, and characters at random."""
    rng = random.Random(seed)
    pool = WORDS + MARKS + [s for s in SPACES if s] * 2 + CONTROLS + SPECIAL
    alphabet = [" ", " ", "\n", "\r", "\t", "'", "s", "a", "T", "1", "é", "e", "\u0301", "ß", "漢", "ᄀ", "ᅡ", "ᆨ", "가", "!", "-", "<", "|", ">", "\u00a0", "\u3000", "😀",
                "\u200d", "\ufe0f", "न", "\u093c", "२", "ſ", "K", "\u180e", "\u0085", "_"]
    texts = []
    for _ in range(count):
        if rng.random() < 0.5:
            texts.append("".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 40))))
        else:
            parts = []
            for _ in range(rng.randrange(1, 6)):
                text = rng.choice(pool)
                start = rng.randrange(len(text))
                parts.append(text[start:start + rng.randrange(1, 25)])
            texts.append("".join(parts))
    return texts


def corpus(random_count=250, step=211):
    texts = WORDS + MARKS + SPACES + CONTROLS + SPECIAL + LONG
    texts = texts + [unicodedata.normalize(form, t) for t in WORDS[:8] for form in ("NFD", "NFKD")]
    texts += every_character_of_the_plane(0x80, 0x30000, step) + random_texts(random_count, 1)
    return [t.encode("utf-8") for t in texts] + INVALID
