// A stand-in for a compiled model: the logits after a token are a hash of all tokens of its sequence up to
// it, as the KV cache has them, and of the weights. What a step was given is recorded.
#pragma once

#include "runtime/abi/program.h"
#include "runtime/core/model_file.h"

#include <string>
#include <vector>

namespace qwench::fake {

// A build for text has a vocabulary that a tokenizer fits.
#ifdef QWENCH_FAKE_TEXT
constexpr int64_t kVocabulary = 4100, kStride = 4112, kContext = 400;
#else
constexpr int64_t kVocabulary = 50, kStride = 64, kContext = 100;
#endif
constexpr int64_t kPrefillRows = 8, kDecodeRows = 3, kGranule = 16;
constexpr int64_t kWeightBytes = 5000;

/// What one step was given.
struct Record {
  bool decode = false;
  std::vector<int32_t> tokens, positions, slots, contextLengths, outputRows;
};
/// All steps since the last call.
std::vector<Record> takeRecords();

/// The weights that go with the program.
std::string weights();

/// The logits [kVocabulary] that the program computes after `tokens`.
std::vector<float> expectedLogits(const std::vector<int32_t> &tokens);

/// What a bundle holds, in order; bytes of a file that ends in it, after `prefix`.
struct Part {
  uint32_t kind;
  std::string bytes;
};
std::string bundleBytes(const std::vector<Part> &parts, uint64_t planHash,
                        const std::string &prefix = "code");

/// The metadata section of the fake model.
std::string metadata();

/// Weights and metadata of the fake model, after `prefix`.
std::string modelBytes(const std::string &prefix = "code");

std::string readFile(const std::string &path);

/// A file with these bytes that is removed at the end.
class TemporaryFile {
public:
  explicit TemporaryFile(const std::string &bytes);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile &) = delete;
  const std::string &path() const { return name; }

private:
  std::string name;
};

} // namespace qwench::fake
