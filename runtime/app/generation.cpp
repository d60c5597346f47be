#include "runtime/app/generation.h"

#include <algorithm>

namespace qwench::app {

Result<TextModel> TextModel::open(const ModelFile &model) {
  if (!model.has(QWENCH_SECTION_TOKENIZER))
    return userError("the model was compiled without a tokenizer: expected token ids "
                     "(generate --tokens ... --ids, logits, bench)");
  TextModel result;
  Result<std::string> section = model.read(QWENCH_SECTION_TOKENIZER);
  if (!section)
    return section.takeError();
  result.section = std::make_unique<std::string>(section.take());
  Result<Tokenizer> tokenizer =
      Tokenizer::open({reinterpret_cast<const uint8_t *>(result.section->data()), result.section->size()});
  if (!tokenizer)
    return tokenizer.takeError();
  result.ids.emplace(tokenizer.take());
  result.variables = model.metadata().templateVariables;
  if (!model.has(QWENCH_SECTION_CHAT_TEMPLATE))
    return result;
  Result<std::string> source = model.read(QWENCH_SECTION_CHAT_TEMPLATE);
  if (!source)
    return source.takeError();
  Result<ChatTemplate> chat = ChatTemplate::parse(*source);
  if (!chat)
    return chat.takeError();
  result.chat.emplace(chat.take());
  return result;
}

Result<std::string> TextModel::render(const nlohmann::ordered_json &messages,
                                      const nlohmann::ordered_json &tools, std::optional<bool> thinking,
                                      bool generationPrompt) const {
  if (!chat)
    return userError("the model was compiled without a chat template: expected run --raw");
  ChatOptions options;
  options.addGenerationPrompt = generationPrompt;
  options.enableThinking = thinking;
  options.variables = variables;
  return chat->render(messages, tools, options);
}

bool GenerationLimits::isEnd(int32_t token) const {
  return std::find(endTokens.begin(), endTokens.end(), token) != endTokens.end();
}

Status generate(Session &session, const std::vector<std::vector<int32_t>> &prompts,
                const GenerationLimits &limits, const TokenSink &sink) {
  std::vector<int32_t> sequences, tokens;
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (Outcome outcome = session.prefill(static_cast<int32_t>(i), prompts[i]); !outcome)
      return toStatus(std::move(outcome));
    sequences.push_back(static_cast<int32_t>(i));
  }
  for (int64_t produced = 1; !sequences.empty(); ++produced) {
    std::vector<int32_t> going, drawn(sequences.size());
    tokens.clear();
    if (Outcome outcome = session.sample(sequences, limits.sampling, drawn); !outcome)
      return toStatus(std::move(outcome));
    for (size_t i = 0; i < sequences.size(); ++i) {
      if (Status status = sink(sequences[i], drawn[i]); !status)
        return status;
      if (limits.isEnd(drawn[i]))
        continue;
      going.push_back(sequences[i]);
      tokens.push_back(drawn[i]);
    }
    sequences = going;
    if (sequences.empty() || produced == limits.count)
      return ok();
    if (Outcome outcome = session.decode(sequences, tokens); !outcome)
      return toStatus(std::move(outcome));
  }
  return ok();
}

Result<Stop> continueSequence(Session &session, const GenerationLimits &limits, const TokenSink &sink) {
  const int32_t sequence = 0;
  for (int64_t produced = 1;; ++produced) {
    int32_t token = 0;
    int64_t length = 0;
    if (Outcome outcome = session.sample(0, limits.sampling, &token); !outcome)
      return toStatus(std::move(outcome)).takeError();
    if (Status status = sink(0, token); !status)
      return status.takeError();
    if (limits.isEnd(token))
      return Stop::End;
    if (produced == limits.count)
      return Stop::Count;
    if (InterruptGuard::taken())
      return Stop::Interrupted;
    if (Outcome outcome = session.length(0, &length); !outcome)
      return toStatus(std::move(outcome)).takeError();
    if (length >= session.context())
      return Stop::ContextFull;
    if (Outcome outcome = session.decode({&sequence, 1}, {&token, 1}); !outcome)
      return toStatus(std::move(outcome)).takeError();
  }
}

AnswerPrinter::AnswerPrinter(const Tokenizer &tokenizer, bool colour, bool thinking)
    : decoder(tokenizer, /*skipSpecial=*/true), colour(colour), dimmed(false), pendingDim(thinking) {}

std::string AnswerPrinter::dim(const std::string &text) {
  if (!colour)
    return text;
  std::string out;
  if (!dimmed && (pendingDim || text.find("<think>") != std::string::npos)) {
    out += "\033[2m";
    dimmed = true;
  }
  pendingDim = false;
  out += text;
  if (dimmed && text.find("</think>") != std::string::npos) {
    out += "\033[22m";
    dimmed = false;
  }
  return out;
}

Status AnswerPrinter::push(int32_t token) {
  std::string text = decoder.push(token);
  whole += text;
  return text.empty() ? ok() : writeOut(dim(text));
}

Status AnswerPrinter::finish() {
  std::string rest = decoder.finish();
  whole += rest;
  return writeOut(rest + (dimmed ? "\033[22m" : "") + "\n");
}

std::string joinIds(const std::vector<int32_t> &ids) {
  std::string text;
  for (int32_t id : ids)
    text += (text.empty() ? "" : ",") + std::to_string(id);
  return text;
}

} // namespace qwench::app
