#!/usr/bin/env python3
"""Writes gguf/types.gguf: a tensor of random blocks of each type that is read, by the package gguf, with the SHA-256 of
what the package dequantizes them to in gguf/types.sums. Run in the environment of `scripts/fetch.sh gguf`."""
import hashlib
import pathlib

import gguf
import numpy as np

ROWS = 3
SCALES = {"Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,), "Q4_K": (0, 2), "Q5_K": (0, 2),
          "Q6_K": (208,)}


def main():
    folder = pathlib.Path(__file__).parent / "gguf"
    random = np.random.default_rng(20)
    writer = gguf.GGUFWriter(folder / "types.gguf", "none")
    sums = []
    for name in ["F32", "F16", "BF16", *SCALES]:
        kind = gguf.GGMLQuantizationType[name]
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        if name in SCALES:
            blocks = random.integers(0, 256, (ROWS * 2, size), np.uint8)
            # Scales as f16 of any size, subnormal ones and negative ones too, but finite.
            for place in SCALES[name]:
                scale = (random.standard_normal(len(blocks)) * 10.0 ** random.integers(-7, 4, len(blocks)))
                blocks[:, place:place + 2] = scale.astype(np.float16)[:, None].view(np.uint8)
            coded = blocks.reshape(ROWS, -1)
        else:
            coded = gguf.quantize(random.standard_normal((ROWS, 40)).astype(np.float32), kind)
        floats = gguf.dequantize(coded, kind).astype(np.float32)
        writer.add_tensor(name, coded, raw_dtype=kind)
        sums.append(f"{hashlib.sha256(floats.tobytes()).hexdigest()} {name}\n")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    folder.joinpath("types.sums").write_text("".join(sums))


if __name__ == "__main__":
    main()
