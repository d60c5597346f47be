"""Speed of the tokenizers library on one thread, in processor time: tokenizer_bench.py tokenizer.json TEXT [ROUNDS]."""

import os
import statistics
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import tokenizers

tokenizer = tokenizers.Tokenizer.from_file(sys.argv[1])
with open(sys.argv[2], encoding="utf-8", errors="replace") as file:
    text = file.read()
size = len(text.encode()) / 1e6
rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5


def median(work):
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


ids = tokenizer.encode(text).ids
whole = median(lambda: tokenizer.encode(text))
lines = text.split("\n\n")
pieces = median(lambda: [tokenizer.encode(line) for line in lines])
batch = median(lambda: tokenizer.encode_batch_fast(lines))
decode = median(lambda: tokenizer.decode(ids))
print(f"tokenizers {tokenizers.__version__}, {size:.2f} MB of text, {len(ids)} ids, median of {rounds} rounds")
print(f"encode {size / whole:.1f} MB/s, {size / pieces:.1f} MB/s by paragraphs, {size / batch:.1f} MB/s by "
      f"paragraphs with encode_batch_fast; decode {size / decode:.1f} MB/s")
