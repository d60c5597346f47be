#include "tests/unit/tokenizer/small_tokenizer.h"

#include <gmock/gmock.h>

namespace qwench {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using testing::StartsWith;

std::string failure(const std::string &text) {
  Result<std::vector<uint8_t>> blob = hf::buildTokenizerBlob(text);
  return blob ? "accepted" : blob.error().message;
}

// What building says after a change at a JSON pointer; null as the value erases the key.
std::string failureAfter(const char *pointer, const Json &value) {
  Json json = smallTokenizerJson();
  json[Json::json_pointer(pointer)] = value;
  return failure(json.dump());
}

TEST(TokenizerJson, TakesWhatTheQwenModelsHave) {
  EXPECT_EQ(failure(smallTokenizerJson().dump()), "accepted");
}

TEST(TokenizerJson, SaysWhatIsNotJson) {
  EXPECT_EQ(failure(""), "tokenizer.json: expected JSON, found a syntax error");
  EXPECT_EQ(failure("{\"model\":"), "tokenizer.json: expected JSON, found a syntax error");
  EXPECT_EQ(failure("[]"), "tokenizer.json: top level: expected an object, found array");
  EXPECT_EQ(failure(std::string(200000, '[')), "tokenizer.json: expected JSON, found a syntax error");
  EXPECT_THAT(failure("{}"),
              StartsWith("tokenizer.json: pre_tokenizer: expected a Sequence of Split and ByteLevel"));
}

TEST(TokenizerJson, RefusesOtherModels) {
  EXPECT_EQ(failureAfter("/model/type", "WordPiece"),
            "tokenizer.json: model.type: expected \"BPE\", found \"WordPiece\"");
  EXPECT_EQ(failureAfter("/model/dropout", 0.1), "tokenizer.json: model.dropout: expected null, found 0.1");
  EXPECT_EQ(failureAfter("/model/unk_token", "<unk>"),
            "tokenizer.json: model.unk_token: expected null, found \"<unk>\"");
  EXPECT_EQ(failureAfter("/model/byte_fallback", true),
            "tokenizer.json: model.byte_fallback: expected false, found true");
  EXPECT_EQ(failureAfter("/model/ignore_merges", true),
            "tokenizer.json: model.ignore_merges: expected false, found true");
  EXPECT_EQ(failureAfter("/model/end_of_word_suffix", "</w>"),
            "tokenizer.json: model.end_of_word_suffix: expected null or \"\", found \"</w>\"");
  EXPECT_EQ(failureAfter("/model/continuing_subword_prefix", "##"),
            "tokenizer.json: model.continuing_subword_prefix: expected null or \"\", found \"##\"");
  EXPECT_EQ(failureAfter("/model/novelty", 1),
            "tokenizer.json: model: expected no key that is not known, found \"novelty\"");
  EXPECT_EQ(failureAfter("/novelty", 1),
            "tokenizer.json: top level: expected no key that is not known, found \"novelty\"");
}

TEST(TokenizerJson, RefusesOtherSteps) {
  EXPECT_EQ(failureAfter("/normalizer", {{"type", "NFKC"}}),
            "tokenizer.json: normalizer: expected null or NFC, found \"NFKC\"");
  EXPECT_EQ(failureAfter("/decoder", {{"type", "Metaspace"}}),
            "tokenizer.json: decoder: expected ByteLevel, found \"Metaspace\"");
  EXPECT_EQ(failureAfter("/decoder", nullptr), "tokenizer.json: decoder: expected ByteLevel, found null");
  EXPECT_EQ(failureAfter("/post_processor", {{"type", "TemplateProcessing"}}),
            "tokenizer.json: post_processor: expected null or ByteLevel, found \"TemplateProcessing\"");
  EXPECT_THAT(failureAfter("/pre_tokenizer", {{"type", "ByteLevel"}}), HasSubstr("found \"ByteLevel\""));
  EXPECT_EQ(
      failureAfter("/pre_tokenizer/pretokenizers/0/behavior", "Removed"),
      "tokenizer.json: pre_tokenizer.pretokenizers[0].behavior: expected \"Isolated\", found \"Removed\"");
  EXPECT_THAT(failureAfter("/pre_tokenizer/pretokenizers/0/invert", true),
              HasSubstr("[0].invert: expected false, found true"));
  EXPECT_THAT(failureAfter("/pre_tokenizer/pretokenizers/1/use_regex", true),
              HasSubstr("[1].use_regex: expected false, found true"));
  EXPECT_THAT(failureAfter("/pre_tokenizer/pretokenizers/1/add_prefix_space", true),
              HasSubstr("add_prefix_space: expected false"));
  EXPECT_THAT(failureAfter("/pre_tokenizer/pretokenizers/0/pattern", {{"String", "a"}}),
              HasSubstr("pattern: expected a Regex"));
  EXPECT_THAT(failureAfter("/pre_tokenizer/pretokenizers/0/pattern/Regex", "\\w+"),
              HasSubstr("split pattern: expected one of"));
  EXPECT_THAT(failureAfter("/pre_tokenizer/pretokenizers/0/pattern/Regex", "a*"),
              HasSubstr("matches the empty text"));
}

TEST(TokenizerJson, ChecksTheVocabulary) {
  EXPECT_EQ(failureAfter("/model/vocab", Json::object()),
            "tokenizer.json: model.vocab: expected an object with an entry at least, found object");
  EXPECT_THAT(failureAfter("/model/vocab/he", -1),
              HasSubstr("model.vocab[\"he\"]: expected an id below 66058, found -1"));
  EXPECT_THAT(failureAfter("/model/vocab/he", 4000000000u), HasSubstr("found 4000000000"));
  EXPECT_THAT(failureAfter("/model/vocab/he", "x"), HasSubstr("found \"x\""));
  EXPECT_THAT(failureAfter("/model/vocab/he", 257),
              HasSubstr("expected an id that no other token has, found 257"));
  Json json = smallTokenizerJson();
  json["model"]["vocab"].erase("a");
  EXPECT_EQ(failure(json.dump()),
            "tokenizer.json: added_tokens[0].id: expected 260 for \"<|end|>\", found 261");
  json["added_tokens"] = Json::array();
  EXPECT_EQ(
      failure(json.dump()),
      "tokenizer.json: model.vocab: expected a token for each of the 256 bytes, found none for byte 97");
}

TEST(TokenizerJson, ChecksTheMerges) {
  EXPECT_EQ(failureAfter("/model/merges", 5), "tokenizer.json: model.merges: expected a list, found 5");
  EXPECT_EQ(
      failureAfter("/model/merges/0", "he"),
      "tokenizer.json: model.merges[0]: expected two tokens, as \"a b\" or [\"a\", \"b\"], found \"he\"");
  EXPECT_THAT(failureAfter("/model/merges/1", "a b c"), HasSubstr("model.merges[1]: expected two tokens"));
  EXPECT_THAT(failureAfter("/model/merges/0", Json::array({"h", "e", "l"})),
              HasSubstr("expected two tokens"));
  EXPECT_EQ(
      failureAfter("/model/merges/0", "h z"),
      "tokenizer.json: model.merges[0]: expected tokens of the vocabulary that join to one, found \"h z\"");
  EXPECT_EQ(failureAfter("/model/merges/1", "h e"),
            "tokenizer.json: model.merges[1]: expected each pair once, found \"h e\"");
}

TEST(TokenizerJson, ChecksTheAddedTokens) {
  EXPECT_EQ(failureAfter("/added_tokens/0/id", 300),
            "tokenizer.json: added_tokens[0].id: expected 261 for \"<|end|>\", found 300");
  EXPECT_EQ(failureAfter("/added_tokens/0/content", ""),
            "tokenizer.json: added_tokens[0].content: expected 1 to 1024 bytes of text, found \"\"");
  EXPECT_EQ(failureAfter("/added_tokens/1/content", "<|end|>"),
            "tokenizer.json: added_tokens[1].content: expected each token once, found \"<|end|>\"");
  EXPECT_EQ(failureAfter("/added_tokens/0/lstrip", 1),
            "tokenizer.json: added_tokens[0].lstrip: expected true or false, found 1");
  EXPECT_EQ(failureAfter("/added_tokens", "x"),
            "tokenizer.json: added_tokens: expected a list of at most 65536, found \"x\"");
  Json json = smallTokenizerJson();
  json["added_tokens"][0]["content"] = "<e\u0301>";
  json["added_tokens"][1]["content"] = "<\u00e9>";
  json["added_tokens"][0]["normalized"] = json["added_tokens"][1]["normalized"] = true;
  EXPECT_THAT(failure(json.dump()),
              HasSubstr("expected texts that differ after normalization, found two of id 261 and 262"));
}

TEST(TokenizerJson, MakesTheSameBlobEachTime) {
  const std::string text = smallTokenizerJson().dump();
  EXPECT_EQ(*hf::buildTokenizerBlob(text), *hf::buildTokenizerBlob(text));
}

} // namespace
} // namespace qwench
