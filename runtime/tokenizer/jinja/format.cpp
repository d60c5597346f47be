// What values look like and how they compare, as in Python.
#include "runtime/tokenizer/jinja/value.h"

#include "runtime/tokenizer/unicode.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utf8proc.h>

namespace qwench::jinja {
namespace {

std::string hex(uint32_t value, int digits) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (int i = digits - 1; i >= 0; --i)
    text += kDigits[value >> (4 * i) & 15];
  return text;
}

// repr() of a float: the shortest digits that read back the same, with an exponent below 1e-4 and from 1e16
// on.
std::string floatRepr(double value) {
  if (std::isnan(value))
    return "nan";
  if (std::isinf(value))
    return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const char *end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const std::string text(static_cast<const char *>(buffer), end);
  const size_t mark = text.find('e');
  const int exponent = std::stoi(text.substr(mark + 1));
  std::string digits = text.substr(0, mark);
  if (exponent < -4 || exponent >= 16)
    return text; // to_chars writes the exponent as Python does: a sign and two digits at least
  const std::string sign = digits.starts_with('-') ? "-" : "";
  std::erase_if(digits, [](char c) { return c == '-' || c == '.'; });
  if (exponent < 0)
    return sign + "0." + std::string(-exponent - 1, '0') + digits;
  const size_t whole = exponent + 1;
  if (digits.size() <= whole)
    return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

bool isPrintable(uint32_t c) {
  if (c == ' ')
    return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
  case UTF8PROC_CATEGORY_CC:
  case UTF8PROC_CATEGORY_CF:
  case UTF8PROC_CATEGORY_CS:
  case UTF8PROC_CATEGORY_CO:
  case UTF8PROC_CATEGORY_CN:
  case UTF8PROC_CATEGORY_ZL:
  case UTF8PROC_CATEGORY_ZP:
  case UTF8PROC_CATEGORY_ZS:
    return false;
  default:
    return true;
  }
}

std::string stringRepr(const std::string &text) {
  const bool doubled = text.find('\'') != text.npos && text.find('"') == text.npos;
  const char quote = doubled ? '"' : '\'';
  std::string out(1, quote);
  for (const std::string_view piece : characters(text)) {
    const uint32_t c = utf8Step(piece).character;
    if (c == '\\' || c == static_cast<uint32_t>(quote))
      out += '\\', out += static_cast<char>(c);
    else if (c == '\n')
      out += "\\n";
    else if (c == '\r')
      out += "\\r";
    else if (c == '\t')
      out += "\\t";
    else if (isPrintable(c))
      out += piece;
    else if (c < 0x100)
      out += "\\x" + hex(c, 2);
    else
      out += c < 0x10000 ? "\\u" + hex(c, 4) : "\\U" + hex(c, 8);
  }
  return out + quote;
}

std::string jsonString(const std::string &text) {
  std::string out = "\"";
  for (const char c : text) {
    constexpr std::string_view special = "\"\\\b\f\n\r\t", letter = "\"\\bfnrt";
    if (const size_t known = special.find(c); known != special.npos)
      out += '\\', out += letter[known];
    else if (static_cast<uint8_t>(c) < 0x20)
      out += "\\u" + hex(static_cast<uint8_t>(c), 4);
    else
      out += c;
  }
  return out + '"';
}

class JsonWriter {
public:
  explicit JsonWriter(int indent) : indent(indent) {}

  bool write(const Value &value, int depth) {
    if (value.isNone())
      out += "null";
    else if (const bool *b = value.get<bool>())
      out += *b ? "true" : "false";
    else if (const int64_t *i = value.get<int64_t>())
      out += std::to_string(*i);
    else if (const double *d = value.get<double>())
      out += std::isnan(*d) ? "NaN" : std::isinf(*d) ? (*d < 0 ? "-Infinity" : "Infinity") : floatRepr(*d);
    else if (const std::string *s = value.string())
      out += jsonString(*s);
    else if (const List *list = value.list())
      return writeAll('[', ']', list->items, depth,
                      [&](const Value &item) { return write(item, depth + 1); });
    else if (const Dict *dict = value.dict())
      return writeAll('{', '}', dict->entries, depth, [&](const auto &entry) {
        out += jsonString(entry.first) + ": ";
        return write(entry.second, depth + 1);
      });
    else
      return false;
    return true;
  }

  std::string out;

private:
  template <typename Items, typename F>
  bool writeAll(char open, char close, const Items &items, int depth, F &&writeItem) {
    out += open;
    bool first = true;
    for (const auto &item : items) {
      if (!first)
        out += indent < 0 ? ", " : ",";
      newLine(depth + 1);
      if (!writeItem(item))
        return false;
      first = false;
    }
    if (!first)
      newLine(depth);
    out += close;
    return true;
  }

  void newLine(int depth) {
    if (indent >= 0)
      out += "\n" + std::string(static_cast<size_t>(indent) * depth, ' ');
  }

  const int indent;
};

template <typename Items, typename F>
std::string joined(const char *open, const char *close, const Items &items, F &&show) {
  std::string out = open;
  for (size_t i = 0; i < items.size(); ++i)
    out += (i ? ", " : "") + show(items[i]);
  return out + close;
}

} // namespace

std::string toRepr(const Value &value) {
  if (const std::string *text = value.string())
    return stringRepr(*text);
  if (const List *list = value.list()) {
    const char *close = !list->tuple ? "]" : list->items.size() == 1 ? ",)" : ")";
    return joined(list->tuple ? "(" : "[", close, list->items, toRepr);
  }
  if (const Dict *dict = value.dict())
    return joined("{", "}", dict->entries,
                  [](const auto &entry) { return stringRepr(entry.first) + ": " + toRepr(entry.second); });
  if (value.isUndefined())
    return "Undefined";
  return toText(value);
}

std::string toText(const Value &value) {
  if (const std::string *text = value.string())
    return *text;
  if (value.isUndefined())
    return "";
  if (value.isNone())
    return "None";
  if (const bool *b = value.get<bool>())
    return *b ? "True" : "False";
  if (const int64_t *i = value.get<int64_t>())
    return std::to_string(*i);
  if (const double *d = value.get<double>())
    return floatRepr(*d);
  if (value.list() || value.dict())
    return toRepr(value);
  return "<" + std::string(value.typeName()) + ">";
}

std::optional<std::string> toJson(const Value &value, int indent) {
  JsonWriter writer(indent);
  if (!writer.write(value, 0))
    return std::nullopt;
  return std::move(writer.out);
}

bool truth(const Value &value) {
  if (value.isUndefined() || value.isNone())
    return false;
  if (const auto number = value.number())
    return *number != 0;
  if (const std::string *text = value.string())
    return !text->empty();
  if (const List *list = value.list())
    return !list->items.empty();
  if (const Dict *dict = value.dict())
    return !dict->entries.empty();
  return true;
}

bool equal(const Value &a, const Value &b) {
  if (a.number() && b.number())
    return a.integer() && b.integer() ? *a.integer() == *b.integer() : *a.number() == *b.number();
  if (a.string() && b.string())
    return *a.string() == *b.string();
  if (a.list() && b.list())
    return a.list()->tuple == b.list()->tuple &&
           std::equal(a.list()->items.begin(), a.list()->items.end(), b.list()->items.begin(),
                      b.list()->items.end(), equal);
  if (a.dict() && b.dict()) {
    if (a.dict()->entries.size() != b.dict()->entries.size())
      return false;
    for (const auto &[key, value] : a.dict()->entries)
      if (const Value *other = b.dict()->find(key); !other || !equal(value, *other))
        return false;
    return true;
  }
  if ((a.isNone() && b.isNone()) || (a.isUndefined() && b.isUndefined()))
    return true;
  if (const auto *left = a.get<std::shared_ptr<Namespace>>())
    if (const auto *right = b.get<std::shared_ptr<Namespace>>())
      return *left == *right;
  return false;
}

std::optional<int> compare(const Value &a, const Value &b) {
  if (a.integer() && b.integer())
    return (*a.integer() > *b.integer()) - (*a.integer() < *b.integer());
  if (a.number() && b.number())
    return (*a.number() > *b.number()) - (*a.number() < *b.number());
  if (a.string() && b.string()) { // UTF-8 sorts as code points do
    const int order = a.string()->compare(*b.string());
    return (order > 0) - (order < 0);
  }
  return std::nullopt;
}

std::optional<int64_t> length(const Value &value) {
  if (const std::string *text = value.string())
    return std::count_if(text->begin(), text->end(), [](char c) { return (c & 0xC0) != 0x80; });
  if (const List *list = value.list())
    return static_cast<int64_t>(list->items.size());
  if (const Dict *dict = value.dict())
    return static_cast<int64_t>(dict->entries.size());
  if (value.isUndefined())
    return 0;
  return std::nullopt;
}

std::optional<std::vector<Value>> iterate(const Value &value) {
  std::vector<Value> items;
  if (const List *list = value.list())
    return list->items;
  if (const Dict *dict = value.dict())
    for (const auto &[key, item] : dict->entries)
      items.emplace_back(key);
  else if (const std::string *text = value.string())
    for (const std::string_view character : characters(*text))
      items.emplace_back(std::string(character));
  else if (!value.isUndefined())
    return std::nullopt;
  return items;
}

std::optional<bool> contains(const Value &container, const Value &item) {
  if (const std::string *text = container.string()) {
    if (!item.string())
      return std::nullopt;
    return text->find(*item.string()) != text->npos;
  }
  if (const Dict *dict = container.dict())
    return item.string() && dict->find(*item.string());
  if (const List *list = container.list())
    return std::any_of(list->items.begin(), list->items.end(),
                       [&](const Value &v) { return equal(v, item); });
  if (container.isUndefined())
    return false;
  return std::nullopt;
}

bool isPythonSpace(uint32_t c) {
  return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> pieces;
  while (!text.empty()) {
    const size_t bytes = utf8Step(text).bytes;
    pieces.push_back(text.substr(0, bytes));
    text.remove_prefix(bytes);
  }
  return pieces;
}

std::string_view strip(std::string_view text, bool left, bool right, const std::string *set) {
  const auto goes = [&](std::string_view character) {
    return set ? set->find(character) != set->npos : isPythonSpace(utf8Step(character).character);
  };
  while (left && !text.empty()) {
    const size_t bytes = utf8Step(text).bytes;
    if (!goes(text.substr(0, bytes)))
      break;
    text.remove_prefix(bytes);
  }
  while (right && !text.empty()) {
    size_t last = text.size() - 1;
    while (last > 0 && (text[last] & 0xC0) == 0x80)
      --last;
    if (!goes(text.substr(last)))
      break;
    text = text.substr(0, last);
  }
  return text;
}

const Value *Dict::find(std::string_view key) const {
  for (const auto &entry : entries)
    if (entry.first == key)
      return &entry.second;
  return nullptr;
}

void Dict::set(std::string_view key, Value value) {
  for (auto &entry : entries)
    if (entry.first == key) {
      extent.include(value.extent());
      entry.second = std::move(value);
      return;
    }
  append(std::string(key), std::move(value));
}

void Dict::append(std::string key, Value value) {
  extent.include(value.extent());
  extent.bytes += key.size();
  entries.emplace_back(std::move(key), std::move(value));
}

void Extent::include(const Extent &inner) {
  depth = std::max(depth, inner.depth + 1);
  bytes += std::min(inner.bytes, UINT64_MAX / 4); // saturates far above any bound
  bytes = std::min(bytes, UINT64_MAX / 2);
}

Extent Value::extent() const {
  if (const std::string *text = string())
    return {0, 1 + text->size()};
  if (const List *inner = list())
    return inner->extent;
  if (const Dict *inner = dict())
    return inner->extent;
  const bool plain = isUndefined() || isNone() || number();
  return {plain ? 0u : 1u << 30, 1};
}

Value Value::list(std::vector<Value> items, bool tuple) {
  Extent extent;
  for (const Value &item : items)
    extent.include(item.extent());
  return std::shared_ptr<const List>(std::make_shared<List>(List{std::move(items), tuple, extent}));
}

const List *Value::list() const {
  const auto *pointer = get<std::shared_ptr<const List>>();
  return pointer ? pointer->get() : nullptr;
}

const Dict *Value::dict() const {
  const auto *pointer = get<std::shared_ptr<const Dict>>();
  return pointer ? pointer->get() : nullptr;
}

std::optional<int64_t> Value::integer() const {
  if (const int64_t *i = get<int64_t>())
    return *i;
  if (const bool *b = get<bool>())
    return *b;
  return std::nullopt;
}

std::optional<double> Value::number() const {
  if (const double *d = get<double>())
    return *d;
  if (const auto i = integer())
    return static_cast<double>(*i);
  return std::nullopt;
}

std::string_view Value::typeName() const {
  constexpr std::string_view names[] = {"undefined", "None", "bool",      "int",  "float", "str",
                                        "list",      "dict", "namespace", "loop", "macro"};
  return names[data.index()];
}

} // namespace qwench::jinja
