// Builds without the tokenizer room: opening any tokenizer section is an error, nothing else is reached.
#include "runtime/tokenizer/chat_template.h"
#include "runtime/tokenizer/tokenizer.h"

namespace qwench {

namespace jinja {
struct Template {};
} // namespace jinja
struct Tokenizer::State {};

Result<Tokenizer> Tokenizer::open(std::span<const uint8_t>) {
  return userError("this build has no tokenizer");
}
Tokenizer::Tokenizer(Tokenizer &&) noexcept = default;
Tokenizer &Tokenizer::operator=(Tokenizer &&) noexcept = default;
Tokenizer::~Tokenizer() = default;
std::vector<int32_t> Tokenizer::encode(std::string_view, bool) const { return {}; }
std::string Tokenizer::decode(std::span<const int32_t>, bool) const { return {}; }
int32_t Tokenizer::size() const { return 0; }
std::string StreamDecoder::push(int32_t) { return {}; }
std::string StreamDecoder::finish() { return {}; }

Result<ChatTemplate> ChatTemplate::parse(std::string_view) {
  return userError("this build has no chat templates");
}
ChatTemplate::ChatTemplate(ChatTemplate &&) noexcept = default;
ChatTemplate &ChatTemplate::operator=(ChatTemplate &&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;
Result<std::string> ChatTemplate::render(const nlohmann::ordered_json &, const nlohmann::ordered_json &,
                                         const ChatOptions &) const {
  return userError("this build has no chat templates");
}

} // namespace qwench
