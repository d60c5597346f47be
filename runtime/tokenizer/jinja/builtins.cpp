// Filters, tests and functions, as Jinja 3.1 and transformers define them.
#include "runtime/tokenizer/jinja/builtins.h"

#include "runtime/tokenizer/jinja/lexer.h"
#include "runtime/tokenizer/jinja/operators.h"
#include "runtime/tokenizer/unicode.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace qwench::jinja {
namespace {

constexpr std::string_view kFilters[] = {
    "tojson", "length",     "count",   "trim",   "string", "first",      "last",
    "join",   "default",    "d",       "items",  "list",   "upper",      "lower",
    "title",  "capitalize", "replace", "int",    "float",  "abs",        "reverse",
    "safe",   "indent",     "map",     "select", "reject", "selectattr", "rejectattr",
};
constexpr std::string_view kTests[] = {
    "defined", "undefined", "none",     "string", "number", "integer", "float", "boolean",
    "mapping", "sequence",  "iterable", "true",   "false",  "odd",     "even",  "divisibleby",
    "in",      "eq",        "equalto",  "==",     "ne",     "!=",      "lt",    "<",
    "le",      "<=",        "gt",       ">",      "ge",     ">=",
};
constexpr std::string_view kFunctions[] = {"namespace", "raise_exception", "range", "dict"};

template <typename Names> bool has(const Names &names, std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

std::string typeOf(const Value &value) { return std::string(value.typeName()); }

// Filters of texts turn what they get into a text first.
Value textFilter(Context &context, std::string_view name, const Value &input, const Arguments &arguments) {
  const std::string text = toText(input);
  if (name == "trim") {
    const Value *set = arguments.find(0, "chars");
    if (set && !set->isNone() && !set->string())
      return context.fail("filter trim: expected a text, found " + typeOf(*set));
    return std::string(strip(text, true, true, set ? set->string() : nullptr));
  }
  if (name == "upper")
    return upperCase(text);
  if (name == "lower")
    return lowerCase(text);
  if (name == "capitalize")
    return capitalize(text);
  if (name == "title")
    return titleCase(text);
  if (name != "replace")
    return text; // string, safe
  const Value *from = arguments.find(0, "old"), *to = arguments.find(1, "new"),
              *count = arguments.find(2, "count");
  if (!from || !to || (count && !count->isNone() && !count->integer()))
    return context.fail("filter replace: expected two texts and maybe a count");
  std::string out =
      replaceText(text, toText(*from), toText(*to), count && count->integer() ? *count->integer() : -1);
  return out.size() > kMaxTextBytes ? context.fail("filter replace: the text is too long")
                                    : Value(std::move(out));
}

Value toJsonFilter(Context &context, const Value &input, const Arguments &arguments) {
  int64_t indent = -1;
  for (const auto &[name, value] : arguments.named)
    if (name == "indent" && value.integer() && *value.integer() >= 0 && *value.integer() <= 64)
      indent = *value.integer();
    else if (!(name == "ensure_ascii" && !truth(value)) && !(name != "ensure_ascii" && value.isNone()))
      return context.fail("filter tojson: argument " + name + " with this value is not supported");
  if (!arguments.positional.empty())
    return context.fail("filter tojson: expected arguments by name");
  std::optional<std::string> text = toJson(input, static_cast<int>(indent));
  return text ? Value(std::move(*text))
              : context.fail("filter tojson: JSON has no such value: " + toRepr(input));
}

Value joinFilter(Context &context, const std::vector<Value> &items, const Arguments &arguments) {
  const Value *separator = arguments.find(0, "d"), *name = arguments.find(1, "attribute");
  if (name && !name->isNone() && !name->string())
    return context.fail("filter join: expected the name of an attribute, found " + typeOf(*name));
  std::string out;
  for (size_t i = 0; i < items.size() && !context.error; ++i) {
    out += i && separator ? toText(*separator) : "";
    out += toText(name && name->string() ? attribute(context, items[i], *name->string()) : items[i]);
    if (out.size() > kMaxTextBytes)
      return context.fail("filter join: the text is too long");
  }
  return out;
}

Value indentFilter(Context &context, const std::string &text, const Arguments &arguments) {
  const Value *width = arguments.find(0, "width"), *first = arguments.find(1, "first"),
              *blank = arguments.find(2, "blank");
  std::string pad(4, ' ');
  if (width && width->string())
    pad = *width->string();
  else if (width && width->integer() && *width->integer() <= 1000)
    pad = std::string(static_cast<size_t>(std::max<int64_t>(0, *width->integer())), ' ');
  else if (width)
    return context.fail("filter indent: expected a width, found " + typeOf(*width));
  std::string out = first && truth(*first) ? pad : "";
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if (at > 0 && (end > at || (blank && truth(*blank))))
      out += pad;
    out.append(text, at, end - at + (end < text.size()));
    at = end + 1;
    if (out.size() > kMaxTextBytes)
      return context.fail("filter indent: the text is too long");
  }
  return out;
}

Value numberFilter(Context &context, std::string_view name, const Value &input, const Arguments &arguments) {
  if (name == "abs") {
    if (const auto i = input.integer(); i && *i != INT64_MIN)
      return *i < 0 ? -*i : *i;
    return input.get<double>() ? Value(std::fabs(*input.get<double>()))
                               : context.fail("filter abs: expected a number, found " + typeOf(input));
  }
  const Value *given = arguments.find(0, "default");
  const bool whole = name == "int";
  const Value otherwise = given ? *given : whole ? Value(int64_t{0}) : Value(0.0);
  std::optional<double> number = input.number();
  if (whole && input.integer())
    return *input.integer();
  if (const std::string *text = input.string()) {
    const std::string_view digits = strip(*text, true, true);
    int64_t integer = 0;
    if (const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), integer);
        whole && code == std::errc() && end == digits.data() + digits.size())
      return integer;
    double real = 0;
    const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), real);
    if (code == std::errc() && end == digits.data() + digits.size())
      number = real;
  }
  if (!number)
    return otherwise;
  if (!whole)
    return *number;
  return std::fabs(*number) < 9.2e18 ? Value(static_cast<int64_t>(*number)) : otherwise;
}

// map, select, reject, selectattr, rejectattr.
Value sequenceFilter(Context &context, std::string_view name, const std::vector<Value> &items,
                     const Arguments &arguments) {
  Arguments rest = arguments;
  const auto take = [&]() -> std::string {
    if (rest.positional.empty() || !rest.positional[0].string()) {
      context.fail("filter " + std::string(name) + ": expected a name as the first argument");
      return {};
    }
    std::string text = *rest.positional[0].string();
    rest.positional.erase(rest.positional.begin());
    return text;
  };
  std::vector<Value> out;
  if (name == "map") {
    const Value *attributeName = arguments.find(SIZE_MAX, "attribute");
    const Value *otherwise = arguments.find(SIZE_MAX, "default");
    if (attributeName && !attributeName->string())
      return context.fail("filter map: expected the name of an attribute, found " + typeOf(*attributeName));
    const std::string filter = attributeName ? "" : take();
    if (!context.error && !attributeName && (!isFilter(filter) || filter == "map"))
      return context.fail("filter map: filter '" + filter + "' is not supported");
    for (const Value &item : items) {
      if (context.error)
        break;
      Value mapped = attributeName ? attribute(context, item, *attributeName->string())
                                   : callFilter(context, filter, item, rest);
      out.push_back(mapped.isUndefined() && otherwise ? *otherwise : mapped);
    }
    return Value::list(std::move(out));
  }
  const bool byAttribute = name.ends_with("attr"), keep = name.starts_with("select");
  const std::string attributeName = byAttribute ? take() : "";
  const std::string test = rest.positional.empty() ? "" : take();
  if (!context.error && !test.empty() && !isTest(test))
    return context.fail("filter " + std::string(name) + ": test '" + test + "' is not supported");
  for (const Value &item : items) {
    if (context.error)
      break;
    const Value subject = byAttribute ? attribute(context, item, attributeName) : item;
    if ((test.empty() ? truth(subject) : callTest(context, test, subject, rest)) == keep)
      out.push_back(item);
  }
  return Value::list(std::move(out));
}

Value itemsFilter(Context &context, const Value &input) {
  if (input.isUndefined())
    return Value::list({});
  if (!input.dict())
    return context.fail("filter items: expected a dict, found " + typeOf(input));
  return callMethod(context, input, "items", {});
}

bool orderTest(Context &context, std::string_view name, const Value &a, const Value &b) {
  const auto order = compare(a, b);
  if (!order) {
    context.fail("cannot order " + typeOf(a) + " and " + typeOf(b));
    return false;
  }
  if (name == "lt" || name == "<")
    return *order < 0;
  if (name == "le" || name == "<=")
    return *order <= 0;
  if (name == "gt" || name == ">")
    return *order > 0;
  return *order >= 0;
}

Value range(Context &context, const Arguments &arguments) {
  int64_t bounds[3] = {0, 0, 1};
  const size_t count = arguments.positional.size();
  if (count < 1 || count > 3 || !arguments.named.empty())
    return context.fail("range: expected one to three numbers");
  for (size_t i = 0; i < count; ++i) {
    const auto number = arguments.positional[i].integer();
    if (!number || std::abs(*number) > (int64_t{1} << 40))
      return context.fail("range: expected numbers, found " + toRepr(arguments.positional[i]));
    bounds[count == 1 ? 1 : i] = *number;
  }
  const auto [start, stop, step] = bounds;
  if (step == 0)
    return context.fail("range: expected a step other than 0");
  const int64_t rounds = step > 0 ? (stop - start + step - 1) / step : (start - stop - step - 1) / -step;
  if (rounds > kMaxRange)
    return context.fail("range: expected at most " + std::to_string(kMaxRange) + " numbers, found " +
                        std::to_string(rounds));
  std::vector<Value> numbers;
  for (int64_t i = 0; i < rounds; ++i)
    numbers.emplace_back(start + i * step);
  return Value::list(std::move(numbers));
}

} // namespace

bool isFilter(std::string_view name) { return has(kFilters, name); }
bool isTest(std::string_view name) { return has(kTests, name); }
bool isFunction(std::string_view name) { return has(kFunctions, name); }

const Value *Arguments::find(size_t place, std::string_view name) const {
  if (place < positional.size())
    return &positional[place];
  for (const auto &[key, value] : named)
    if (key == name)
      return &value;
  return nullptr;
}

Value Context::fail(const std::string &message) {
  if (!error)
    error = templateError(line, message);
  return {};
}

Value callFilter(Context &context, std::string_view name, const Value &input, const Arguments &arguments) {
  if (name == "tojson")
    return toJsonFilter(context, input, arguments);
  for (const std::string_view known :
       {"trim", "string", "safe", "upper", "lower", "title", "capitalize", "replace"})
    if (name == known)
      return textFilter(context, name, input, arguments);
  if (name == "int" || name == "float" || name == "abs")
    return numberFilter(context, name, input, arguments);
  if (name == "indent")
    return indentFilter(context, toText(input), arguments);
  if (name == "items")
    return itemsFilter(context, input);
  if (name == "default" || name == "d") {
    const Value *otherwise = arguments.find(0, "default_value"), *falsy = arguments.find(1, "boolean");
    const bool missing = input.isUndefined() || (falsy && truth(*falsy) && !truth(input));
    return !missing ? input : otherwise ? *otherwise : Value("");
  }
  if (name == "length" || name == "count") {
    const auto size = length(input);
    return size ? Value(*size) : context.fail("filter length: " + typeOf(input) + " has no length");
  }
  if (name == "reverse" && input.string()) {
    std::string out;
    for (const std::string_view character : characters(*input.string()))
      out.insert(0, character);
    return out;
  }
  auto items = iterate(input);
  if (!items)
    return context.fail("filter " + std::string(name) + ": cannot go over " + typeOf(input));
  if (name == "join")
    return joinFilter(context, *items, arguments);
  if (name == "first" || name == "last") {
    if (items->empty())
      return Undefined{std::string(name) + " item of an empty sequence"};
    return name == "first" ? items->front() : items->back();
  }
  if (name == "reverse")
    std::reverse(items->begin(), items->end());
  if (name == "reverse" || name == "list")
    return Value::list(std::move(*items));
  return sequenceFilter(context, name, *items, arguments);
}

bool callTest(Context &context, std::string_view name, const Value &input, const Arguments &arguments) {
  if (name == "defined" || name == "undefined")
    return input.isUndefined() == (name == "undefined");
  if (name == "none")
    return input.isNone();
  if (name == "string")
    return input.string();
  if (name == "number")
    return input.number().has_value();
  if (name == "integer")
    return input.get<int64_t>();
  if (name == "float")
    return input.get<double>();
  if (name == "boolean")
    return input.get<bool>();
  if (name == "true" || name == "false")
    return input.get<bool>() && *input.get<bool>() == (name == "true");
  if (name == "mapping")
    return input.dict();
  if (name == "sequence" || name == "iterable")
    return iterate(input).has_value();
  if (name == "odd" || name == "even") {
    if (!input.integer())
      return context.fail("test " + std::string(name) + ": expected a whole number, found " + typeOf(input)),
             false;
    return (*input.integer() % 2 != 0) == (name == "odd");
  }
  if (arguments.positional.size() != 1)
    return context.fail("test " + std::string(name) + ": expected one argument"), false;
  const Value &other = arguments.positional[0];
  if (name == "divisibleby") {
    if (!input.integer() || !other.integer() || *other.integer() == 0)
      return context.fail("test divisibleby: expected whole numbers"), false;
    return *other.integer() == -1 || *input.integer() % *other.integer() == 0;
  }
  if (name == "in") {
    const auto inside = contains(other, input);
    return inside ? *inside
                  : (context.fail("cannot look for " + typeOf(input) + " in " + typeOf(other)), false);
  }
  if (name == "eq" || name == "equalto" || name == "==")
    return equal(input, other);
  if (name == "ne" || name == "!=")
    return !equal(input, other);
  return orderTest(context, name, input, other);
}

Value callFunction(Context &context, std::string_view name, const Arguments &arguments) {
  if (name == "range")
    return range(context, arguments);
  if (name == "raise_exception") {
    const Value *message = arguments.find(0, "message");
    return context.fail(message ? toText(*message) : "raised by the template");
  }
  Dict dict;
  if (arguments.positional.size() > 1 ||
      (arguments.positional.size() == 1 && !arguments.positional[0].dict()))
    return context.fail(std::string(name) + ": expected a dict or arguments by name");
  if (!arguments.positional.empty())
    dict = *arguments.positional[0].dict();
  for (const auto &[key, value] : arguments.named)
    dict.set(key, value);
  if (name == "dict")
    return std::shared_ptr<const Dict>(std::make_shared<Dict>(std::move(dict)));
  return std::make_shared<Namespace>(Namespace{std::move(dict)});
}

} // namespace qwench::jinja
