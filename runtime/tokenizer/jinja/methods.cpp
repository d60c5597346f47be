// Methods of texts, dictionaries and lists, as in Python.
#include "runtime/tokenizer/jinja/builtins.h"

#include "runtime/tokenizer/unicode.h"

#include <algorithm>
#include <utf8proc.h>

namespace qwench::jinja {
namespace {

constexpr std::string_view kMethods[] = {
    "startswith", "endswith", "split",  "rsplit", "splitlines", "strip",        "lstrip",       "rstrip",
    "replace",    "upper",    "lower",  "title",  "capitalize", "find",         "count",        "join",
    "items",      "keys",     "values", "get",    "cycle",      "removeprefix", "removesuffix",
};

Value wrongArguments(Context &context, std::string_view name) {
  return context.fail("method " + std::string(name) + ": unexpected arguments");
}

Value affix(Context &context, const std::string &text, std::string_view name, const Arguments &arguments) {
  const bool front = name == "startswith";
  const Value *wanted = arguments.positional.empty() ? nullptr : &arguments.positional[0];
  std::vector<Value> options;
  if (wanted && wanted->string())
    options.push_back(*wanted);
  else if (wanted && wanted->list() && wanted->list()->tuple)
    options = wanted->list()->items;
  else
    return wrongArguments(context, name);
  for (const Value &option : options)
    if (const std::string *s = option.string(); !s)
      return wrongArguments(context, name);
    else if (front ? text.starts_with(*s) : text.ends_with(*s))
      return true;
  return false;
}

std::vector<Value> splitAtSpace(std::string_view text, int64_t most) {
  std::vector<Value> parts;
  for (text = strip(text, true, false); !text.empty(); text = strip(text, true, false)) {
    if (most >= 0 && static_cast<int64_t>(parts.size()) == most) {
      parts.emplace_back(std::string(strip(text, false, true)));
      break;
    }
    size_t end = 0;
    while (end < text.size() && !isPythonSpace(utf8Step(text.substr(end)).character))
      end += utf8Step(text.substr(end)).bytes;
    parts.emplace_back(std::string(text.substr(0, end)));
    text.remove_prefix(end);
  }
  return parts;
}

Value split(Context &context, const std::string &text, std::string_view name, const Arguments &arguments) {
  const Value *separator = arguments.find(0, "sep"), *limit = arguments.find(1, "maxsplit");
  int64_t most = -1;
  if (limit) {
    if (!limit->integer())
      return wrongArguments(context, name);
    most = *limit->integer();
  }
  const bool bySpace = !separator || separator->isNone();
  if (bySpace && name == "split")
    return Value::list(splitAtSpace(text, most));
  if (bySpace || !separator->string() || separator->string()->empty())
    return wrongArguments(context, name);
  const std::string &mark = *separator->string();
  std::vector<Value> parts;
  std::string_view rest = text;
  const bool front = name == "split";
  while (most < 0 || static_cast<int64_t>(parts.size()) < most) {
    const size_t found = front ? rest.find(mark) : rest.rfind(mark);
    if (found == rest.npos)
      break;
    parts.emplace_back(std::string(front ? rest.substr(0, found) : rest.substr(found + mark.size())));
    rest = front ? rest.substr(found + mark.size()) : rest.substr(0, found);
  }
  parts.emplace_back(std::string(rest));
  if (!front)
    std::reverse(parts.begin(), parts.end());
  return Value::list(std::move(parts));
}

Value splitLines(const std::string &text) {
  std::vector<Value> lines;
  std::string current;
  const std::vector<std::string_view> pieces = characters(text);
  for (size_t i = 0; i < pieces.size(); ++i) {
    const uint32_t c = utf8Step(pieces[i]).character;
    const bool ends =
        (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (!ends) {
      current += pieces[i];
      continue;
    }
    i += c == '\r' && i + 1 < pieces.size() && pieces[i + 1] == "\n";
    lines.emplace_back(std::move(current));
    current.clear();
  }
  if (!current.empty())
    lines.emplace_back(std::move(current));
  return Value::list(std::move(lines));
}

Value join(Context &context, const std::string &text, const Value &list) {
  const auto items = iterate(list);
  if (!items || list.isUndefined())
    return wrongArguments(context, "join");
  std::string out;
  for (size_t i = 0; i < items->size(); ++i) {
    if (!(*items)[i].string())
      return context.fail("method join: expected texts, found " + std::string((*items)[i].typeName()));
    out += (i ? text : "") + *(*items)[i].string();
    if (out.size() > kMaxTextBytes)
      return context.fail("method join: the text is too long");
  }
  return out;
}

// Methods whose arguments are texts: a first one, maybe a second one, maybe a count.
Value textMethod(Context &context, const std::string &text, std::string_view name,
                 const Arguments &arguments) {
  const auto &given = arguments.positional;
  const bool counted = name == "replace" && given.size() == 3 && given[2].integer();
  const size_t texts = name == "replace" ? 2 : 1;
  if (!arguments.named.empty() || given.size() != texts + counted)
    return wrongArguments(context, name);
  for (size_t i = 0; i < texts; ++i)
    if (!given[i].string())
      return context.fail("method " + std::string(name) + ": expected a text, found " +
                          std::string(given[i].typeName()));
  const std::string &first = *given[0].string();
  if (name == "replace") {
    std::string out = replaceText(text, first, *given[1].string(), counted ? *given[2].integer() : -1);
    return out.size() > kMaxTextBytes ? context.fail("method replace: the text is too long")
                                      : Value(std::move(out));
  }
  if (name == "removeprefix")
    return text.starts_with(first) ? text.substr(first.size()) : text;
  if (name == "removesuffix")
    return text.ends_with(first) ? text.substr(0, text.size() - first.size()) : text;
  if (name == "find") {
    const size_t found = text.find(first);
    return found == text.npos ? Value(int64_t{-1}) : Value(*length(Value(text.substr(0, found))));
  }
  int64_t count = 0; // name is "count"
  if (first.empty())
    return *length(Value(text)) + 1;
  for (size_t at = text.find(first); at != text.npos; at = text.find(first, at + first.size()))
    ++count;
  return count;
}

Value callOnText(Context &context, const std::string &text, std::string_view name,
                 const Arguments &arguments) {
  const auto &given = arguments.positional;
  if (name == "startswith" || name == "endswith")
    return affix(context, text, name, arguments);
  if (name == "split" || name == "rsplit")
    return split(context, text, name, arguments);
  if (name == "join")
    return given.size() == 1 ? join(context, text, given[0]) : wrongArguments(context, name);
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    const bool all = given.empty() || given[0].isNone();
    if (given.size() > 1 || !arguments.named.empty() || (!all && !given[0].string()))
      return wrongArguments(context, name);
    return std::string(strip(text, name != "rstrip", name != "lstrip", all ? nullptr : given[0].string()));
  }
  for (const std::string_view known : {"replace", "find", "count", "removeprefix", "removesuffix"})
    if (name == known)
      return textMethod(context, text, name, arguments);
  if (!given.empty() || !arguments.named.empty())
    return wrongArguments(context, name);
  if (name == "upper")
    return upperCase(text);
  if (name == "lower")
    return lowerCase(text);
  if (name == "title")
    return titleCase(text);
  if (name == "capitalize")
    return capitalize(text);
  if (name == "splitlines")
    return splitLines(text);
  return context.fail("a text has no method " + std::string(name));
}

Value callOnDict(Context &context, const Dict &dict, std::string_view name, const Arguments &arguments) {
  const auto &given = arguments.positional;
  if (name == "get" && (given.size() == 1 || given.size() == 2)) {
    const Value *found = given[0].string() ? dict.find(*given[0].string()) : nullptr;
    return found ? *found : given.size() == 2 ? given[1] : Value(None{});
  }
  if (name != "items" && name != "keys" && name != "values")
    return context.fail("a dict has no method " + std::string(name) + " with these arguments");
  if (!given.empty() || !arguments.named.empty())
    return wrongArguments(context, name);
  std::vector<Value> out;
  for (const auto &[key, value] : dict.entries)
    out.push_back(name == "keys"     ? Value(key)
                  : name == "values" ? value
                                     : Value::list({Value(key), value}, true));
  return Value::list(std::move(out));
}

template <typename F> std::string mapCharacters(std::string_view text, F &&map) {
  std::string out;
  for (const std::string_view piece : characters(text))
    appendUtf8(out, static_cast<uint32_t>(map(static_cast<utf8proc_int32_t>(utf8Step(piece).character))));
  return out;
}

} // namespace

bool isMethod(std::string_view name) {
  return std::find(std::begin(kMethods), std::end(kMethods), name) != std::end(kMethods);
}

// Characters map one to one, but for the sharp s; Python knows some more ligatures that become several
// capitals.
std::string upperCase(const std::string &text) {
  return mapCharacters(replaceText(text, "\u00df", "SS", -1), utf8proc_toupper);
}
std::string lowerCase(const std::string &text) { return mapCharacters(text, utf8proc_tolower); }

std::string capitalize(const std::string &text) {
  bool first = true;
  return mapCharacters(text, [&](utf8proc_int32_t c) {
    return std::exchange(first, false) ? utf8proc_totitle(c) : utf8proc_tolower(c);
  });
}

std::string titleCase(const std::string &text) {
  bool inWord = false;
  return mapCharacters(text, [&](utf8proc_int32_t c) {
    const utf8proc_category_t category = utf8proc_category(c);
    const bool cased = category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
                       category == UTF8PROC_CATEGORY_LT;
    const utf8proc_int32_t mapped = inWord ? utf8proc_tolower(c) : utf8proc_totitle(c);
    inWord = cased;
    return mapped;
  });
}

std::string replaceText(const std::string &text, const std::string &from, const std::string &to,
                        int64_t count) {
  std::string out;
  size_t at = 0;
  for (int64_t done = 0; (count < 0 || done < count) && out.size() <= kMaxTextBytes; ++done) {
    size_t found = text.find(from, at);
    if (from.empty() && done > 0) { // goes between all characters
      if (at >= text.size())
        break;
      found = at + utf8Step(std::string_view(text).substr(at)).bytes;
    }
    if (found == text.npos)
      break;
    out.append(text, at, found - at);
    out += to;
    at = found + from.size();
  }
  return out.append(text, at);
}

Value callMethod(Context &context, const Value &object, std::string_view name, const Arguments &arguments) {
  if (const std::string *text = object.string())
    return callOnText(context, *text, name, arguments);
  if (const Dict *dict = object.dict())
    return callOnDict(context, *dict, name, arguments);
  if (const List *list = object.list(); list && name == "count" && arguments.positional.size() == 1)
    return static_cast<int64_t>(std::count_if(list->items.begin(), list->items.end(), [&](const Value &item) {
      return equal(item, arguments.positional[0]);
    }));
  if (const auto *loop = object.get<std::shared_ptr<const Loop>>();
      loop && name == "cycle" && !arguments.positional.empty())
    return arguments.positional[(*loop)->index0 % arguments.positional.size()];
  if (const Undefined *undefined = object.get<Undefined>())
    return context.fail("'" + undefined->name + "' is undefined, and has no method " + std::string(name));
  return context.fail("a value of type " + std::string(object.typeName()) + " has no method " +
                      std::string(name) + " with these arguments");
}

} // namespace qwench::jinja
