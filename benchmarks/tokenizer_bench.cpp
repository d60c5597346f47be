// Speed of the tokenizer on one thread: tokenizer-bench tokenizer.json TEXT [ROUNDS].
// benchmarks/tokenizer_bench.py measures the tokenizers library in the same way.
#include "frontends/huggingface/tokenizer/tokenizer.h"
#include "runtime/tokenizer/tokenizer.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <sstream>

namespace {

std::string readText(const char *path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

double processorSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// The median processor time of some rounds, in seconds: what else runs on the machine matters less.
template <typename F> double median(int rounds, F &&work) {
  std::vector<double> seconds;
  for (int i = 0; i < rounds; ++i) {
    const double start = processorSeconds();
    work();
    seconds.push_back(processorSeconds() - start);
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

} // namespace

int main(int argc, char **argv) {
  using namespace qwench;
  if (argc < 3) {
    fprintf(stderr, "usage: tokenizer-bench tokenizer.json TEXT [ROUNDS]\n");
    return 1;
  }
  const int rounds = argc > 3 ? std::max(1, atoi(argv[3])) : 5;
  Result<std::vector<uint8_t>> blob = hf::buildTokenizerBlob(readText(argv[1]));
  if (!blob) {
    fprintf(stderr, "error: %s\n", blob.error().message.c_str());
    return 1;
  }
  const std::string text = readText(argv[2]);
  const double open = median(rounds, [&] { return Tokenizer::open(*blob) ? 1 : 0; });
  Result<Tokenizer> tokenizer = Tokenizer::open(*blob);
  if (!tokenizer || text.empty()) {
    fprintf(stderr, "error: %s\n", tokenizer ? "expected some text" : tokenizer.error().message.c_str());
    return 1;
  }
  std::vector<int32_t> ids;
  const double cold = median(rounds, [&] { ids = Tokenizer::open(*blob).take().encode(text); });
  const double warm = median(rounds, [&] { ids = tokenizer->encode(text); });
  std::string decoded;
  const double decode = median(rounds, [&] { decoded = tokenizer->decode(ids); });
  const double megabytes = static_cast<double>(text.size()) / 1e6;
  printf("blob %.2f MB, opens in %.2f ms\n", static_cast<double>(blob->size()) / 1e6, open * 1e3);
  printf("%.2f MB of text, %zu ids, median of %d rounds\n", megabytes, ids.size(), rounds);
  printf("encode %.1f MB/s, %.1f MB/s with opening and an empty cache; decode %.1f MB/s\n", megabytes / warm,
         megabytes / cold, megabytes / decode);
}
