// A compiled model as a shared object, through its C interface.
#pragma once

#include "runtime/abi/qwench.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace qwench::e2e {

/// Logits: rows of `vocab` floats.
struct Logits {
  int64_t vocab = 0;
  std::vector<float> values;

  int64_t rows() const { return vocab ? static_cast<int64_t>(values.size()) / vocab : 0; }
  std::span<const float> row(int64_t i) const {
    return {values.data() + i * vocab, static_cast<size_t>(vocab)};
  }
};

/// dlopen of a file that `--emit=shared` made.
class SharedObject {
public:
  explicit SharedObject(const std::string &path);
  ~SharedObject();
  SharedObject(const SharedObject &) = delete;

  decltype(&qwench_open) open;
  decltype(&qwench_close) close;
  decltype(&qwench_info) info;
  decltype(&qwench_prefill) prefill;
  decltype(&qwench_prefill_logits) prefillLogits;
  decltype(&qwench_decode) decode;
  decltype(&qwench_decode_batch) decodeBatch;
  decltype(&qwench_logits) logits;
  decltype(&qwench_sample) sample;
  decltype(&qwench_truncate) truncate;
  decltype(&qwench_last_error) lastError;

private:
  template <typename Function> void load(Function &function, const char *name);
  void *handle;
};

/// An open session. Calls that fail throw std::runtime_error with the reason.
class ModelSession {
public:
  ModelSession(const SharedObject &object, int threads, int sequences = 1);
  ~ModelSession();
  ModelSession(const ModelSession &) = delete;

  int64_t vocab() const { return model.vocab_size; }
  /// Logits of all the tokens, appended to a sequence.
  Logits prefill(int sequence, std::span<const int32_t> tokens);
  /// Logits of one more token.
  Logits decode(int sequence, int32_t token);
  /// Logits of one more token of each sequence.
  Logits decodeBatch(std::span<const int32_t> sequences, std::span<const int32_t> tokens);
  int32_t likeliest(int sequence);
  void empty(int sequence);

private:
  void check(int code, const char *what) const;
  Logits last(std::span<const int32_t> sequences);

  const SharedObject &object;
  QwenchSession *session = nullptr;
  QwenchModelInfo model = {};
};

} // namespace qwench::e2e
