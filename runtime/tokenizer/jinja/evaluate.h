// Renders a parsed template.
#pragma once

#include "runtime/abi/result.h"
#include "runtime/tokenizer/jinja/ast.h"

namespace qwench::jinja {

/// What the template makes of these variables.
Result<std::string> renderTemplate(const Template &parsed, Dict variables);

} // namespace qwench::jinja
