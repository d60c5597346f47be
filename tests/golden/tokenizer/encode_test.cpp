// Ids and texts equal those of the tokenizers library.
#include "runtime/tokenizer/unicode.h"
#include "tests/golden/tokenizer/golden.h"
#include "tests/unit/tokenizer/small_tokenizer.h"

namespace qwench::golden {
namespace {

using Ids = std::vector<int32_t>;

const char *const kExample = "examples/tiny-moe/model/tokenizer.json";

TEST(GoldenTokenizer, EncodesTheCorpusAsTheTokenizersLibraryDoes) {
  const OwnedTokenizer t = openTokenizer(readText(kExample));
  size_t plain = 0;
  for (const Json &record : readLines("encode.jsonl")) {
    const std::string text = fromHex(record["hex"]);
    EXPECT_EQ(t.tokenizer.encode(text), record["ids"].get<Ids>()) << record["hex"];
    const bool differs = record.contains("specials_as_text");
    EXPECT_EQ(t.tokenizer.encode(text, false), record[differs ? "specials_as_text" : "ids"].get<Ids>())
        << record["hex"];
    plain += differs;
  }
  EXPECT_GT(plain, 10u);
}

TEST(GoldenTokenizer, DecodesAsTheTokenizersLibraryDoes) {
  const OwnedTokenizer t = openTokenizer(readText(kExample));
  for (const Json &record : readLines("decode.jsonl")) {
    const Ids ids = record["ids"].get<Ids>();
    EXPECT_EQ(t.tokenizer.decode(ids), record["text"].get<std::string>()) << record["ids"];
    EXPECT_EQ(t.tokenizer.decode(ids, true), record["without_special"].get<std::string>()) << record["ids"];
    StreamDecoder decoder(t.tokenizer, true);
    std::string streamed;
    for (const int32_t id : ids)
      streamed += decoder.push(id);
    EXPECT_EQ(streamed + decoder.finish(), record["without_special"].get<std::string>()) << record["ids"];
  }
}

// Decoding gives back the text, in form C and with U+FFFD for what is not UTF-8.
TEST(GoldenTokenizer, RoundTripsTheCorpus) {
  const OwnedTokenizer t = openTokenizer(readText(kExample));
  for (const Json &record : readLines("encode.jsonl")) {
    std::string text, buffer;
    appendReplacingInvalid(text, fromHex(record["hex"]));
    if (text.find("<|") != text.npos) // form C does not reach across a special token
      continue;
    EXPECT_EQ(t.tokenizer.decode(t.tokenizer.encode(text)), toNfc(text, buffer)) << record["hex"];
  }
}

TEST(GoldenTokenizer, HandlesAddedTokensOfEveryKind) {
  Json variants = readJson("variants.json");
  ASSERT_EQ(variants.size(), 2u);
  for (const Json &variant : variants) {
    Json json = Json::parse(readText(kExample));
    json["normalizer"] = variant["normalizer"];
    json["added_tokens"] = variant["added_tokens"];
    const OwnedTokenizer t = openTokenizer(json.dump());
    for (const Json &line : variant["cases"]) {
      const Json record = Json::parse(line.get<std::string>());
      const std::string text = fromHex(record["hex"]);
      const Ids ids = t.tokenizer.encode(text);
      EXPECT_EQ(ids, record["ids"].get<Ids>()) << text;
      EXPECT_EQ(t.tokenizer.decode(ids, true), record["text"].get<std::string>()) << text;
    }
  }
}

} // namespace
} // namespace qwench::golden
