#!/usr/bin/env python3
"""The side of bench "inference" that runs llama.cpp, one thread, by the line protocol of bench_inference.cc.

    llama_side.py MODEL.gguf
    "embed ID ID …"  -> nanoseconds by the clock and on the processor, then the embedding's floats
"""
import sys
import time

import llama_cpp
import numpy as np


def main():
    llama_cpp.llama_backend_init()
    # Repacked weights would go through ggml's AMX code, which dies of its tile configuration where GCC 12 built it.
    model_options = llama_cpp.llama_model_default_params()
    model_options.use_extra_bufts = False
    model = llama_cpp.llama_model_load_from_file(sys.argv[1].encode(), model_options)
    options = llama_cpp.llama_context_default_params()
    options.n_ctx = options.n_batch = options.n_ubatch = 512
    options.n_threads = options.n_threads_batch = 1
    options.embeddings = True
    options.pooling_type = llama_cpp.LLAMA_POOLING_TYPE_MEAN
    context = llama_cpp.llama_init_from_model(model, options)
    width = llama_cpp.llama_model_n_embd(model)
    for line in sys.stdin:
        ids = [int(token) for token in line.split()[1:]]
        batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for index, token in enumerate(ids):
            batch.token[index], batch.pos[index] = token, index
            batch.n_seq_id[index], batch.seq_id[index][0], batch.logits[index] = 1, 0, True
        started, processor_started = time.perf_counter_ns(), time.process_time_ns()
        if llama_cpp.llama_encode(context, batch) != 0:
            sys.exit("llama.cpp: the batch could not be run")
        found = llama_cpp.llama_get_embeddings_seq(context, 0)
        processor = time.process_time_ns() - processor_started
        clock = time.perf_counter_ns() - started
        values = np.array(found[:width], dtype=np.float64)
        print(clock, processor, *(values / np.linalg.norm(values)), flush=True)
        llama_cpp.llama_batch_free(batch)


if __name__ == "__main__":
    main()
