// JSON from outside, read with suspicion. For the .cpp files of this directory only: it drags in nlohmann's
// header.
#pragma once

#include "runtime/abi/result.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace qwench::hf {

using Json = nlohmann::json;

/// Parses a text. Fails on malformed JSON, on a key that an object names twice, and on nesting deeper
/// than 64.
Result<Json> parseJson(std::string_view text, std::string_view where);

/// Reads a whole file of at most maxBytes.
Result<std::string> readTextFile(const std::string &path, uint64_t maxBytes);

/// "7", "\"seven\"", "null": a value as an error message shows it, cut short if it is long.
std::string show(const Json &value);

/// Reads the keys of one object. The first error sticks and makes later reads return their defaults, so that
/// callers read everything first and look at status() once. Remembers which keys were asked for.
class ObjectReader {
public:
  /// `prefix` stands before key names in messages: "rope_scaling.".
  ObjectReader(const Json &object, std::string_view where, std::string prefix = "");

  /// Whether the key is there with a value other than null. Marks it as read.
  bool has(const std::string &key);
  /// Whether the key is there with the value null. Does not mark it as read.
  bool isNull(const std::string &key) const;
  /// The value, or nullptr if the key is absent or null. Marks it as read.
  const Json *value(const std::string &key);
  /// An absent key gives the default; null and other types are errors, as are values outside [low, high].
  int64_t integer(const std::string &key, int64_t otherwise, int64_t low, int64_t high);
  /// The same for a number above `above` and at most `high`.
  double number(const std::string &key, double otherwise, double above, double high);
  /// The same, but null counts as absent.
  std::optional<double> optionalNumber(const std::string &key, double above, double high);
  /// Null counts as absent.
  bool boolean(const std::string &key, bool otherwise);
  std::optional<std::string> string(const std::string &key);

  /// Records an error: "WHERE: MESSAGE".
  void fail(const std::string &message);
  /// Records "expected KEY EXPECTED, found VALUE".
  void failExpected(const std::string &key, const std::string &expected, const Json &found);
  /// Takes over the error of a reader of a part.
  void adopt(Error other) {
    if (!error)
      error = std::move(other);
  }
  bool failed() const { return error.has_value(); }
  /// The first error, or ok().
  Status status() const;

  void markRead(const std::string &key) { read.insert(key); }
  /// Keys nobody has asked for.
  std::vector<std::string> unread() const;
  std::string name(const std::string &key) const { return prefix + key; }

private:
  const Json &object;
  std::string where, prefix;
  std::set<std::string> read;
  std::optional<Error> error;
};

/// Token ids given as one number, a list or null. Ids outside [0, vocab) are dropped with a warning.
std::vector<int64_t> readTokenIds(ObjectReader &reader, const std::string &key, int64_t vocab,
                                  std::string_view where, std::vector<std::string> &warnings);

} // namespace qwench::hf
