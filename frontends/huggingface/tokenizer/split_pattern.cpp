#include "frontends/huggingface/tokenizer/split_pattern.h"

#include <cctype>
#include <vector>

namespace qwench::hf {
namespace {

constexpr std::string_view kWhiteSpace = "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}"
                                         "\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";

// Numbers (No) of Unicode 15 that PCRE2 10.42 does not know and Oniguruma 6.9.8 does: the Kaktovik numerals.
constexpr std::string_view kNewNumbers = "\\x{1d2c0}-\\x{1d2d3}";

// General categories, whose names mean the same to both libraries.
constexpr std::string_view kCategories[] = {"L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc",
                                            "Me", "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Ps",
                                            "Pe", "Pi", "Pf", "Po", "S",  "Sm", "Sc", "Sk", "So",
                                            "Z",  "Zs", "Zl", "Zp", "C",  "Cc", "Cf", "Co"};

// Letter pairs that Oniguruma, ignoring case, also finds as one character (ß, ﬆ, ﬀ, ﬁ, ﬂ), and PCRE2 does
// not.
constexpr std::string_view kFoldingPairs[] = {"ss", "st", "ff", "fi", "fl"};

class Translator {
public:
  explicit Translator(std::string_view pattern) : pattern(pattern) {}

  Result<std::string> run() {
    while (at < pattern.size() && failure.empty())
      item();
    if (failure.empty() && !caseless.empty())
      fail("a closing parenthesis", "the end");
    if (!failure.empty())
      return userError("split pattern: " + failure);
    return out;
  }

private:
  bool next(std::string_view text) {
    if (!pattern.substr(at).starts_with(text))
      return false;
    at += text.size();
    return true;
  }

  void fail(const std::string &expected, const std::string &found) {
    if (failure.empty())
      failure = "expected " + expected + ", found " + found + " at byte " + std::to_string(at);
  }

  std::string here() const {
    return at < pattern.size() ? "'" + std::string(pattern.substr(at, 4)) + "'" : "the end";
  }

  void item() {
    const char c = pattern[at];
    if (c == '(')
      return open();
    if (c == ')')
      return close();
    if (c == '[')
      return characterClass();
    if (c == '\\')
      return escape(false);
    if (c == '|' && ++at) {
      out += c;
      word.clear();
      return;
    }
    if (std::string_view("^$.]{}*+?").find(c) != std::string_view::npos)
      return fail("a construct that PCRE2 and Oniguruma agree on", here());
    literal();
    quantifier();
  }

  void open() {
    if (caseless.size() >= 100)
      return fail("at most 100 nested groups", here());
    constexpr std::string_view kinds[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?i:"};
    const bool outer = !caseless.empty() && caseless.back();
    for (std::string_view kind : kinds)
      if (next(kind)) {
        caseless.push_back(outer || kind == "(?i:");
        out += kind;
        word.clear();
        return;
      }
    if (pattern.substr(at, 2) == "(?" || pattern.substr(at, 2) == "(*")
      return fail("a group of the kinds (?: (?= (?! (?<= (?<! (?i: (", here());
    ++at;
    out += '(';
    caseless.push_back(outer);
    word.clear();
  }

  void close() {
    if (caseless.empty())
      return fail("an open group", here());
    caseless.pop_back();
    ++at;
    out += ')';
    word.clear();
    quantifier();
  }

  void literal() {
    const char c = pattern[at++];
    if (!caseless.empty() && caseless.back()) {
      if (static_cast<unsigned char>(c) >= 0x80)
        return fail("ASCII inside (?i: )", here());
      word += static_cast<char>(tolower(c));
      for (std::string_view pair : kFoldingPairs)
        if (word.ends_with(pair))
          return fail("no letters inside (?i: ) that fold to one character", "'" + std::string(pair) + "'");
    }
    out += c;
  }

  // An escape outside (or inside) a class, copied or translated.
  void escape(bool inClass) {
    ++at;
    if (next("s")) {
      out += inClass ? std::string(kWhiteSpace) : "[" + std::string(kWhiteSpace) + "]";
    } else if (!inClass && next("S")) {
      out += "[^" + std::string(kWhiteSpace) + "]";
    } else if (next("p{") || next("P{")) {
      const char kind = pattern[at - 2];
      const size_t end = pattern.find('}', at);
      const std::string_view name = pattern.substr(at, end == pattern.npos ? 0 : end - at);
      bool known = false;
      for (std::string_view category : kCategories)
        known |= category == name;
      if (!known)
        return fail("a general category", here());
      const bool numbers = name == "N" || name == "No";
      if (numbers && kind == 'P' && inClass)
        return fail("no \\P{" + std::string(name) + "} in a class", here());
      at = end + 1;
      const std::string escape = std::string("\\p{") + std::string(name) + "}";
      if (!numbers)
        out += std::string("\\") + kind + "{" + std::string(name) + "}";
      else if (inClass)
        out += escape + std::string(kNewNumbers);
      else
        out += (kind == 'P' ? "[^" : "[") + escape + std::string(kNewNumbers) + "]";
    } else if (at < pattern.size() && (std::string_view("rntd").find(pattern[at]) != std::string_view::npos ||
                                       ispunct(static_cast<unsigned char>(pattern[at])))) {
      out += '\\';
      out += pattern[at++];
    } else {
      return fail("one of the escapes \\s \\S \\d \\p \\P \\r \\n \\t", here());
    }
    word.clear();
    if (!inClass)
      quantifier();
  }

  void characterClass() {
    if (!caseless.empty() && caseless.back())
      return fail("no class inside (?i: )", here());
    ++at;
    out += '[';
    if (next("^"))
      out += '^';
    const size_t start = at;
    while (at < pattern.size() && pattern[at] != ']' && failure.empty()) {
      if (pattern[at] == '\\')
        escape(true);
      else if (pattern[at] == '[' || pattern.substr(at, 2) == "&&")
        fail("a class of characters and escapes", here());
      else
        out += pattern[at++];
    }
    if (at == pattern.size() || at == start)
      return fail("a class with a closing bracket", here());
    ++at;
    out += ']';
    quantifier();
  }

  void quantifier() {
    if (at >= pattern.size())
      return;
    const size_t start = at;
    if (pattern[at] == '?' || pattern[at] == '*' || pattern[at] == '+') {
      ++at;
      if (at < pattern.size() && (pattern[at] == '?' || pattern[at] == '+'))
        ++at;
    } else if (pattern[at] == '{') {
      ++at;
      const size_t digits = at;
      while (at < pattern.size() &&
             (isdigit(static_cast<unsigned char>(pattern[at])) || (pattern[at] == ',' && at > digits)))
        ++at;
      if (at == digits || !next("}"))
        return fail("a count", here());
      if (at < pattern.size() && pattern[at] == '?')
        ++at;
    }
    out += pattern.substr(start, at - start);
    if (at > start)
      word.clear();
  }

  std::string_view pattern;
  size_t at = 0;
  std::string out, failure;
  std::string word;           // letters that follow one another inside (?i: )
  std::vector<bool> caseless; // of each open group
};

} // namespace

Result<std::string> translateSplitPattern(std::string_view pattern) { return Translator(pattern).run(); }

} // namespace qwench::hf
