#include "tests/e2e/shared_model.h"

#include <dlfcn.h>
#include <stdexcept>

namespace qwench::e2e {

template <typename Function> void SharedObject::load(Function &function, const char *name) {
  function = reinterpret_cast<Function>(dlsym(handle, name));
  if (!function)
    throw std::runtime_error(std::string("no symbol ") + name);
}

SharedObject::SharedObject(const std::string &path) : handle(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (!handle)
    throw std::runtime_error(dlerror());
  load(open, "qwench_open");
  load(close, "qwench_close");
  load(info, "qwench_info");
  load(prefill, "qwench_prefill");
  load(prefillLogits, "qwench_prefill_logits");
  load(decode, "qwench_decode");
  load(decodeBatch, "qwench_decode_batch");
  load(logits, "qwench_logits");
  load(sample, "qwench_sample");
  load(truncate, "qwench_truncate");
  load(lastError, "qwench_last_error");
}

SharedObject::~SharedObject() { dlclose(handle); }

ModelSession::ModelSession(const SharedObject &object, int threads, int sequences) : object(object) {
  QwenchOptions options = QWENCH_OPTIONS_INIT;
  options.threads = threads;
  options.sequences = sequences;
  check(object.open(&options, &session), "open");
  check(object.info(session, &model), "info");
}

ModelSession::~ModelSession() { object.close(session); }

void ModelSession::check(int code, const char *what) const {
  if (code != QWENCH_OK)
    throw std::runtime_error(std::string(what) + ": " + object.lastError());
}

Logits ModelSession::prefill(int sequence, std::span<const int32_t> tokens) {
  Logits result{vocab(), std::vector<float>(tokens.size() * vocab())};
  check(object.prefillLogits(session, sequence, tokens.data(), tokens.size(), result.values.data()),
        "prefill");
  return result;
}

Logits ModelSession::last(std::span<const int32_t> sequences) {
  Logits result{vocab(), {}};
  for (int32_t sequence : sequences) {
    const float *row = nullptr;
    check(object.logits(session, sequence, &row), "logits");
    result.values.insert(result.values.end(), row, row + vocab());
  }
  return result;
}

Logits ModelSession::decode(int sequence, int32_t token) {
  check(object.decode(session, sequence, token), "decode");
  return last(std::span<const int32_t>(&sequence, 1));
}

Logits ModelSession::decodeBatch(std::span<const int32_t> sequences, std::span<const int32_t> tokens) {
  check(object.decodeBatch(session, sequences.data(), tokens.data(), tokens.size()), "decode_batch");
  return last(sequences);
}

int32_t ModelSession::likeliest(int sequence) {
  QwenchSampling greedy = QWENCH_SAMPLING_GREEDY;
  int32_t token = 0;
  check(object.sample(session, sequence, &greedy, &token), "sample");
  return token;
}

void ModelSession::empty(int sequence) { check(object.truncate(session, sequence, 0), "truncate"); }

} // namespace qwench::e2e
