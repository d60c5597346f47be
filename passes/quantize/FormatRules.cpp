#include "passes/quantize/FormatRules.h"

#include "dialects/quantization/names.h"

using namespace mlir;

namespace qwench {

namespace {

/// The parts between commas that no braces surround.
std::vector<StringRef> splitRules(StringRef text) {
  std::vector<StringRef> parts;
  size_t begin = 0, depth = 0;
  for (size_t at = 0; at <= text.size(); ++at) {
    if (at == text.size() || (text[at] == ',' && depth == 0)) {
      if (StringRef part = text.slice(begin, at).trim(); !part.empty())
        parts.push_back(part);
      begin = at + 1;
    } else if (text[at] == '{') {
      ++depth;
    } else if (text[at] == '}' && depth > 0) {
      --depth;
    }
  }
  return parts;
}

constexpr size_t kMostAlternatives = 1024; ///< of one pattern, braces expanded

} // namespace

Result<std::vector<FormatRule>> parseFormatRules(MLIRContext *context, StringRef text, int64_t group) {
  std::vector<FormatRule> rules;
  for (StringRef part : splitRules(text)) {
    auto [pattern, format] = part.rsplit('=');
    if (format.data() == nullptr || pattern.empty() || pattern.size() == part.size())
      return userError("expected PATTERN=FORMAT, found '" + part.str() + "'");
    Result<Type> element = quantization::parseElement(context, {format.data(), format.size()}, group);
    if (!element)
      return userError(part.str() + ": " + element.error().message);
    llvm::Expected<llvm::GlobPattern> glob = llvm::GlobPattern::create(pattern, kMostAlternatives);
    if (!glob)
      return userError(part.str() + ": expected a pattern, found '" + pattern.str() +
                       "': " + llvm::toString(glob.takeError()));
    rules.push_back({part.str(), std::move(*glob), *element});
  }
  return rules;
}

bool takes(const FormatRule &rule, StringRef name) {
  StringRef shorter = name, inner = name;
  shorter.consume_back(".weight");
  inner.consume_front("model.");
  StringRef both = inner;
  both.consume_back(".weight");
  for (StringRef candidate : {name, shorter, inner, both})
    if (rule.pattern.match(candidate))
      return true;
  return false;
}

} // namespace qwench
