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
  std::vector<int32_t> sequences;
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (Outcome outcome = session.prefill(static_cast<int32_t>(i), prompts[i]); !outcome)
      return toStatus(std::move(outcome));
    sequences.push_back(static_cast<int32_t>(i));
  }
  Status status = ok();
  Outcome outcome = session.generate(sequences, limits.sampling, limits.count, [&](int32_t sequence, int32_t token) {
    if (status)
      status = sink(sequence, token);
    return status && !limits.isEnd(token);
  });
  return status ? toStatus(std::move(outcome)) : std::move(status);
}

Result<Stop> continueSequence(Session &session, const GenerationLimits &limits, const TokenSink &sink) {
  const int32_t first = 0;
  Status status = ok();
  Stop stop = Stop::ContextFull; // where neither a token nor their number ends it
  int64_t produced = 0;
  Outcome outcome = session.generate({&first, 1}, limits.sampling, limits.count, [&](int32_t sequence, int32_t token) {
    status = sink(sequence, token);
    if (!status)
      return false;
    if (limits.isEnd(token))
      stop = Stop::End;
    else if (++produced == limits.count)
      stop = Stop::Count;
    else if (InterruptGuard::taken())
      stop = Stop::Interrupted;
    return stop == Stop::ContextFull;
  });
  if (!status)
    return status.takeError();
  return outcome ? Result<Stop>(stop) : Result<Stop>(toStatus(std::move(outcome)).takeError());
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
