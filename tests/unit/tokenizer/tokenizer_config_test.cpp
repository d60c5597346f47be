#include "tests/unit/tokenizer/small_tokenizer.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

namespace qwench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

class TokenizerConfig : public testing::Test {
protected:
  void SetUp() override {
    directory = testing::TempDir() + "/" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(directory);
    std::filesystem::create_directories(directory);
  }
  void TearDown() override { std::filesystem::remove_all(directory); }

  void write(const std::string &name, const std::string &text) {
    std::ofstream(directory + "/" + name) << text;
  }

  std::string blobFailure() {
    auto blob = hf::readTokenizerBlob(directory);
    return blob ? "accepted" : blob.error().message;
  }
  std::string chatTemplate() {
    auto text = hf::readChatTemplate(directory);
    return text ? *text : "error: " + text.error().message;
  }

  std::string directory;
};

TEST_F(TokenizerConfig, NamesTheFileThatIsMissing) {
  EXPECT_EQ(blobFailure(), directory + "/tokenizer.json: expected a tokenizer, found no such file");
}

TEST_F(TokenizerConfig, NamesTheFileThatIsWrong) {
  write("tokenizer.json", "{");
  EXPECT_EQ(blobFailure(), directory + "/tokenizer.json: expected JSON, found a syntax error");
  std::filesystem::remove(directory + "/tokenizer.json");
  std::filesystem::create_directories(directory + "/tokenizer.json");
  EXPECT_EQ(blobFailure(), directory + "/tokenizer.json: expected a readable file");
}

TEST_F(TokenizerConfig, RefusesSwitchesThatChangeIds) {
  write("tokenizer.json", smallTokenizerJson().dump());
  EXPECT_EQ(blobFailure(), "accepted");
  const std::string path = directory + "/tokenizer_config.json: ";
  write("tokenizer_config.json", R"({"add_bos_token": true})");
  EXPECT_EQ(blobFailure(), path + "add_bos_token: expected false, found true");
  write("tokenizer_config.json", R"({"clean_up_tokenization_spaces": true})");
  EXPECT_EQ(blobFailure(), path + "clean_up_tokenization_spaces: expected false, found true");
  write("tokenizer_config.json",
        R"({"added_tokens_decoder": {"261": {"content": "<|end|>", "special": true}}})");
  EXPECT_EQ(blobFailure(), "accepted");
  write("tokenizer_config.json",
        R"({"added_tokens_decoder": {"263": {"content": "<new>", "special": true}}})");
  EXPECT_EQ(blobFailure(),
            path + "added_tokens_decoder: expected tokens of tokenizer.json, found \"263 <new>\"");
  write("tokenizer_config.json", "[1]");
  EXPECT_EQ(blobFailure(), path + "expected a JSON object, found array");
}

TEST_F(TokenizerConfig, PrefersTheTemplateInAFileOfItsOwn) {
  EXPECT_EQ(chatTemplate(), "");
  write("tokenizer_config.json", R"({"chat_template": "from {{ 1 }} the configuration"})");
  EXPECT_EQ(chatTemplate(), "from {{ 1 }} the configuration");
  write("chat_template.jinja", "from the file");
  EXPECT_EQ(chatTemplate(), "from the file");
}

TEST_F(TokenizerConfig, TakesTheDefaultOfAListOfTemplates) {
  write("tokenizer_config.json",
        R"({"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]})");
  EXPECT_EQ(chatTemplate(), "d");
  write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "r"}]})");
  EXPECT_THAT(chatTemplate(),
              HasSubstr("expected a text, or a list with one named \"default\", found array"));
}

TEST_F(TokenizerConfig, RefusesATemplateThatCannotBeRendered) {
  write("chat_template.jinja", "a\n{{ x | md5 }}");
  EXPECT_EQ(chatTemplate(), "error: " + directory +
                                "/chat_template.jinja: chat template, line 2: filter 'md5' is not supported");
  write("chat_template.jinja", "a\xFF");
  EXPECT_THAT(chatTemplate(), HasSubstr("expected UTF-8, found another byte at 1"));
}

TEST_F(TokenizerConfig, ReadsTheSpecialTokens) {
  EXPECT_TRUE(hf::readSpecialTokens(directory)->empty());
  write("tokenizer_config.json",
        R"({"eos_token": "<|end|>", "bos_token": null, "pad_token": {"content": "<pad>"}})");
  EXPECT_THAT(*hf::readSpecialTokens(directory),
              ElementsAre(Pair("eos_token", "<|end|>"), Pair("pad_token", "<pad>")));
  write("tokenizer_config.json", R"({"eos_token": 5})");
  EXPECT_FALSE(hf::readSpecialTokens(directory));
}

} // namespace
} // namespace qwench
