// The text side of the command line: the fake model with the example's tokenizer and a small chat template.
// What it says is noise, but always the same noise.
#include "frontends/huggingface/tokenizer/tokenizer.h"
#include "runtime/core/sampler.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/unit/runtime/cli_fixture.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <pty.h>
#include <sys/select.h>

namespace qwench {
namespace {

using fake::greedy;
using fake::Ran;
using testing::HasSubstr;

constexpr const char *kTemplate =
    "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if tools %}{{ tools | tojson }}{%- endif %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{%- "
    "endif %}"
    "{%- endif %}";

std::string asString(const std::vector<uint8_t> &bytes) { return {bytes.begin(), bytes.end()}; }

class TextCliTest : public fake::CliTest {
protected:
  std::string appended(const std::string &executable) override {
    auto built = hf::readTokenizerBlob(std::string(QWENCH_SOURCE_DIR) + "/examples/tiny-moe/model");
    EXPECT_TRUE(built) << built.error().message;
    blob = built.take();
    tokenizer = std::make_unique<Tokenizer>(Tokenizer::open(blob).take());
    return fake::bundleBytes({{QWENCH_SECTION_METADATA, R"({"generation": {"do_sample": false}})"},
                              {QWENCH_SECTION_TOKENIZER, asString(blob)},
                              {QWENCH_SECTION_CHAT_TEMPLATE, kTemplate},
                              {QWENCH_SECTION_WEIGHTS, fake::weights()}},
                             qwench_program.plan_hash, executable);
  }

  /// What the model says after a prompt, as text.
  std::string answer(const std::string &prompt, int count) const {
    std::vector<int32_t> ids = tokenizer->encode(prompt);
    for (int i = 0; i < count; ++i) {
      auto logits = fake::expectedLogits(ids);
      ids.push_back(likeliestToken(logits.data(), tokenizer->size()));
    }
    return tokenizer->decode(std::span<const int32_t>(ids).last(count), /*skipSpecial=*/true);
  }

  static std::string turn(const std::string &role, const std::string &content) {
    return "<|im_start|>" + role + "\n" + content + "<|im_end|>\n";
  }

  std::vector<uint8_t> blob;
  std::unique_ptr<Tokenizer> tokenizer;
};

TEST_F(TextCliTest, TokenizeGoesThereAndBack) {
  const std::string text = "Hello  world\n\nÜber 12 <|im_end|> 😀";
  write(directory + "/text", text);
  Ran ids = shell("MODEL tokenize < text");
  EXPECT_EQ(ids.code, 0) << ids.err;
  EXPECT_EQ(nlohmann::json::parse(ids.out).get<std::vector<int32_t>>(), tokenizer->encode(text));
  EXPECT_EQ(shell("MODEL tokenize < text | MODEL tokenize --ids-to-text").out, text);
  EXPECT_EQ(shell("echo 1,2,3 | MODEL tokenize --ids-to-text").out,
            tokenizer->decode(std::vector<int32_t>{1, 2, 3}));
  EXPECT_EQ(shell("echo '[]' | MODEL tokenize --ids-to-text").out, "");
  EXPECT_EQ(shell("MODEL tokenize < /dev/null").out, "[]\n");
  expectError("echo '[1, -2]' | MODEL tokenize --ids-to-text", "expected token ids from 0 to");
  expectError("echo '[1, \"a\"]' | MODEL tokenize --ids-to-text", "expected token ids from 0 to");
}

TEST_F(TextCliTest, RunContinuesRawText) {
  Ran run = shell("MODEL run --raw --greedy -n 12 'Once upon a time'");
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.err, "");
  EXPECT_EQ(run.out, answer("Once upon a time", 12) + "\n");
  EXPECT_EQ(shell("printf 'Once upon a time' | MODEL run --raw -n 12 -t 2").out, run.out);
  EXPECT_EQ(
      shell("MODEL generate --tokens " + fake::joined(tokenizer->encode("Once upon a time")) + " -n 5").code,
      0);
}

TEST_F(TextCliTest, RunAppliesTheTemplate) {
  const std::string assistant = "<|im_start|>assistant\n";
  EXPECT_EQ(shell("MODEL run -n 9 Hi there").out, answer(turn("user", "Hi there") + assistant, 9) + "\n");
  EXPECT_EQ(shell("echo Hi | MODEL run -n 9 --system Be.").out,
            answer(turn("system", "Be.") + turn("user", "Hi") + assistant, 9) + "\n");
  EXPECT_EQ(shell("MODEL run -n 9 --no-think Hi").out,
            answer(turn("user", "Hi") + assistant + "<think>\n\n</think>\n\n", 9) + "\n");
}

TEST_F(TextCliTest, RunSaysThatTheContextIsFull) {
  Ran run = shell("MODEL run --raw --context 20 Hello");
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.err, "model: stopped: the context of 20 tokens is full\n");
  expectError("MODEL run --raw --context 3 'one two three four five six'", "context overflow");
  expectError("MODEL run --raw ''", "expected a prompt, found an empty one");
}

TEST_F(TextCliTest, PaddingIdsAreNeverSaid) {
  write(program, fake::bundleBytes({{QWENCH_SECTION_METADATA, R"({"sampled_vocab_size": 20})"},
                                    {QWENCH_SECTION_WEIGHTS, fake::weights()}},
                                   qwench_program.plan_hash, fake::readFile(FAKE_MODEL)));
  std::stringstream ids(shell("MODEL generate --tokens 4099 -n 300 --ids --temp 1e9 --seed 1").out);
  int highest = 0, count = 0;
  for (std::string id; std::getline(ids, id, ','); ++count)
    highest = std::max(highest, std::stoi(id));
  EXPECT_EQ(count, 300);
  EXPECT_EQ(highest, 19);
}

TEST_F(TextCliTest, TemplateRendersConversations) {
  write(directory + "/m.json",
        R"([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}])");
  write(directory + "/t.json", R"([{"name": "f"}])");
  const std::string both = turn("user", "Hi") + turn("assistant", "Yes");
  EXPECT_EQ(shell("MODEL template --messages m.json").out, both + "<|im_start|>assistant\n");
  EXPECT_EQ(shell("MODEL template --messages m.json --no-generation-prompt").out, both);
  EXPECT_EQ(shell("MODEL template --messages m.json --no-generation-prompt --tools t.json").out,
            both + "[{\"name\": \"f\"}]");
  EXPECT_THAT(shell("MODEL template --messages - --no-think < m.json").out, HasSubstr("<think>\n\n</think>"));
  expectError("MODEL template --messages nofile", "cannot open 'nofile'");
  expectError("echo '[' | MODEL template --messages -", "'-': expected JSON");
  expectError("echo '{}' | MODEL template --messages -", "expected a JSON list of messages");
  expectError("echo '[1]' | MODEL template --messages -", "");
  expectError("MODEL template --messages m.json --tools m", "cannot open 'm'");
}

TEST_F(TextCliTest, PerplexityFollowsItsDefinition) {
  std::string text;
  for (int i = 0; i < 12; ++i)
    text += "The quick brown fox jumps over the lazy dog, <|im_end|> time " + std::to_string(i) + ".\n";
  write(directory + "/text", text);
  const auto ids = tokenizer->encode(text, /*parseSpecial=*/false);
  const size_t window = 100;
  ASSERT_GT(ids.size(), 2 * window);
  double sum = 0;
  size_t predicted = 0;
  for (size_t first = 0; first < ids.size(); first += window)
    for (size_t i = first + 1; i < std::min(ids.size(), first + window); ++i, ++predicted) {
      auto logits = fake::expectedLogits({ids.begin() + first, ids.begin() + i});
      sum += logSumExp(logits.data(), logits.size()) - logits[ids[i]];
    }
  for (const char *threads : {"1", "3"}) {
    Ran run = shell(std::string("MODEL perplexity text --context 100 --json -t ") + threads);
    ASSERT_EQ(run.code, 0) << run.err;
    auto report = nlohmann::json::parse(run.out);
    EXPECT_NEAR(report.at("perplexity").get<double>(), std::exp(sum / predicted),
                1e-6 * std::exp(sum / predicted));
    EXPECT_EQ(report.at("predicted_tokens"), predicted);
    EXPECT_EQ(report.at("tokens"), ids.size());
  }
  EXPECT_THAT(shell("MODEL perplexity - < text").out, testing::StartsWith("perplexity "));
  expectError("echo | MODEL perplexity -", "expected at least 2 tokens");
  expectError("MODEL perplexity text --context 1", "expected at least 2 tokens");
}

TEST_F(TextCliTest, ChatRemembersTheConversation) {
  // Without an end token an answer lasts until the context is full, so each turn is followed by /reset.
  auto whole = [&](const std::string &prompt, int context) {
    return answer(prompt, context - static_cast<int>(tokenizer->encode(prompt).size()) + 1);
  };
  const std::string prompt = turn("user", "Hi") + "<|im_start|>assistant\n";
  Ran run = shell("printf 'Hi\\n/reset\\n\\nHi' | MODEL --context 60");
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.out, whole(prompt, 60) + "\n" + whole(prompt, 60) + "\n");
  EXPECT_THAT(run.err, HasSubstr("the context of 60 tokens is full"));
  // The next turn needs more than the context: an error, and the conversation goes on after /reset.
  run = shell("printf 'Hi\\nMore\\n/reset\\nHi\\n/exit\\nnever' | MODEL --context 60");
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.out, whole(prompt, 60) + "\n" + whole(prompt, 60) + "\n");
  EXPECT_THAT(run.err, HasSubstr("exceeds the context of 60"));
}

/// A program on a pseudo-terminal.
class Terminal {
public:
  explicit Terminal(const std::string &program, const std::vector<std::string> &arguments) {
    child = forkpty(&fd, nullptr, nullptr, nullptr);
    if (child == 0) {
      std::vector<char *> argv = {const_cast<char *>(program.c_str())};
      for (const std::string &argument : arguments)
        argv.push_back(const_cast<char *>(argument.c_str()));
      argv.push_back(nullptr);
      execv(program.c_str(), argv.data());
      _exit(127);
    }
  }
  ~Terminal() {
    close(fd);
    if (child > 0)
      kill(child, SIGKILL), waitpid(child, nullptr, 0);
  }

  void type(const std::string &text) { (void)!::write(fd, text.data(), text.size()); }

  /// Reads until the text has come since the last call, ten seconds at most.
  bool waitFor(const std::string &text) {
    for (size_t at; (at = seen.find(text)) == std::string::npos;) {
      fd_set set;
      FD_ZERO(&set);
      FD_SET(fd, &set);
      timeval patience = {10, 0};
      char buffer[4096];
      ssize_t got =
          select(fd + 1, &set, nullptr, nullptr, &patience) == 1 ? read(fd, buffer, sizeof buffer) : -1;
      if (got <= 0)
        return false;
      seen.append(buffer, got);
    }
    seen.erase(0, seen.find(text) + text.size());
    return true;
  }

  /// Exit code after all output has been read.
  int wait() {
    waitFor("\xff never");
    int status = -1;
    waitpid(child, &status, 0);
    child = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

private:
  int fd = -1;
  pid_t child = -1;
  std::string seen;
};

TEST_F(TextCliTest, CtrlCStopsTheAnswerAndNotTheProgram) {
  setenv("QWENCH_FAKE_MICROSECONDS", "3000", 1);
  Terminal terminal(program, {"--greedy", "-t", "2"});
  unsetenv("QWENCH_FAKE_MICROSECONDS");
  ASSERT_TRUE(terminal.waitFor("/help for help"));
  ASSERT_TRUE(terminal.waitFor("> "));
  terminal.type("half a line\x03");
  ASSERT_TRUE(terminal.waitFor("\n> ")) << "Ctrl-C at the prompt";
  terminal.type("Hi\n");
  const std::string said = answer(turn("user", "Hi") + "<|im_start|>assistant\n", 2);
  ASSERT_TRUE(terminal.waitFor(said.substr(0, 3))) << "the answer streams";
  terminal.type("\x03");
  ASSERT_TRUE(terminal.waitFor("\n> ")) << "Ctrl-C in an answer";
  terminal.type("/help\n");
  ASSERT_TRUE(terminal.waitFor("forget the conversation"));
  ASSERT_TRUE(terminal.waitFor("> "));
  terminal.type("\x04");
  EXPECT_EQ(terminal.wait(), 0) << "Ctrl-D";
}

TEST_F(TextCliTest, CtrlCStopsALongPrefillBetweenItsSteps) {
  std::string question; // 30 steps or more, of 0.2 s each
  for (int i = 0; i < 240; ++i)
    question += " word";
  ASSERT_GE(tokenizer->encode(question).size(), 30u * fake::kPrefillRows);
  setenv("QWENCH_FAKE_MICROSECONDS", "200000", 1);
  Terminal terminal(program, {"--greedy", "-t", "1"});
  unsetenv("QWENCH_FAKE_MICROSECONDS");
  ASSERT_TRUE(terminal.waitFor("> "));
  terminal.type(question + "\n");
  ASSERT_TRUE(terminal.waitFor("word\r\n")) << "the echo";
  usleep(500'000);
  terminal.type("\x03");
  ASSERT_TRUE(terminal.waitFor("> "));
  terminal.type("Hi\n"); // answered as the first question, so the other has left the conversation
  const std::string said = answer(turn("user", "Hi") + "<|im_start|>assistant\n", 2);
  EXPECT_TRUE(terminal.waitFor("Hi\r\n" + said.substr(0, 3)));
  terminal.type("\x03\x04");
}

TEST_F(TextCliTest, ThinkingIsDimmedOnATerminal) {
  // A template that ends inside a think block, as those of thinking models do.
  write(program,
        fake::bundleBytes({{QWENCH_SECTION_TOKENIZER, asString(blob)},
                           {QWENCH_SECTION_CHAT_TEMPLATE, "{{ messages[0].content + '<think>\\n' }}"},
                           {QWENCH_SECTION_WEIGHTS, fake::weights()}},
                          qwench_program.plan_hash, fake::readFile(FAKE_MODEL)));
  Terminal terminal(program, {"run", "-n", "3", "Hi"});
  EXPECT_TRUE(terminal.waitFor("\033[2m"));
  EXPECT_TRUE(terminal.waitFor("\033[22m"));
  EXPECT_EQ(terminal.wait(), 0);
  EXPECT_THAT(shell("MODEL run -n 3 Hi").out, testing::Not(HasSubstr("\033")));
}

TEST_F(TextCliTest, DamagedTextSectionsAreErrors) {
  std::string broken = fake::readFile(program);
  broken[broken.find("<|im_start|>assistant") + 3] ^= 1; // in the template
  write(program, broken);
  expectError("MODEL run hi", "chat template section: expected checksum");
  write(program,
        fake::bundleBytes({{QWENCH_SECTION_TOKENIZER, "nonsense"}, {QWENCH_SECTION_WEIGHTS, fake::weights()}},
                          qwench_program.plan_hash, fake::readFile(FAKE_MODEL)));
  expectError("echo hi | MODEL tokenize", "tokenizer");
}

} // namespace
} // namespace qwench
