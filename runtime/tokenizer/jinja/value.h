// Values of the template language: those of JSON, and what templates make.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace qwench::jinja {

struct Value;
struct Statement;

struct Undefined {
  std::string name; ///< what was looked up, for messages
};
struct None {};

/// How deep a value nests, and about how many bytes it takes to write it: what templates may make is bounded
/// by both.
struct Extent {
  uint32_t depth = 0;
  uint64_t bytes = 1;
  void include(const Extent &inner);
};

struct List {
  std::vector<Value> items;
  bool tuple = false;
  Extent extent;
};

/// Keeps the order in which keys came. Keys are strings, as in JSON.
struct Dict {
  std::vector<std::pair<std::string, Value>> entries;
  Extent extent;
  const Value *find(std::string_view key) const;
  void set(std::string_view key, Value value);
  void append(std::string key, Value value); ///< of a key that is not there yet
};

/// What `loop` knows in one round of a for statement.
struct Loop {
  int64_t index0, depth;
  std::shared_ptr<const List> items;
};

struct Namespace {
  Dict attributes;
};

struct Value {
  using Data =
      std::variant<Undefined, None, bool, int64_t, double, std::string, std::shared_ptr<const List>,
                   std::shared_ptr<const Dict>, std::shared_ptr<Namespace>, std::shared_ptr<const Loop>,
                   const Statement *>; // the last: a macro
  Data data;

  Value() = default;
  template <typename T>
    requires std::is_constructible_v<Data, T>
  Value(T &&value) : data(std::forward<T>(value)) {}
  Value(const char *text) : data(std::string(text)) {}
  static Value list(std::vector<Value> items, bool tuple = false);

  template <typename T> const T *get() const { return std::get_if<T>(&data); }
  const List *list() const;
  const Dict *dict() const;
  const std::string *string() const { return get<std::string>(); }
  bool isUndefined() const { return get<Undefined>() != nullptr; }
  bool isNone() const { return get<None>() != nullptr; }
  /// Value of an integer, or of a boolean as Python counts with it.
  std::optional<int64_t> integer() const;
  /// The same of any number.
  std::optional<double> number() const;

  /// Namespaces, loops and macros count as deeper than anything may nest, so that nothing can contain itself.
  Extent extent() const;

  /// Python's name of the type, for messages.
  std::string_view typeName() const;
};

bool truth(const Value &value);
bool equal(const Value &a, const Value &b);
/// -1, 0, 1, or nothing if Python does not order these two.
std::optional<int> compare(const Value &a, const Value &b);
/// Items, characters or keys; nothing if the value has no length.
std::optional<int64_t> length(const Value &value);
/// What a for statement goes over: items, keys, characters; nothing if the value cannot be iterated.
std::optional<std::vector<Value>> iterate(const Value &value);
/// Whether `container` has `item`; nothing if it cannot be asked.
std::optional<bool> contains(const Value &container, const Value &item);

/// Python's str() and repr().
std::string toText(const Value &value);
std::string toRepr(const Value &value);
/// Python's json.dumps(value, ensure_ascii=False, indent=indent); indent < 0: on one line. Nothing if there
/// is a value inside that JSON does not have.
std::optional<std::string> toJson(const Value &value, int indent);

/// Python's notion of white space in a str.
bool isPythonSpace(uint32_t character);
/// str.strip(), lstrip(), rstrip(): of white space, or of the characters in *characters.
std::string_view strip(std::string_view text, bool left, bool right, const std::string *characters = nullptr);
/// The characters of a text, each as a text.
std::vector<std::string_view> characters(std::string_view text);

} // namespace qwench::jinja
