// logits: the logits of every position of a list of token ids, as a .npy file.
#include "runtime/app/app.h"
#include "runtime/app/npy.h"
#include "runtime/app/terminal.h"

namespace qwench::app {

namespace {

struct Options {
  CommonOptions common;
  std::string tokens, tokensFile, output;
  int64_t prefill = -1;
};

Status writeRows(OutputFile &file, const float *logits, int64_t rows) {
  for (int64_t row = 0; row < rows; ++row)
    if (Status status = file.write(logits + row * qwench_program.logits_stride,
                                   qwench_program.vocab_size * sizeof(float));
        !status)
      return status;
  return ok();
}

Status decodeRest(Session &session, std::span<const int32_t> ids, OutputFile &file) {
  const int32_t sequence = 0;
  for (const int32_t &id : ids) {
    const float *logits = nullptr;
    if (Outcome outcome = session.decode({&sequence, 1}, {&id, 1}); !outcome)
      return toStatus(std::move(outcome));
    if (Outcome outcome = session.logits(0, &logits); !outcome)
      return toStatus(std::move(outcome));
    if (Status status = writeRows(file, logits, 1); !status)
      return status;
  }
  return ok();
}

Status write(Session &session, std::span<const int32_t> ids, int64_t prefill, OutputFile &file) {
  const auto total = static_cast<int64_t>(ids.size());
  const std::string header = npyHeader(total, qwench_program.vocab_size);
  if (Status status = file.write(header.data(), header.size()); !status)
    return status;
  Progress progress("tokens");
  if (prefill > 0) {
    Outcome outcome = session.prefillEach(0, ids.first(prefill),
                                          [&](int64_t first, int64_t rows, const float *logits) -> Status {
                                            progress.show(first + rows, total);
                                            return writeRows(file, logits, rows);
                                          });
    if (!outcome)
      return toStatus(std::move(outcome));
  }
  return decodeRest(session, ids.subspan(prefill), file);
}

Status run(const Options &options) {
  Result<std::vector<int32_t>> ids = readTokens(options.tokens, options.tokensFile);
  if (!ids)
    return ids.takeError();
  const auto total = static_cast<int64_t>(ids->size());
  const int64_t limit = options.common.context ? options.common.context : qwench_program.max_context;
  if (total > limit)
    return userError("context overflow: " + std::to_string(total) + " tokens exceed the context of " +
                     std::to_string(limit));
  if (options.prefill < -1 || options.prefill > total)
    return userError("--prefill: expected 0 to " + std::to_string(total) + ", found " +
                     std::to_string(options.prefill));
  Result<Engine> engine = openEngine(options.common, total);
  if (!engine)
    return engine.takeError();
  Result<OutputFile> file = OutputFile::create(options.output);
  if (!file)
    return file.takeError();
  removeWhenKilled(file->temporaryPath());
  Status status = write(*engine->session, *ids, options.prefill < 0 ? total : options.prefill, *file);
  if (status)
    status = file->commit();
  removeWhenKilled(nullptr);
  return status;
}

} // namespace

void addLogits(CLI::App &app, Command &chosen) {
  auto options = std::make_shared<Options>();
  CLI::App *sub = app.add_subcommand("logits", "write the logits of all positions to a .npy file");
  sub->add_option("--tokens", options->tokens, "token ids with commas between")->type_name("IDS");
  sub->add_option("--tokens-file", options->tokensFile, "file with token ids; - is stdin")->type_name("FILE");
  sub->add_option("-o,--output", options->output, "output file: float32 [tokens, vocabulary]")
      ->type_name("OUT.npy")
      ->required();
  sub->add_option("--prefill", options->prefill,
                  "feed the first K tokens at once and decode the others one by one [default: all at once]")
      ->type_name("K");
  addCommonOptions(*sub, options->common);
  sub->footer("Example: NAME logits --tokens 1,2,3 -o logits.npy");
  sub->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

} // namespace qwench::app
