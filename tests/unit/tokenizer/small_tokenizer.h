// A tokenizer.json made by hand: all bytes (ids 0 to 255), some merges, some added tokens.
#pragma once

#include "frontends/huggingface/tokenizer/byte_alphabet.h"
#include "frontends/huggingface/tokenizer/tokenizer.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/unicode.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace qwench {

inline const char *const kQwenPattern = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
                                        "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
                                        "\\s+(?!\\S)|\\s+";

/// Tokens: bytes 0..255, 256 "he", 257 "ll", 258 "hell", 259 "hello", 260 " w" (written "Ġw"), then the added
/// tokens 261 "<|end|>" (special) and 262 "<think>".
inline nlohmann::json smallTokenizerJson() {
  nlohmann::json vocab = nlohmann::json::object();
  const auto alphabet = hf::byteAlphabet();
  for (int byte = 0; byte < 256; ++byte) {
    std::string text;
    appendUtf8(text, alphabet[byte]);
    vocab[text] = byte;
  }
  int next = 256;
  for (const char *token : {"he", "ll", "hell", "hello", "\u0120w"})
    vocab[token] = next++;
  const auto added = [](int id, const char *content, bool special) {
    return nlohmann::json{
        {"id", id},        {"content", content}, {"special", special},  {"normalized", false},
        {"lstrip", false}, {"rstrip", false},    {"single_word", false}};
  };
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", {added(261, "<|end|>", true), added(262, "<think>", false)}},
          {"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer",
           {{"type", "Sequence"},
            {"pretokenizers",
             {{{"type", "Split"},
               {"pattern", {{"Regex", kQwenPattern}}},
               {"behavior", "Isolated"},
               {"invert", false}},
              {{"type", "ByteLevel"},
               {"add_prefix_space", false},
               {"trim_offsets", false},
               {"use_regex", false}}}}}},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", ""},
            {"end_of_word_suffix", ""},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", vocab},
            {"merges", {"h e", "l l", nlohmann::json::array({"he", "ll"}), "hell o", "\u0120 w"}}}}};
}

/// A tokenizer and the memory it looks at.
struct OwnedTokenizer {
  std::vector<uint8_t> blob;
  Tokenizer tokenizer;
};

inline OwnedTokenizer openTokenizer(const std::string &json) {
  Result<std::vector<uint8_t>> blob = hf::buildTokenizerBlob(json);
  EXPECT_TRUE(blob) << blob.error().message;
  std::vector<uint8_t> bytes = blob.take();
  Result<Tokenizer> tokenizer = Tokenizer::open(bytes);
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  return {std::move(bytes), tokenizer.take()};
}

inline OwnedTokenizer smallTokenizer() { return openTokenizer(smallTokenizerJson().dump()); }

} // namespace qwench
