// Operators, indices, slices and attributes, as in Python.
#include "runtime/tokenizer/jinja/operators.h"

#include <algorithm>
#include <cmath>

namespace qwench::jinja {
namespace {

Value repeat(Context &context, const std::string &text, int64_t count) {
  if (count > 0 && text.size() > kMaxTextBytes / static_cast<uint64_t>(count))
    return context.fail("expected values of at most " + std::to_string(kMaxTextBytes) + " bytes");
  std::string out;
  for (int64_t i = 0; i < count && !text.empty(); ++i)
    out += text;
  return out;
}

Value integers(Context &context, const std::string &op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  if (op == "+")
    overflow = __builtin_add_overflow(a, b, &result);
  else if (op == "-")
    overflow = __builtin_sub_overflow(a, b, &result);
  else if (op == "*")
    overflow = __builtin_mul_overflow(a, b, &result);
  else if (op == "**") {
    result = 1;
    for (int64_t i = 0; i < b && !overflow && result != 0 && !(a == 1) && !(a == -1 && i >= (b & 1) + 2); ++i)
      overflow = __builtin_mul_overflow(result, a, &result);
  } else if (b == 0) {
    return context.fail("division by zero");
  } else if (b == -1) {
    overflow = op == "//" && __builtin_sub_overflow(int64_t{0}, a, &result);
  } else { // towards minus infinity, as in Python
    const int64_t remainder = a % b, correction = remainder != 0 && (remainder < 0) != (b < 0);
    result = op == "//" ? a / b - correction : remainder + (correction ? b : 0);
  }
  return overflow ? context.fail("a whole number outgrew 64 bits") : Value(result);
}

Value reals(Context &context, const std::string &op, double a, double b) {
  if (op == "+")
    return a + b;
  if (op == "-")
    return a - b;
  if (op == "*")
    return a * b;
  if (op == "**")
    return std::pow(a, b);
  if (b == 0)
    return context.fail("division by zero");
  if (op == "/")
    return a / b;
  const double floored = std::floor(a / b);
  return op == "//" ? floored : a - floored * b;
}

Value entry(const Value &value, const std::string &key) {
  const auto *space = value.get<std::shared_ptr<Namespace>>();
  const Value *found = space ? (*space)->attributes.find(key) : value.dict()->find(key);
  return found ? *found : Value(Undefined{key});
}

Value loopAttribute(const Loop &loop, const std::string &name) {
  const auto size = static_cast<int64_t>(loop.items->items.size());
  const int64_t i = loop.index0;
  const std::pair<std::string_view, int64_t> numbers[] = {
      {"index", i + 1}, {"index0", i},         {"revindex", size - i},     {"revindex0", size - i - 1},
      {"length", size}, {"depth", loop.depth}, {"depth0", loop.depth - 1},
  };
  for (const auto &[key, value] : numbers)
    if (key == name)
      return value;
  if (name == "first" || name == "last")
    return name == "first" ? i == 0 : i == size - 1;
  if (name == "previtem")
    return i > 0 ? loop.items->items[i - 1] : Value(Undefined{"there is no previous item"});
  if (name == "nextitem")
    return i + 1 < size ? loop.items->items[i + 1] : Value(Undefined{"there is no next item"});
  return Undefined{"loop." + name};
}

} // namespace

Value arithmetic(Context &context, const std::string &op, const Value &a, const Value &b) {
  if (op == "+" && a.string() && b.string())
    return *a.string() + *b.string();
  if (op == "+" && a.list() && b.list() && a.list()->tuple == b.list()->tuple) {
    std::vector<Value> items = a.list()->items;
    items.insert(items.end(), b.list()->items.begin(), b.list()->items.end());
    return Value::list(std::move(items), a.list()->tuple);
  }
  if (op == "*" && ((a.string() && b.integer()) || (a.integer() && b.string())))
    return repeat(context, a.string() ? *a.string() : *b.string(), a.string() ? *b.integer() : *a.integer());
  if (a.integer() && b.integer() && op != "/" && (op != "**" || *b.integer() >= 0))
    return integers(context, op, *a.integer(), *b.integer());
  if (a.number() && b.number())
    return reals(context, op, *a.number(), *b.number());
  const std::string types = std::string(a.typeName()) + " and " + std::string(b.typeName());
  for (const Value *side : {&a, &b})
    if (const Undefined *undefined = side->get<Undefined>())
      return context.fail("'" + undefined->name + "' is undefined, in " + types + " with " + op);
  return context.fail("cannot use " + op + " with " + types);
}

Value withSign(Context &context, bool negative, const Value &value) {
  if (const auto i = value.integer(); i && *i != INT64_MIN)
    return negative ? -*i : *i;
  if (const double *d = value.get<double>())
    return negative ? -*d : *d;
  return context.fail("expected a number after a sign, found " + std::string(value.typeName()));
}

Value subscript(Context &context, const Value &value, const Value &key) {
  if (value.isUndefined())
    return context.fail("'" + value.get<Undefined>()->name + "' is undefined");
  if (key.string())
    return value.dict() || value.get<std::shared_ptr<Namespace>>() ? entry(value, *key.string())
                                                                   : Value(Undefined{*key.string()});
  const auto size = length(value);
  const auto index = key.integer();
  if (!index || !size || value.dict())
    return Undefined{toRepr(key)};
  const int64_t place = *index < 0 ? *index + *size : *index;
  if (place < 0 || place >= *size)
    return Undefined{"item " + std::to_string(*index)};
  return value.list() ? value.list()->items[place] : Value(std::string(characters(*value.string())[place]));
}

Value slice(Context &context, const Value &value, const Value (&bounds)[3]) {
  for (const Value &bound : bounds)
    if (!bound.isNone() && !bound.integer())
      return context.fail("expected whole numbers in a slice, found " + std::string(bound.typeName()));
  if (!value.list() && !value.string())
    return context.fail("cannot slice a value of type " + std::string(value.typeName()));
  const int64_t size = *length(value), step = bounds[2].isNone() ? 1 : *bounds[2].integer();
  if (step == 0)
    return context.fail("expected a step other than 0 in a slice");
  const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
  const auto clamp = [&](const Value &bound, int64_t otherwise) {
    if (bound.isNone())
      return otherwise;
    const int64_t at = *bound.integer();
    return std::min(std::max(at < 0 ? at + size : at, low), high);
  };
  const int64_t start = clamp(bounds[0], step > 0 ? low : high),
                stop = clamp(bounds[1], step > 0 ? high : low);
  std::vector<int64_t> places;
  // A step beyond the size picks one item as the size does; the sum cannot overflow then.
  const int64_t stride = std::min(std::max(step, -size - 1), size + 1);
  for (int64_t i = start; stride > 0 ? i < stop : i > stop; i += stride)
    places.push_back(i);
  if (const std::string *text = value.string()) {
    const std::vector<std::string_view> pieces = characters(*text);
    std::string picked;
    for (const int64_t i : places)
      picked += pieces[i];
    return picked;
  }
  std::vector<Value> picked;
  for (const int64_t i : places)
    picked.push_back(value.list()->items[i]);
  return Value::list(std::move(picked), value.list()->tuple);
}

Value attribute(Context &context, const Value &value, const std::string &name) {
  if (const Undefined *undefined = value.get<Undefined>())
    return context.fail("'" + undefined->name + "' is undefined, and has no attribute " + name);
  if (const auto *loop = value.get<std::shared_ptr<const Loop>>())
    return loopAttribute(**loop, name);
  if (const auto *space = value.get<std::shared_ptr<Namespace>>()) {
    const Value *found = (*space)->attributes.find(name);
    return found ? *found : Value(Undefined{name});
  }
  if (const Dict *dict = value.dict()) {
    if (name == "items" || name == "keys" || name == "values" || name == "get")
      return context.fail("a method of a dict without a call is not supported: " + name);
    const Value *found = dict->find(name);
    return found ? *found : Value(Undefined{name});
  }
  return Undefined{name};
}

} // namespace qwench::jinja
