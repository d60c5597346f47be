// Parses templates.
#pragma once

#include "runtime/abi/result.h"
#include "runtime/tokenizer/jinja/ast.h"

namespace qwench::jinja {

/// Errors carry the line: bad syntax, or something of Jinja that is not supported.
Result<Template> parseTemplate(std::string_view source);

} // namespace qwench::jinja
