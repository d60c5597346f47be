#include "runtime/tokenizer/jinja/lexer.h"

#include "runtime/tokenizer/jinja/value.h"
#include "runtime/tokenizer/unicode.h"

#include <algorithm>

namespace qwench::jinja {
namespace {

using Kind = Token::Kind;

bool isNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool isDigit(char c) { return c >= '0' && c <= '9'; }

// Line ends become \n; the last one of the template goes.
std::string normalizeLineEnds(std::string_view source) {
  std::string text;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      text += '\n';
      i += i + 1 < source.size() && source[i + 1] == '\n';
    } else {
      text += source[i];
    }
  }
  if (text.ends_with('\n'))
    text.pop_back();
  return text;
}

class Lexer {
public:
  explicit Lexer(std::string source) : source(std::move(source)) {}

  Result<std::vector<Token>> run() {
    while (at < source.size() && !failed)
      text();
    if (failed)
      return templateError(line, failure);
    add(Kind::End, "");
    return std::move(tokens);
  }

private:
  std::string_view rest() const { return std::string_view(source).substr(at); }

  void add(Kind kind, std::string text) { tokens.push_back({kind, std::move(text), line}); }

  void fail(std::string message) {
    failed = true;
    failure = std::move(message);
  }

  void advance(size_t bytes) {
    line += static_cast<int>(std::count(source.begin() + at, source.begin() + at + bytes, '\n'));
    at += bytes;
  }

  void skipSpace() { advance(rest().size() - strip(rest(), true, false).size()); }

  // Text up to the next tag, and the tag.
  void text() {
    size_t open = at;
    for (;; ++open) {
      open = source.find('{', open);
      if (open == source.npos || open + 1 == source.size()) {
        open = source.size();
        break;
      }
      if (const char c = source[open + 1]; c == '%' || c == '{' || c == '#')
        break;
    }
    std::string_view before = std::string_view(source).substr(at, open - at);
    const char kind = open < source.size() ? source[open + 1] : '\0';
    const char control = open + 2 < source.size() ? source[open + 2] : '\0';
    if (kind && control == '-') {
      before = strip(before, false, true);
    } else if (kind && kind != '{' && control != '+') {
      const size_t lineStart = before.rfind('\n') + 1; // npos + 1 is 0
      if ((lineStart > 0 || lineStarts) && strip(before.substr(lineStart), true, false).empty())
        before = before.substr(0, lineStart);
    }
    if (!before.empty())
      add(Kind::Text, std::string(before));
    advance(open - at);
    if (!kind)
      return;
    advance(control == '-' || control == '+' ? 3 : 2);
    if (kind == '#')
      comment();
    else if (kind == '%' && isRaw())
      raw();
    else
      tag(kind == '%');
  }

  // The end of a block or comment tag that is due here ("%}", "#}"); with what goes after it.
  bool blockEnd(std::string_view close) {
    const bool strips = rest().starts_with('-') && rest().substr(1).starts_with(close);
    const bool keeps = rest().starts_with('+') && rest().substr(1).starts_with(close);
    if (!strips && !keeps && !rest().starts_with(close))
      return false;
    advance(close.size() + (strips || keeps));
    if (strips)
      skipSpace();
    else if (!keeps && rest().starts_with('\n'))
      advance(1);
    lineStarts = source[at - 1] == '\n';
    return true;
  }

  void comment() {
    const size_t end = source.find("#}", at);
    if (end == source.npos)
      return fail("expected #} at the end of a comment, found the end of the template");
    const char control = end > at ? source[end - 1] : '\0';
    advance(end - at - (control == '-' || control == '+'));
    blockEnd("#}");
  }

  bool isRaw() const {
    const std::string_view inside = strip(rest(), true, false);
    if (!inside.starts_with("raw"))
      return false;
    const std::string_view after = strip(inside.substr(3), true, false);
    return after.starts_with("%}") || after.starts_with("-%}");
  }

  void raw() {
    skipSpace();
    advance(3);
    skipSpace();
    const bool stripsFirst = rest().starts_with('-');
    advance(stripsFirst ? 3 : 2);
    if (stripsFirst)
      skipSpace();
    for (size_t open = source.find("{%", at); open != source.npos; open = source.find("{%", open + 2)) {
      size_t inner = open + 2;
      const char control = inner < source.size() ? source[inner] : '\0';
      inner += control == '-' || control == '+';
      const std::string_view name = strip(std::string_view(source).substr(inner), true, false);
      if (!name.starts_with("endraw"))
        continue;
      std::string_view content = std::string_view(source).substr(at, open - at);
      if (control == '-')
        content = strip(content, false, true);
      else if (control != '+')
        if (const size_t lineStart = content.rfind('\n') + 1;
            lineStart > 0 && strip(content.substr(lineStart), true, false).empty())
          content = content.substr(0, lineStart);
      add(Kind::Text, std::string(content));
      advance(static_cast<size_t>(name.data() - source.data()) + 6 - at);
      skipSpace();
      if (!blockEnd("%}"))
        fail("expected %} after endraw");
      return;
    }
    fail("expected {% endraw %}, found the end of the template");
  }

  void tag(bool block) {
    add(block ? Kind::BlockBegin : Kind::OutputBegin, "");
    int nesting = 0; // of brackets: }} inside them closes dictionaries
    while (!failed) {
      skipSpaceInTag();
      if (at == source.size())
        return fail(std::string("expected ") + (block ? "%}" : "}}") + ", found the end of the template");
      if (nesting == 0 && block && blockEnd("%}"))
        return add(Kind::BlockEnd, "");
      if (nesting == 0 && !block && (rest().starts_with("}}") || rest().starts_with("-}}"))) {
        const bool strips = source[at] == '-';
        advance(strips ? 3 : 2);
        if (strips)
          skipSpace();
        lineStarts = source[at - 1] == '\n';
        return add(Kind::OutputEnd, "");
      }
      token(nesting);
    }
  }

  // Inside tags the pieces are ASCII; other characters stand in strings.
  void skipSpaceInTag() {
    size_t bytes = 0;
    while (at + bytes < source.size() &&
           std::string_view(" \t\n\v\f").find(source[at + bytes]) != std::string_view::npos)
      ++bytes;
    advance(bytes);
  }

  void token(int &nesting) {
    const char c = source[at];
    if (isNameStart(c)) {
      size_t end = at;
      while (end < source.size() && (isNameStart(source[end]) || isDigit(source[end])))
        ++end;
      add(Kind::Name, source.substr(at, end - at));
      return advance(end - at);
    }
    if (isDigit(c))
      return number();
    if (c == '\'' || c == '"')
      return string(c);
    for (const std::string_view op : {"//", "**", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<",
                                      ">",  "=",  ".",  ",",  ":",  "|",  "(", ")", "[", "]", "{", "}"})
      if (rest().starts_with(op)) {
        nesting += op == "(" || op == "[" || op == "{";
        nesting -= op == ")" || op == "]" || op == "}";
        if (nesting < 0)
          return fail("expected an open bracket before '" + std::string(op) + "'");
        add(Kind::Operator, std::string(op));
        return advance(op.size());
      }
    fail("expected a name, number, text or operator, found '" +
         std::string(rest().substr(0, utf8Step(rest()).bytes)) + "'");
  }

  void number() {
    size_t end = at;
    std::string digits;
    const auto take = [&] {
      while (end < source.size() && (isDigit(source[end]) || (source[end] == '_' && end + 1 < source.size() &&
                                                              isDigit(source[end + 1])))) {
        if (source[end] != '_')
          digits += source[end];
        ++end;
      }
    };
    take();
    Kind kind = Kind::Integer;
    const bool afterDot = at > 0 && source[at - 1] == '.';
    if (!afterDot && end + 1 < source.size() && source[end] == '.' && isDigit(source[end + 1])) {
      kind = Kind::Float;
      digits += source[end++];
      take();
    }
    if (!afterDot && end < source.size() && (source[end] == 'e' || source[end] == 'E')) {
      size_t exponent = end + 1;
      exponent += exponent < source.size() && (source[exponent] == '+' || source[exponent] == '-');
      if (exponent < source.size() && isDigit(source[exponent])) {
        kind = Kind::Float;
        digits += source.substr(end, exponent - end);
        end = exponent;
        take();
      }
    }
    if (end < source.size() && isNameStart(source[end]))
      return fail("expected a decimal number, found '" +
                  source.substr(at, std::min<size_t>(end - at + 8, 20)) + "'");
    add(kind, digits);
    advance(end - at);
  }

  void string(char quote) {
    std::string value;
    size_t i = at + 1;
    while (i < source.size() && source[i] != quote) {
      if (source[i] != '\\') {
        value += source[i++];
        continue;
      }
      if (!escape(i, value))
        return fail("expected an escape that Python has, found '" + source.substr(i, 4) + "'");
    }
    if (i >= source.size())
      return fail("expected the end of a text, found the end of the template");
    add(Kind::String, value);
    advance(i + 1 - at);
  }

  // One escape sequence at `i`, as Python's unicode-escape reads it; unknown ones keep their backslash.
  bool escape(size_t &i, std::string &value) const {
    if (i + 1 >= source.size())
      return ++i, true; // the missing quote is reported
    const char c = source[i + 1];
    constexpr std::string_view plain = "\\'\"abfnrtv\n", meaning = "\\'\"\a\b\f\n\r\t\v";
    if (const size_t known = plain.find(c); known != plain.npos) {
      if (known < meaning.size())
        value += meaning[known];
      i += 2;
      return true;
    }
    const size_t wanted = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : c >= '0' && c <= '7' ? 3 : 0;
    if (c == 'N')
      return false;
    if (wanted == 0) {
      value += '\\';
      ++i;
      return true;
    }
    const bool octal = wanted == 3;
    size_t from = i + (octal ? 1 : 2), digits = 0;
    uint32_t character = 0;
    for (; digits < wanted && from + digits < source.size(); ++digits) {
      const char d = source[from + digits];
      const int digit = isDigit(d) ? d - '0' : (d | 32) >= 'a' && (d | 32) <= 'f' ? (d | 32) - 'a' + 10 : 99;
      if (digit >= (octal ? 8 : 16))
        break;
      character = character * (octal ? 8 : 16) + static_cast<uint32_t>(digit);
    }
    if ((!octal && digits != wanted) || character > 0x10FFFF || (character >= 0xD800 && character < 0xE000))
      return false;
    appendUtf8(value, character);
    i = from + digits;
    return true;
  }

  const std::string source;
  size_t at = 0;
  int line = 1;
  bool lineStarts = true; // the text after the last tag starts a line
  bool failed = false;
  std::string failure;
  std::vector<Token> tokens;
};

} // namespace

Error templateError(int line, const std::string &message) {
  std::string text = message.substr(0, 500); // a template may say much
  text.resize(validUtf8Prefix(text));
  std::replace_if(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x20; }, ' ');
  return userError("chat template, line " + std::to_string(line) + ": " + text);
}

Result<std::vector<Token>> tokenize(std::string_view source) {
  if (validUtf8Prefix(source) != source.size())
    return templateError(1, "expected UTF-8");
  return Lexer(normalizeLineEnds(source)).run();
}

} // namespace qwench::jinja
