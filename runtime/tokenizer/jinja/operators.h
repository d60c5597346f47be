// Operators, indices, slices and attributes, as in Python. What values do not support fails the context.
#pragma once

#include "runtime/tokenizer/jinja/builtins.h"

namespace qwench::jinja {

/// a op b; op is one of + - * / // % **.
Value arithmetic(Context &context, const std::string &op, const Value &a, const Value &b);
/// +value or -value.
Value withSign(Context &context, bool negative, const Value &value);
/// value[key]; undefined if there is no such item.
Value subscript(Context &context, const Value &value, const Value &key);
/// value[start:stop:step]; none where one is left out.
Value slice(Context &context, const Value &value, const Value (&bounds)[3]);
/// value.name, without methods; undefined if there is none.
Value attribute(Context &context, const Value &value, const std::string &name);

} // namespace qwench::jinja
