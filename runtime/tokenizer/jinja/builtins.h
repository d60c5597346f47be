// The filters, tests, functions and methods that templates can use.
#pragma once

#include "runtime/abi/result.h"
#include "runtime/tokenizer/jinja/value.h"

#include <optional>

namespace qwench::jinja {

/// Arguments of a call.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  /// The argument at a place or of a name, or null.
  const Value *find(size_t place, std::string_view name) const;
};

/// Remembers the first thing that went wrong; after that, values mean nothing.
class Context {
public:
  int line = 1; ///< of what is being evaluated
  std::optional<Error> error;

  /// Notes the error, with the line.
  Value fail(const std::string &message);
};

/// Longest text and list that a template may make.
constexpr size_t kMaxTextBytes = size_t{64} << 20;
constexpr int64_t kMaxRange = 100000; // as Jinja's sandbox

bool isFilter(std::string_view name);
bool isTest(std::string_view name);
bool isFunction(std::string_view name);
bool isMethod(std::string_view name);

Value callFilter(Context &context, std::string_view name, const Value &input, const Arguments &arguments);
bool callTest(Context &context, std::string_view name, const Value &input, const Arguments &arguments);
Value callFunction(Context &context, std::string_view name, const Arguments &arguments);
Value callMethod(Context &context, const Value &object, std::string_view name, const Arguments &arguments);

/// str.replace(from, to, count); count < 0: all.
std::string replaceText(const std::string &text, const std::string &from, const std::string &to,
                        int64_t count);
std::string upperCase(const std::string &text);
std::string lowerCase(const std::string &text);
std::string capitalize(const std::string &text);
std::string titleCase(const std::string &text);

} // namespace qwench::jinja
