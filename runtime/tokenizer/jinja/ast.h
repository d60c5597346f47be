// What the parser makes of a template.
#pragma once

#include "runtime/tokenizer/jinja/value.h"

namespace qwench::jinja {

struct Expression {
  enum class Kind {
    Constant,  // value
    Name,      // text
    List,      // children
    Tuple,     // children
    Dict,      // children: key, value, key, value, ...
    Attribute, // children[0].text
    Subscript, // children[0][children[1]]
    Slice,     // children[0][children[1]:children[2]:children[3]], null if left out
    Call,      // children[0](children[1], ..., names[0]=last children ...)
    Filter,    // children[0] | text(children[1] ...)
    Test,      // children[0] is text(children[1] ...)
    Negate,    // -children[0]
    Plus,      // +children[0]
    Not,       // not children[0]
    And,
    Or,          // children[0], children[1]
    Arithmetic,  // children[0] text children[1]: + - * / // % **
    Concatenate, // children[0] ~ children[1] ~ ...
    Compare,     // children[0] names[0] children[1] names[1] ...
    Conditional, // children[0] if children[1] else children[2], null if left out
  };
  Kind kind;
  int line;
  int height = 0; // of the tree below
  std::string text;
  Value value;
  std::vector<std::unique_ptr<Expression>> children;
  std::vector<std::string> names; // of Call, Filter, Test: the keyword arguments, which are the last children
};

using ExpressionPtr = std::unique_ptr<Expression>;

struct Statement {
  enum class Kind {
    Text,     // text
    Output,   // expressions[0]
    If,       // expressions[i] for bodies[i]; one body more: else
    For,      // targets in expressions[0], if expressions[1] (may be null); bodies[0]; bodies[1]: else
    Set,      // targets = expressions[0]; an attribute target is "namespace.attribute"
    SetBlock, // targets[0] = text of bodies[0]
    Macro,    // text(targets), expressions: defaults of the last targets; bodies[0]
    Scope,    // bodies[0], with variables of its own
    Break,
    Continue,
  };
  Kind kind;
  int line;
  std::string text;
  std::vector<std::string> targets;
  std::vector<ExpressionPtr> expressions;
  std::vector<std::vector<Statement>> bodies;
};

struct Template {
  std::vector<Statement> body;
};

} // namespace qwench::jinja
