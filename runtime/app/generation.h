// Generating: the loop of sampling and decoding that run, generate and chat share, and the model's text side.
#pragma once

#include "runtime/app/app.h"
#include "runtime/app/terminal.h"
#include "runtime/tokenizer/chat_template.h"
#include "runtime/tokenizer/tokenizer.h"

#include <nlohmann/json.hpp>

namespace qwench::app {

/// Tokenizer and chat template of a compiled model.
class TextModel {
public:
  /// An error if the model was compiled without tokenizer. The chat template may be missing.
  static Result<TextModel> open(const ModelFile &model);

  const Tokenizer &tokenizer() const { return *ids; }
  bool hasTemplate() const { return chat.has_value(); }

  /// The prompt of a conversation; an error if there is no template.
  Result<std::string> render(const nlohmann::ordered_json &messages, const nlohmann::ordered_json &tools,
                             std::optional<bool> thinking, bool generationPrompt) const;

private:
  std::unique_ptr<std::string> section; // the tokenizer points into it
  std::optional<Tokenizer> ids;
  std::optional<ChatTemplate> chat;
  std::vector<std::pair<std::string, std::string>> variables;
};

struct GenerationLimits {
  int64_t count = 0; // tokens; 0: until an end token or the end of the context
  QwenchSampling sampling = QWENCH_SAMPLING_GREEDY;
  std::vector<int32_t> endTokens;
  bool isEnd(int32_t token) const;
};

/// Called with each token as it is drawn, end tokens included.
using TokenSink = std::function<Status(size_t prompt, int32_t token)>;

/// Continues prompt i in sequence i, all in one batch.
Status generate(Session &session, const std::vector<std::vector<int32_t>> &prompts,
                const GenerationLimits &limits, const TokenSink &sink);

/// Continues sequence 0 after what it holds, until a limit, the end of the context, or Ctrl-C under an
/// InterruptGuard.
enum class Stop { End, Count, ContextFull, Interrupted };
Result<Stop> continueSequence(Session &session, const GenerationLimits &limits, const TokenSink &sink);

/// Prints an answer as it grows; on a terminal what stands between <think> and </think> is dimmed.
class AnswerPrinter {
public:
  /// `thinking`: the answer begins inside a think block.
  AnswerPrinter(const Tokenizer &tokenizer, bool colour, bool thinking);
  Status push(int32_t token);
  /// The rest of an unfinished character, and the terminal as it was.
  Status finish();
  const std::string &text() const { return whole; }

private:
  std::string dim(const std::string &text);

  StreamDecoder decoder;
  bool colour, dimmed, pendingDim;
  std::string whole;
};

/// "1,2,3"
std::string joinIds(const std::vector<int32_t> &ids);

} // namespace qwench::app
