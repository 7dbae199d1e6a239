#!/usr/bin/env python3
"""Writes wordpiece.json: texts and the ids that the reference gives them (PyPI package tokenizers, 0.23.3).

The vocabulary is made here, so that every rule of the tokenizer decides something in it.
"""
import json
import pathlib

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
WIDE = "éàüßøøıſσςΣÉABCЖждя中文字日本語한국ᄒ\u1161\u11ab\u1100\u116e\u11a8あアｱ豈\u8c48😀👍\u200d\ufe0f€…“”—«»¿،。、\u0301\u0323\u0345"
WORDS = ("the pump is over heat heating ing ed s bearing vibration sensor un able ##the ##ing ##ed ##s ##able ##heat "
         "##heating hello world ##ld wor i\u0307 straße ##ße 東 ##京 [PAD] [UNK] [CLS] [SEP] [MASK]").split()
TEXTS = [
    "", " ", "the", "The pump is OVERHEATING!", "unable, un-able; unables", "hello\tworld\nhello\rworld",
    "hello\x00world", "hello\x0bworld\x0cagain", "hello\u200bworld", "hello\u00adworld", "a\ufeffb", "a\ufffdb",
    "hello\u00a0world\u3000the\u2028ed", "hello\u0085world", "a\ue000b", "a\U000f0000b", "a\u0378b",
    "café CAFÉ cafe\u0301", "\u0301 alone", "o\u0323\u0301 o\u0301\u0323", "Ångström Å", "straße STRASSE ẞ",
    "İstanbul ıſ ĳ Ǆ", "ΣΊΣΥΦΟΣ σς", "Жд ждя Йй", "中文字the日本語", "東京", "豈\u8c48", "\U0002b850\U0002b930", "한국 한국어",
    "あア ｱ", "😀👍🏽 👨‍👩‍👧 ✌️", "the€…“the”—«the» ¿the?", "a،b。c、d", "1.5e-3 $5 50% a_b c@d #e ^f `g ~h |i +j =k <l>",
    "[CLS] the [SEP] pump [MASK] [UNK] [PAD]", "[sep] [ SEP ] [[SEP]]", "the[SEP]pump", "[SEP", "##ing ## #",
    "x" * 100, "x" * 101, "é" * 100 + " " + "é" * 101, "the " * 40, "the" * 40, "zz☃the", "☃", "\u0600\u06dd\u070f",
    "\u166d\u1734\U000111c9 a\u1734b a\u166db", "a\u0898b a\u2e52b a\U0001e944b", "\u302e\u302f a\u302e\u0301b", "\U0001d15e \U0001d165\U0001d16d",
    "नमस्ते दुनिया", "สวัสดี", "שָׁלוֹם", "السَّلام", "Việt Nam", "ﬁne ﬂow ½ ²", "a\u0345b", "ᾳ ᾼ", "Ω K Å", "\u1e9b\u0323",
]
SETTINGS = [  # lowercase, strip_accents, handle_chinese_chars, clean_text, max_length
    (True, True, True, True, 64), (False, False, True, True, 64), (True, False, False, True, 64),
    (False, True, True, False, 64), (True, True, True, True, 5), (True, True, True, True, 2),
]


def main():
    tokens = WORDS + sorted(set(LETTERS + WIDE)) + ["##" + c for c in sorted(set(LETTERS + WIDE))]
    tokens += list("!\"$%&'()*+,-./:;<=>?@[]^_`{|}~#")
    vocabulary = list(dict.fromkeys(tokens))
    ids = {token: index for index, token in enumerate(vocabulary)}
    specials = [(name, ids[name]) for name in ("[CLS]", "[SEP]")]
    groups = []
    for lowercase, strip, chinese, clean, length in SETTINGS:
        tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
        tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
        tokenizer.normalizer = normalizers.BertNormalizer(clean, chinese, strip, lowercase)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=specials)
        tokenizer.enable_truncation(length)
        groups.append({"lowercase": lowercase, "strip_accents": strip, "space_cjk": chinese, "clean_text": clean,
                       "token_count_max": length, "ids": [tokenizer.encode(text).ids for text in TEXTS]})
    result = {"reference": "tokenizers 0.23.3", "vocabulary": vocabulary, "texts": TEXTS, "groups": groups}
    path = pathlib.Path(__file__).with_name("wordpiece.json")
    path.write_text(json.dumps(result, ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
