// Parses what stands inside the tags of a template.
#pragma once

#include "runtime/tokenizer/jinja/ast.h"
#include "runtime/tokenizer/jinja/lexer.h"

#include <optional>
#include <set>

namespace qwench::jinja {

/// Reads expressions off a list of tokens, with Jinja's precedence. After an error, what is returned means
/// nothing.
class ExpressionParser {
public:
  explicit ExpressionParser(std::vector<Token> tokens);

  std::optional<Error> error;

protected:
  ExpressionPtr expression(bool conditional = true);
  /// An expression, or several with commas: a tuple.
  ExpressionPtr tuple(bool conditional = true);

  const Token &peek(size_t ahead = 0) const;
  Token take();
  bool isOperator(std::string_view op) const;
  bool isName(std::string_view name) const;
  bool takeOperator(std::string_view op);
  bool takeName(std::string_view name);
  void expectOperator(std::string_view op);
  std::string expectName();
  void fail(const std::string &message);
  void failExpected(const std::string &expected);

  std::set<std::string> macros; // names that templates may call, besides the functions

private:
  ExpressionPtr conditional();
  ExpressionPtr logicalOr();
  ExpressionPtr logicalAnd();
  ExpressionPtr logicalNot();
  ExpressionPtr comparison();
  ExpressionPtr sum();
  ExpressionPtr concatenation();
  ExpressionPtr product();
  ExpressionPtr power();
  ExpressionPtr unary(bool filters);
  ExpressionPtr primary();
  ExpressionPtr stringLiteral();
  ExpressionPtr listLiteral();
  ExpressionPtr dictLiteral();
  ExpressionPtr postfix(ExpressionPtr value);
  ExpressionPtr filters(ExpressionPtr value);
  ExpressionPtr subscript(ExpressionPtr value);
  ExpressionPtr filter(ExpressionPtr value);
  ExpressionPtr test(ExpressionPtr value);
  ExpressionPtr call(ExpressionPtr callee);
  void arguments(Expression &into);
  ExpressionPtr make(Expression::Kind kind, std::string text = "") const;
  void attach(Expression &node, ExpressionPtr child);
  template <typename... Children> ExpressionPtr with(ExpressionPtr node, Children... children) {
    (attach(*node, std::move(children)), ...);
    return node;
  }

  std::vector<Token> tokens;
  size_t at = 0;
  int depth = 0;
};

} // namespace qwench::jinja
