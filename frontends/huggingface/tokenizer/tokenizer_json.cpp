#include "frontends/huggingface/tokenizer/tokenizer_json.h"

#include "frontends/huggingface/tokenizer/split_pattern.h"
#include "runtime/abi/tokenizer_format.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace qwench::hf {
namespace {

using Json = nlohmann::json;

// A value for a message, cut to one readable line.
std::string show(const Json &value) {
  if (value.is_discarded() || value.is_structured())
    return value.is_object() && value.contains("type") ? show(value["type"]) : std::string(value.type_name());
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 57) + "..." : text;
}

Error unexpected(const std::string &where, const std::string &expected, const std::string &found) {
  return userError("tokenizer.json: " + where + ": expected " + expected + ", found " + found);
}

class Parser {
public:
  Result<TokenizerDescription> run(std::string_view text) {
    const Json root = Json::parse(text, nullptr, false);
    if (root.is_discarded())
      return userError("tokenizer.json: expected JSON, found a syntax error");
    if (!root.is_object())
      return unexpected("top level", "an object", root.type_name());
    for (auto step : {&Parser::topLevel, &Parser::normalizer, &Parser::preTokenizer, &Parser::byteLevels,
                      &Parser::modelSettings, &Parser::vocabulary, &Parser::merges, &Parser::addedTokens})
      if (Status status = (this->*step)(root); !status)
        return status.takeError();
    return std::move(out);
  }

private:
  static const Json &at(const Json &object, const char *key) {
    static const Json missing = nullptr;
    if (!object.is_object())
      return missing;
    const auto found = object.find(key);
    return found == object.end() ? missing : *found;
  }

  static Status onlyKeys(const Json &object, const std::string &where,
                         std::initializer_list<std::string_view> known) {
    for (const auto &[key, value] : object.items())
      if (std::find(known.begin(), known.end(), key) == known.end())
        return unexpected(where, "no key that is not known", show(key));
    return ok();
  }

  static Status expect(const Json &object, const std::string &where, const char *key, const Json &wanted) {
    const Json &value = at(object, key);
    if (value != wanted)
      return unexpected(where + "." + key, wanted.dump(), show(value));
    return ok();
  }

  Status topLevel(const Json &root) {
    return onlyKeys(root, "top level",
                    {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                     "post_processor", "decoder", "model"});
  }

  Status normalizer(const Json &root) {
    const Json &value = at(root, "normalizer");
    if (value.is_null())
      return ok();
    out.nfc = at(value, "type") == "NFC";
    return out.nfc ? ok() : Status(unexpected("normalizer", "null or NFC", show(value)));
  }

  Status preTokenizer(const Json &root) {
    const Json &sequence = at(root, "pre_tokenizer");
    const Json &parts = at(sequence, "pretokenizers");
    if (at(sequence, "type") != "Sequence" || !parts.is_array() || parts.size() != 2 ||
        at(parts[0], "type") != "Split" || at(parts[1], "type") != "ByteLevel")
      return unexpected("pre_tokenizer", "a Sequence of Split and ByteLevel", show(sequence));
    const std::string where = "pre_tokenizer.pretokenizers";
    for (Status status : {expect(parts[0], where + "[0]", "behavior", "Isolated"),
                          expect(parts[0], where + "[0]", "invert", false),
                          expect(parts[1], where + "[1]", "add_prefix_space", false),
                          expect(parts[1], where + "[1]", "use_regex", false)})
      if (!status)
        return status.takeError();
    const Json &regex = at(at(parts[0], "pattern"), "Regex");
    if (!regex.is_string() || regex.get_ref<const std::string &>().empty() ||
        regex.get_ref<const std::string &>().size() > QWENCH_TOKENIZER_MAX_PATTERN_BYTES / 8)
      return unexpected(where + "[0].pattern", "a Regex of 1 to 8192 bytes", show(at(parts[0], "pattern")));
    Result<std::string> pattern = translateSplitPattern(regex.get_ref<const std::string &>());
    if (!pattern)
      return userError("tokenizer.json: " + pattern.error().message);
    out.pattern = pattern.take();
    return ok();
  }

  Status byteLevels(const Json &root) {
    if (at(at(root, "decoder"), "type") != "ByteLevel")
      return unexpected("decoder", "ByteLevel", show(at(root, "decoder")));
    const Json &post = at(root, "post_processor");
    if (!post.is_null() && at(post, "type") != "ByteLevel")
      return unexpected("post_processor", "null or ByteLevel", show(post));
    return ok();
  }

  Status modelSettings(const Json &root) {
    const Json &model = at(root, "model");
    if (at(model, "type") != "BPE")
      return unexpected("model.type", "\"BPE\"", show(at(model, "type")));
    if (Status status =
            onlyKeys(model, "model",
                     {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                      "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
        !status)
      return status;
    for (const char *key : {"dropout", "unk_token"})
      if (const Json &value = at(model, key); !value.is_null() && value != 0)
        return unexpected(std::string("model.") + key, "null", show(value));
    for (const char *key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (const Json &value = at(model, key); !value.is_null() && value != "")
        return unexpected(std::string("model.") + key, "null or \"\"", show(value));
    for (const char *key : {"byte_fallback", "ignore_merges"})
      if (const Json &value = at(model, key); !value.is_null() && value != false)
        return unexpected(std::string("model.") + key, "false", show(value));
    return ok();
  }

  Status setToken(uint32_t id, const std::string &text, const std::string &where) {
    if (id >= out.tokens.size())
      out.tokens.resize(id + 1);
    if (!out.tokens[id].empty() && out.tokens[id] != text)
      return unexpected(where, "an id that no other token has", std::to_string(id));
    out.tokens[id] = text;
    return ok();
  }

  Status vocabulary(const Json &root) {
    const Json &vocab = at(at(root, "model"), "vocab");
    if (!vocab.is_object() || vocab.empty())
      return unexpected("model.vocab", "an object with an entry at least", show(vocab));
    if (vocab.size() > QWENCH_TOKENIZER_MAX_TOKENS / 2)
      return unexpected("model.vocab", "fewer tokens", std::to_string(vocab.size()));
    // Ids need not be dense, but a few entries must not ask for a huge table.
    const uint64_t limit = std::min<uint64_t>(QWENCH_TOKENIZER_MAX_TOKENS / 2, 2 * vocab.size() + 65536);
    for (const auto &[text, id] : vocab.items()) {
      const std::string where = "model.vocab[" + show(text) + "]";
      if (!id.is_number_unsigned() || id.get<uint64_t>() >= limit)
        return unexpected(where, "an id below " + std::to_string(limit), show(id));
      if (text.empty() || text.size() > QWENCH_TOKENIZER_MAX_PIECE_BYTES)
        return unexpected(where,
                          "1 to " + std::to_string(QWENCH_TOKENIZER_MAX_PIECE_BYTES) + " bytes of text",
                          std::to_string(text.size()));
      const auto small = static_cast<uint32_t>(id.get<uint64_t>());
      if (Status status = setToken(small, text, where); !status)
        return status;
      ids.emplace(text, small);
    }
    out.vocabulary = static_cast<uint32_t>(vocab.size());
    return ok();
  }

  Status merges(const Json &root) {
    const Json &merges = at(at(root, "model"), "merges");
    if (!merges.is_array() || merges.size() > QWENCH_TOKENIZER_MAX_TOKENS / 2)
      return unexpected("model.merges", "a list", show(merges));
    std::unordered_set<uint64_t> seen;
    for (const Json &merge : merges) {
      const std::string where = "model.merges[" + std::to_string(out.merges.size()) + "]";
      std::string left, right;
      if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        left = merge[0].get<std::string>();
        right = merge[1].get<std::string>();
      } else if (merge.is_string()) {
        const std::string &text = merge.get_ref<const std::string &>();
        const size_t space = text.find(' ');
        if (space != text.npos && text.find(' ', space + 1) == text.npos) {
          left = text.substr(0, space);
          right = text.substr(space + 1);
        }
      }
      const auto l = ids.find(left), r = ids.find(right), m = ids.find(left + right);
      if (left.empty() || right.empty())
        return unexpected(where, "two tokens, as \"a b\" or [\"a\", \"b\"]", show(merge));
      if (l == ids.end() || r == ids.end() || m == ids.end())
        return unexpected(where, "tokens of the vocabulary that join to one",
                          show(merge.is_array() ? Json(left + " " + right) : merge));
      if (!seen.insert(uint64_t{l->second} << 32 | r->second).second)
        return unexpected(where, "each pair once", show(Json(left + " " + right)));
      out.merges.push_back({l->second, r->second, m->second});
    }
    return ok();
  }

  // The library takes an added token's id from the vocabulary, or else the next free one; the file must
  // agree.
  Status addedTokens(const Json &root) {
    const Json &list = at(root, "added_tokens");
    if (list.is_null())
      return ok();
    if (!list.is_array() || list.size() > 65536)
      return unexpected("added_tokens", "a list of at most 65536", show(list));
    uint32_t nextId = out.vocabulary;
    std::unordered_set<std::string> seen;
    for (const Json &entry : list) {
      const std::string where = "added_tokens[" + std::to_string(out.added.size()) + "]";
      const Json &id = at(entry, "id"), &content = at(entry, "content");
      if (!content.is_string() || content.get_ref<const std::string &>().empty() ||
          content.get_ref<const std::string &>().size() > 1024)
        return unexpected(where + ".content", "1 to 1024 bytes of text", show(content));
      AddedToken token{0, 0, content.get<std::string>()};
      if (!seen.insert(token.content).second)
        return unexpected(where + ".content", "each token once", show(content));
      const auto known = ids.find(token.content);
      token.id = known != ids.end() ? known->second : nextId;
      if (!id.is_number_unsigned() || id.get<uint64_t>() != token.id)
        return unexpected(where + ".id", std::to_string(token.id) + " for " + show(content), show(id));
      nextId = std::max(nextId, token.id + 1);
      constexpr std::pair<const char *, uint32_t> flags[] = {{"special", QWENCH_ADDED_SPECIAL},
                                                             {"normalized", QWENCH_ADDED_NORMALIZED},
                                                             {"lstrip", QWENCH_ADDED_LSTRIP},
                                                             {"rstrip", QWENCH_ADDED_RSTRIP},
                                                             {"single_word", QWENCH_ADDED_SINGLE_WORD}};
      for (const auto &[key, flag] : flags) {
        const Json &value = at(entry, key);
        if (!value.is_boolean())
          return unexpected(where + "." + key, "true or false", show(value));
        token.flags |= value.get<bool>() ? flag : 0;
      }
      if (Status status = setToken(token.id, token.content, where + ".id"); !status)
        return status;
      out.added.push_back(std::move(token));
    }
    return ok();
  }

  TokenizerDescription out;
  std::unordered_map<std::string, uint32_t> ids; // of the vocabulary
};

} // namespace

Result<TokenizerDescription> parseTokenizerJson(std::string_view text) { return Parser().run(text); }

} // namespace qwench::hf
