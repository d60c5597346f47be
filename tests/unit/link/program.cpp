// Linked by link_test: needs libm, exceptions, threads and iostreams, and nothing of the runtime archives but
// that they are there.
#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>

// What --emit=shared exports.
#define EXPORT(name)                                                                                         \
  extern "C" int name() { return 0; }
EXPORT(qwench_close)
EXPORT(qwench_decode)
EXPORT(qwench_decode_batch)
EXPORT(qwench_info)
EXPORT(qwench_last_error)
EXPORT(qwench_length)
EXPORT(qwench_logits)
EXPORT(qwench_open)
EXPORT(qwench_prefill)
EXPORT(qwench_prefill_logits)
EXPORT(qwench_sample)
EXPORT(qwench_generate)
EXPORT(qwench_truncate)
EXPORT(qwench_internal)

int main(int argc, char **argv) {
  std::string text;
  std::thread([&] {
    try {
      throw std::runtime_error("caught");
    } catch (const std::exception &error) {
      text = error.what();
    }
  }).join();
  std::printf("%s %.3f\n", text.c_str(), std::sin(argc + 0.0));
}
