#include "runtime/tokenizer/jinja/expression_parser.h"

#include "runtime/tokenizer/jinja/builtins.h"

#include <charconv>

namespace qwench::jinja {
namespace {

using Kind = Expression::Kind;

constexpr int kMaxDepth = 200;  // of nested brackets and signs
constexpr int kMaxHeight = 400; // of the tree: a chain of operators leans to the left

} // namespace

ExpressionParser::ExpressionParser(std::vector<Token> tokens) : tokens(std::move(tokens)) {}

const Token &ExpressionParser::peek(size_t ahead) const {
  return tokens[std::min(at + ahead, tokens.size() - 1)];
}

Token ExpressionParser::take() {
  Token token = peek();
  at = std::min(at + 1, tokens.size() - 1);
  return token;
}

bool ExpressionParser::isOperator(std::string_view op) const {
  return peek().kind == Token::Kind::Operator && peek().text == op;
}

bool ExpressionParser::isName(std::string_view name) const {
  return peek().kind == Token::Kind::Name && peek().text == name;
}

bool ExpressionParser::takeOperator(std::string_view op) { return isOperator(op) && (take(), true); }
bool ExpressionParser::takeName(std::string_view name) { return isName(name) && (take(), true); }

void ExpressionParser::fail(const std::string &message) {
  if (!error)
    error = templateError(peek().line, message);
  at = tokens.size() - 1; // nothing more is read
}

void ExpressionParser::failExpected(const std::string &expected) {
  const Token &token = peek();
  switch (token.kind) {
  case Token::Kind::BlockEnd:
    return fail("expected " + expected + ", found %}");
  case Token::Kind::OutputEnd:
    return fail("expected " + expected + ", found }}");
  case Token::Kind::End:
  case Token::Kind::Text:
  case Token::Kind::BlockBegin:
  case Token::Kind::OutputBegin:
    return fail("expected " + expected + ", found the end of the tag");
  default:
    return fail("expected " + expected + ", found '" + token.text.substr(0, 40) + "'");
  }
}

void ExpressionParser::expectOperator(std::string_view op) {
  if (!takeOperator(op))
    failExpected("'" + std::string(op) + "'");
}

std::string ExpressionParser::expectName() {
  if (peek().kind == Token::Kind::Name)
    return take().text;
  failExpected("a name");
  return {};
}

ExpressionPtr ExpressionParser::make(Kind kind, std::string text) const {
  auto node = std::make_unique<Expression>();
  node->kind = kind;
  node->line = peek().line;
  node->text = std::move(text);
  return node;
}

void ExpressionParser::attach(Expression &node, ExpressionPtr child) {
  if (child && child->height >= kMaxHeight)
    fail("expected at most " + std::to_string(kMaxHeight) + " operations on one another");
  node.height = std::max(node.height, child ? child->height + 1 : 0);
  node.children.push_back(std::move(child));
}

ExpressionPtr ExpressionParser::expression(bool allowConditional) {
  if (++depth > kMaxDepth)
    fail("expected at most " + std::to_string(kMaxDepth) + " nested expressions");
  ExpressionPtr value = error ? make(Kind::Constant) : allowConditional ? conditional() : logicalOr();
  --depth;
  return value;
}

ExpressionPtr ExpressionParser::tuple(bool allowConditional) {
  ExpressionPtr first = expression(allowConditional);
  if (!isOperator(","))
    return first;
  ExpressionPtr node = with(make(Kind::Tuple), std::move(first));
  while (takeOperator(",") && !error) {
    if (isOperator(")") || peek().kind == Token::Kind::BlockEnd || peek().kind == Token::Kind::OutputEnd)
      break;
    attach(*node, expression(allowConditional));
  }
  return node;
}

ExpressionPtr ExpressionParser::conditional() {
  ExpressionPtr value = logicalOr();
  while (isName("if") && !error) {
    ExpressionPtr node = make(Kind::Conditional);
    take();
    ExpressionPtr test = logicalOr();
    ExpressionPtr otherwise = takeName("else") ? expression() : nullptr;
    value = with(std::move(node), std::move(value), std::move(test), std::move(otherwise));
  }
  return value;
}

ExpressionPtr ExpressionParser::logicalOr() {
  ExpressionPtr left = logicalAnd();
  while (isName("or") && !error) {
    ExpressionPtr node = make(Kind::Or);
    take();
    left = with(std::move(node), std::move(left), logicalAnd());
  }
  return left;
}

ExpressionPtr ExpressionParser::logicalAnd() {
  ExpressionPtr left = logicalNot();
  while (isName("and") && !error) {
    ExpressionPtr node = make(Kind::And);
    take();
    left = with(std::move(node), std::move(left), logicalNot());
  }
  return left;
}

ExpressionPtr ExpressionParser::logicalNot() {
  if (!isName("not"))
    return comparison();
  ExpressionPtr node = make(Kind::Not);
  take();
  if (++depth > kMaxDepth)
    fail("expected at most " + std::to_string(kMaxDepth) + " nested expressions");
  ExpressionPtr inner = error ? make(Kind::Constant) : logicalNot();
  --depth;
  return with(std::move(node), std::move(inner));
}

ExpressionPtr ExpressionParser::comparison() {
  ExpressionPtr node = make(Kind::Compare);
  attach(*node, sum());
  while (!error) {
    std::string op;
    for (const std::string_view known : {"==", "!=", "<=", ">=", "<", ">"})
      if (isOperator(known))
        op = known;
    if (isName("in"))
      op = "in";
    else if (isName("not") && peek(1).kind == Token::Kind::Name && peek(1).text == "in")
      op = (take(), "not in");
    if (op.empty())
      break;
    take();
    node->names.push_back(op);
    attach(*node, sum());
  }
  return node->names.empty() ? std::move(node->children[0]) : std::move(node);
}

ExpressionPtr ExpressionParser::sum() {
  ExpressionPtr left = concatenation();
  while ((isOperator("+") || isOperator("-")) && !error) {
    ExpressionPtr node = make(Kind::Arithmetic, peek().text);
    take();
    left = with(std::move(node), std::move(left), concatenation());
  }
  return left;
}

ExpressionPtr ExpressionParser::concatenation() {
  ExpressionPtr first = product();
  if (!isOperator("~"))
    return first;
  ExpressionPtr node = with(make(Kind::Concatenate), std::move(first));
  while (takeOperator("~") && !error)
    attach(*node, product());
  return node;
}

ExpressionPtr ExpressionParser::product() {
  ExpressionPtr left = power();
  while ((isOperator("*") || isOperator("/") || isOperator("//") || isOperator("%")) && !error) {
    ExpressionPtr node = make(Kind::Arithmetic, peek().text);
    take();
    left = with(std::move(node), std::move(left), power());
  }
  return left;
}

ExpressionPtr ExpressionParser::power() {
  ExpressionPtr left = unary(true);
  while (isOperator("**") && !error) {
    ExpressionPtr node = make(Kind::Arithmetic, "**");
    take();
    left = with(std::move(node), std::move(left), unary(true));
  }
  return left;
}

ExpressionPtr ExpressionParser::unary(bool allowFilters) {
  if (++depth > kMaxDepth)
    fail("expected at most " + std::to_string(kMaxDepth) + " nested expressions");
  ExpressionPtr value;
  if (error) {
    value = make(Kind::Constant);
  } else if (isOperator("-") || isOperator("+")) {
    ExpressionPtr node = make(isOperator("-") ? Kind::Negate : Kind::Plus);
    take();
    value = with(std::move(node), unary(false));
  } else {
    value = primary();
  }
  --depth;
  value = postfix(std::move(value));
  return allowFilters ? filters(std::move(value)) : std::move(value);
}

ExpressionPtr ExpressionParser::primary() {
  const Token token = peek();
  ExpressionPtr node = make(Kind::Constant);
  if (token.kind == Token::Kind::String)
    return stringLiteral();
  if (token.kind == Token::Kind::Integer || token.kind == Token::Kind::Float) {
    take();
    const char *begin = token.text.data(), *end = begin + token.text.size();
    int64_t integer = 0;
    double real = 0;
    const bool fits = token.kind == Token::Kind::Integer
                          ? std::from_chars(begin, end, integer).ec == std::errc()
                          : std::from_chars(begin, end, real).ec == std::errc();
    if (!fits)
      fail("expected a number of 64 bits, found " + token.text.substr(0, 40));
    node->value = token.kind == Token::Kind::Integer ? Value(integer) : Value(real);
    return node;
  }
  if (takeOperator("(")) {
    if (takeOperator(")"))
      return make(Kind::Tuple);
    ExpressionPtr inner = tuple();
    expectOperator(")");
    return inner;
  }
  if (isOperator("["))
    return listLiteral();
  if (isOperator("{"))
    return dictLiteral();
  if (token.kind != Token::Kind::Name) {
    failExpected("an expression");
    return node;
  }
  take();
  if (token.text == "true" || token.text == "True")
    node->value = true;
  else if (token.text == "false" || token.text == "False")
    node->value = false;
  else if (token.text == "none" || token.text == "None")
    node->value = None{};
  else
    node->kind = Kind::Name;
  node->text = token.text;
  return node;
}

// Texts that follow one another are one text.
ExpressionPtr ExpressionParser::stringLiteral() {
  ExpressionPtr node = make(Kind::Constant);
  std::string text;
  while (peek().kind == Token::Kind::String)
    text += take().text;
  node->value = std::move(text);
  return node;
}

ExpressionPtr ExpressionParser::listLiteral() {
  ExpressionPtr node = make(Kind::List);
  take();
  while (!isOperator("]") && !error) {
    attach(*node, expression());
    if (!isOperator("]"))
      expectOperator(",");
  }
  expectOperator("]");
  return node;
}

ExpressionPtr ExpressionParser::dictLiteral() {
  ExpressionPtr node = make(Kind::Dict);
  take();
  while (!isOperator("}") && !error) {
    attach(*node, expression());
    expectOperator(":");
    attach(*node, expression());
    if (!isOperator("}"))
      expectOperator(",");
  }
  expectOperator("}");
  return node;
}

ExpressionPtr ExpressionParser::postfix(ExpressionPtr value) {
  while (!error) {
    if (takeOperator(".")) {
      ExpressionPtr node = make(Kind::Attribute, expectName());
      value = with(std::move(node), std::move(value));
    } else if (isOperator("[")) {
      value = subscript(std::move(value));
    } else if (isOperator("(")) {
      value = call(std::move(value));
    } else {
      break;
    }
  }
  return value;
}

ExpressionPtr ExpressionParser::filters(ExpressionPtr value) {
  while (!error) {
    if (takeOperator("|"))
      value = filter(std::move(value));
    else if (takeName("is"))
      value = test(std::move(value));
    else if (isOperator("("))
      value = call(std::move(value));
    else
      break;
  }
  return value;
}

ExpressionPtr ExpressionParser::subscript(ExpressionPtr value) {
  ExpressionPtr node = make(Kind::Subscript);
  take();
  ExpressionPtr parts[3];
  int part = 0;
  bool slice = false;
  while (!isOperator("]") && !error) {
    if (isOperator(":") && part < 2) {
      take();
      ++part;
      slice = true;
    } else if (!parts[part]) {
      parts[part] = expression();
    } else {
      failExpected("']'");
    }
  }
  expectOperator("]");
  attach(*node, std::move(value));
  if (slice) {
    node->kind = Kind::Slice;
    for (ExpressionPtr &bound : parts)
      attach(*node, std::move(bound));
  } else if (parts[0]) {
    attach(*node, std::move(parts[0]));
  } else {
    fail("expected an index, found ']'");
  }
  return node;
}

ExpressionPtr ExpressionParser::filter(ExpressionPtr value) {
  ExpressionPtr node = make(Kind::Filter, expectName());
  if (!error && !isFilter(node->text))
    fail("filter '" + node->text + "' is not supported");
  attach(*node, std::move(value));
  if (isOperator("("))
    arguments(*node);
  return node;
}

ExpressionPtr ExpressionParser::test(ExpressionPtr value) {
  const bool negated = takeName("not");
  ExpressionPtr node = make(Kind::Test, expectName());
  if (!error && !isTest(node->text))
    fail("test '" + node->text + "' is not supported");
  attach(*node, std::move(value));
  const Token &next = peek();
  const bool literal = next.kind == Token::Kind::String || next.kind == Token::Kind::Integer ||
                       next.kind == Token::Kind::Float || isOperator("[") || isOperator("{");
  const bool name = next.kind == Token::Kind::Name && next.text != "else" && next.text != "or" &&
                    next.text != "and" && next.text != "is" && next.text != "if" && next.text != "not" &&
                    next.text != "in" && next.text != "recursive";
  if (isOperator("("))
    arguments(*node);
  else if (literal || name)
    attach(*node, postfix(primary()));
  if (!negated)
    return node;
  ExpressionPtr outer = make(Kind::Not);
  return with(std::move(outer), std::move(node));
}

ExpressionPtr ExpressionParser::call(ExpressionPtr callee) {
  if (callee->kind == Kind::Attribute) {
    if (!isMethod(callee->text))
      fail("method '" + callee->text + "' is not supported");
  } else if (callee->kind != Kind::Name || (!isFunction(callee->text) && !macros.contains(callee->text))) {
    fail(callee->kind == Kind::Name ? "function '" + callee->text + "' is not supported"
                                    : "expected a function, macro or method before '('");
  }
  ExpressionPtr node = make(Kind::Call);
  attach(*node, std::move(callee));
  arguments(*node);
  return node;
}

void ExpressionParser::arguments(Expression &into) {
  expectOperator("(");
  while (!isOperator(")") && !error) {
    if (isOperator("*") || isOperator("**"))
      fail("arguments with * are not supported");
    const bool named =
        peek().kind == Token::Kind::Name && peek(1).kind == Token::Kind::Operator && peek(1).text == "=";
    if (named) {
      into.names.push_back(take().text);
      take();
    } else if (!into.names.empty()) {
      fail("expected arguments with names after one that has a name");
    }
    attach(into, expression());
    if (!isOperator(")"))
      expectOperator(",");
  }
  expectOperator(")");
}

} // namespace qwench::jinja
