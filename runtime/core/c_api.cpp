// runtime/abi/qwench.h over qwench::Session, for the program that this code is linked with.
#include "runtime/core/session.h"

#include <cstring>
#include <new>
#include <unistd.h>

// Hidden, so that several compiled models in one process each find their own.
extern "C" __attribute__((visibility("hidden"))) const QwenchProgram qwench_program;

struct QwenchSession {
  std::unique_ptr<qwench::Session> session;
};

namespace {

using qwench::Outcome;

thread_local char lastError[512];

int finish(const Outcome &outcome) {
  size_t length = std::min(outcome.message.size(), sizeof lastError - 1);
  memcpy(lastError, outcome.message.data(), length);
  lastError[length] = '\0';
  return outcome.code;
}

/// Runs body() -> Outcome; exceptions (memory) become errors, since none may cross the C border.
template <typename Body> int guarded(Body &&body) {
  try {
    return finish(body());
  } catch (const std::bad_alloc &) {
    return finish({QWENCH_ERROR_SYSTEM, "out of memory"});
  } catch (const std::exception &error) {
    return finish({QWENCH_ERROR_SYSTEM, error.what()});
  }
}

Outcome missing(const char *what) {
  return {QWENCH_ERROR_ARGUMENT, std::string("expected ") + what + ", found NULL"};
}

Outcome openSession(const QwenchOptions &options, QwenchSession **out) {
  if (options.api_version != QWENCH_API_VERSION)
    return {QWENCH_ERROR_ARGUMENT, "api_version: expected " + std::to_string(QWENCH_API_VERSION) +
                                       ", found " + std::to_string(options.api_version)};
  std::string bundle = options.bundle ? options.bundle : "";
  if (!bundle.empty() && access(bundle.c_str(), R_OK) != 0)
    return {QWENCH_ERROR_SYSTEM, qwench::systemMessage("cannot open", bundle, errno)};
  qwench::Result<qwench::ModelFile> model = qwench::ModelFile::open(qwench_program, bundle);
  if (!model)
    return {QWENCH_ERROR_MODEL, model.error().message};
  std::unique_ptr<QwenchSession> handle(new QwenchSession);
  Outcome outcome = qwench::Session::open(
      qwench_program, *model, {options.threads, options.context, options.sequences}, handle->session);
  if (outcome)
    *out = handle.release();
  return outcome;
}

bool spanOf(const int32_t *data, int64_t count, std::span<const int32_t> &out) {
  if (!data || count < 1)
    return false;
  out = {data, static_cast<size_t>(count)};
  return true;
}

Outcome noTokens() { return {QWENCH_ERROR_ARGUMENT, "expected at least one token, found none"}; }

} // namespace

extern "C" {

QWENCH_API int qwench_open(const QwenchOptions *options, QwenchSession **session) {
  return guarded([&]() -> Outcome {
    if (!session)
      return missing("a place for the session");
    *session = nullptr;
    const QwenchOptions defaults = QWENCH_OPTIONS_INIT;
    return openSession(options ? *options : defaults, session);
  });
}

QWENCH_API void qwench_close(QwenchSession *session) { delete session; }

QWENCH_API int qwench_info(const QwenchSession *session, QwenchModelInfo *info) {
  return guarded([&]() -> Outcome {
    if (!session || !info)
      return missing("a session and a place for the answer");
    const QwenchProgram &program = session->session->program();
    *info = {program.vocab_size,
             program.max_context,
             program.layers,
             program.weight_bytes,
             program.cache_bytes_per_position,
             session->session->threads()};
    return {};
  });
}

QWENCH_API int qwench_prefill(QwenchSession *session, int32_t sequence, const int32_t *tokens,
                              int64_t count) {
  return guarded([&]() -> Outcome {
    std::span<const int32_t> ids;
    if (!session)
      return missing("a session");
    return spanOf(tokens, count, ids) ? session->session->prefill(sequence, ids) : noTokens();
  });
}

QWENCH_API int qwench_prefill_logits(QwenchSession *session, int32_t sequence, const int32_t *tokens,
                                     int64_t count, float *out) {
  return guarded([&]() -> Outcome {
    std::span<const int32_t> ids;
    if (!session || !out)
      return missing("a session and a place for the logits");
    if (!spanOf(tokens, count, ids))
      return noTokens();
    const QwenchProgram &program = session->session->program();
    return session->session->prefillEach(
        sequence, ids, [&](int64_t first, int64_t rows, const float *logits) -> qwench::Status {
          for (int64_t row = 0; row < rows; ++row)
            memcpy(out + (first + row) * program.vocab_size, logits + row * program.logits_stride,
                   program.vocab_size * sizeof(float));
          return qwench::ok();
        });
  });
}

QWENCH_API int qwench_decode(QwenchSession *session, int32_t sequence, int32_t token) {
  return qwench_decode_batch(session, &sequence, &token, 1);
}

QWENCH_API int qwench_decode_batch(QwenchSession *session, const int32_t *sequences, const int32_t *tokens,
                                   int64_t count) {
  return guarded([&]() -> Outcome {
    std::span<const int32_t> slots, ids;
    if (!session)
      return missing("a session");
    if (!spanOf(sequences, count, slots) || !spanOf(tokens, count, ids))
      return noTokens();
    return session->session->decode(slots, ids);
  });
}

QWENCH_API int qwench_logits(QwenchSession *session, int32_t sequence, const float **logits) {
  return guarded([&]() -> Outcome {
    return session && logits ? session->session->logits(sequence, logits)
                             : missing("a session and a place for the logits");
  });
}

QWENCH_API int qwench_sample(QwenchSession *session, int32_t sequence, const QwenchSampling *sampling,
                             int32_t *token) {
  return guarded([&]() -> Outcome {
    return session && sampling && token ? session->session->sample(sequence, *sampling, token)
                                        : missing("a session, sampling parameters and a place for the token");
  });
}

QWENCH_API int qwench_generate(QwenchSession *session, const int32_t *sequences, int64_t count, const QwenchSampling *sampling,
                               int64_t most, QwenchTokenSink sink, void *user) {
  return guarded([&]() -> Outcome {
    std::span<const int32_t> slots;
    if (!session || !sampling || !sink)
      return missing("a session, sampling parameters and a sink for the tokens");
    if (!spanOf(sequences, count, slots))
      return {QWENCH_ERROR_ARGUMENT, "expected at least one sequence, found none"};
    if (most < 0)
      return {QWENCH_ERROR_ARGUMENT, "tokens to draw: expected at least 0, found " + std::to_string(most)};
    return session->session->generate(slots, *sampling, most,
                                      [&](int32_t sequence, int32_t token) { return sink(user, sequence, token) != 0; });
  });
}

QWENCH_API int qwench_length(const QwenchSession *session, int32_t sequence, int64_t *length) {
  return guarded([&]() -> Outcome {
    return session && length ? session->session->length(sequence, length)
                             : missing("a session and a place for the length");
  });
}

QWENCH_API int qwench_truncate(QwenchSession *session, int32_t sequence, int64_t length) {
  return guarded([&]() -> Outcome {
    return session ? session->session->truncate(sequence, length) : missing("a session");
  });
}

QWENCH_API const char *qwench_last_error(void) { return lastError; }
}
