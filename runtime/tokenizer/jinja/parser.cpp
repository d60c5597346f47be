#include "runtime/tokenizer/jinja/parser.h"

#include "runtime/tokenizer/jinja/expression_parser.h"

namespace qwench::jinja {
namespace {

using Kind = Statement::Kind;

constexpr int kMaxBlocks = 100; // nested statements

class Parser : public ExpressionParser {
public:
  explicit Parser(std::vector<Token> tokens) : ExpressionParser(std::move(tokens)) {
    // Macros may be called before they are defined, in another macro.
    for (size_t i = 0; peek(i).kind != Token::Kind::End; ++i)
      if (peek(i).kind == Token::Kind::BlockBegin && peek(i + 1).text == "macro")
        macros.insert(peek(i + 2).text);
  }

  Result<Template> run() {
    Template parsed;
    parsed.body = body({});
    if (!error && peek().kind != Token::Kind::End)
      fail("statement '" + peek(1).text + "' has nothing to end");
    if (error)
      return *error;
    return parsed;
  }

private:
  // Statements up to a tag that starts with one of `ends`, of which the opening is read.
  std::vector<Statement> body(std::initializer_list<std::string_view> ends) {
    std::vector<Statement> statements;
    if (++nesting > kMaxBlocks)
      fail("expected at most " + std::to_string(kMaxBlocks) + " nested statements");
    while (!error && peek().kind != Token::Kind::End) {
      if (peek().kind == Token::Kind::Text) {
        Statement text = make(Kind::Text);
        text.text = take().text;
        statements.push_back(std::move(text));
      } else if (peek().kind == Token::Kind::OutputBegin) {
        Statement output = make(Kind::Output);
        take();
        output.expressions.push_back(tuple());
        expectEnd(Token::Kind::OutputEnd, "}}");
        statements.push_back(std::move(output));
      } else {
        for (const std::string_view end : ends)
          if (peek(1).kind == Token::Kind::Name && peek(1).text == end) {
            --nesting;
            take();
            return statements;
          }
        if (ends.size() == 0 && peek(1).text.starts_with("end"))
          break;
        statements.push_back(statement());
      }
    }
    if (!error && ends.size() > 0)
      fail("expected {% " + std::string(*(ends.end() - 1)) + " %}, found the end of the template");
    --nesting;
    return statements;
  }

  Statement make(Kind kind) const {
    Statement statement;
    statement.kind = kind;
    statement.line = peek().line;
    return statement;
  }

  void expectEnd(Token::Kind kind, const std::string &text) {
    if (peek().kind != kind)
      return failExpected(text);
    take();
  }
  void blockEnd() { expectEnd(Token::Kind::BlockEnd, "%}"); }

  Statement statement() {
    take(); // {%
    if (takeName("if"))
      return ifStatement();
    if (takeName("for"))
      return forStatement();
    if (takeName("set"))
      return setStatement();
    if (takeName("macro"))
      return macroStatement();
    if (takeName("generation"))
      return generationStatement();
    if (isName("break") || isName("continue")) {
      if (loops == 0)
        fail("expected '" + peek().text + "' inside a for statement");
      Statement jump = make(isName("break") ? Kind::Break : Kind::Continue);
      take();
      blockEnd();
      return jump;
    }
    fail(peek().kind == Token::Kind::Name ? "statement '" + peek().text + "' is not supported"
                                          : "expected a statement after {%");
    return make(Kind::Text);
  }

  Statement ifStatement() {
    Statement node = make(Kind::If);
    for (bool more = true; more && !error;) {
      node.expressions.push_back(tuple(false));
      blockEnd();
      node.bodies.push_back(body({"elif", "else", "endif"}));
      more = takeName("elif");
    }
    if (takeName("else")) {
      blockEnd();
      node.bodies.push_back(body({"endif"}));
    }
    if (!takeName("endif") && !error)
      failExpected("endif");
    blockEnd();
    return node;
  }

  std::vector<std::string> targetNames() {
    std::vector<std::string> names;
    const bool bracket = takeOperator("(");
    do {
      if (bracket ? isOperator(")") : isOperator("="))
        break;
      names.push_back(expectName());
    } while (takeOperator(",") && !error);
    if (bracket)
      expectOperator(")");
    if (names.empty())
      failExpected("a name");
    for (const std::string &name : names)
      if (name == "loop" || name == "true" || name == "false" || name == "none")
        fail("expected a name that can be set, found '" + name + "'");
    return names;
  }

  Statement forStatement() {
    Statement node = make(Kind::For);
    node.targets = targetNames();
    if (!takeName("in"))
      failExpected("'in'");
    node.expressions.push_back(tuple(false));
    node.expressions.push_back(takeName("if") ? expression() : nullptr);
    if (isName("recursive"))
      fail("recursive for statements are not supported");
    blockEnd();
    ++loops;
    node.bodies.push_back(body({"else", "endfor"}));
    --loops;
    if (takeName("else")) {
      blockEnd();
      node.bodies.push_back(body({"endfor"}));
    }
    if (!takeName("endfor") && !error)
      failExpected("endfor");
    blockEnd();
    return node;
  }

  Statement setStatement() {
    Statement node = make(Kind::Set);
    node.targets = targetNames();
    if (node.targets.size() == 1 && takeOperator("."))
      node.targets[0] += "." + expectName();
    if (takeOperator("=")) {
      node.expressions.push_back(tuple());
      blockEnd();
      return node;
    }
    if (isOperator("|") || node.targets.size() != 1 || node.targets[0].find('.') != std::string::npos) {
      failExpected("'='");
      return node;
    }
    node.kind = Kind::SetBlock;
    blockEnd();
    node.bodies.push_back(body({"endset"}));
    takeName("endset");
    blockEnd();
    return node;
  }

  Statement macroStatement() {
    Statement node = make(Kind::Macro);
    if (nesting > 1)
      fail("macros inside other statements are not supported");
    node.text = expectName();
    expectOperator("(");
    while (!isOperator(")") && !error) {
      node.targets.push_back(expectName());
      if (takeOperator("="))
        node.expressions.push_back(expression());
      else if (!node.expressions.empty())
        fail("expected a default for '" + node.targets.back() + "', as the argument before it has one");
      if (!isOperator(")"))
        expectOperator(",");
    }
    expectOperator(")");
    blockEnd();
    const int outer = std::exchange(loops, 0);
    node.bodies.push_back(body({"endmacro"}));
    loops = outer;
    takeName("endmacro");
    if (isName(node.text))
      take();
    blockEnd();
    return node;
  }

  // transformers marks what the model wrote; the mark does not show in the prompt.
  Statement generationStatement() {
    Statement node = make(Kind::Scope);
    blockEnd();
    const int outer = std::exchange(loops, 0);
    node.bodies.push_back(body({"endgeneration"}));
    loops = outer;
    takeName("endgeneration");
    blockEnd();
    return node;
  }

  int nesting = 0, loops = 0;
};

} // namespace

Result<Template> parseTemplate(std::string_view source) {
  Result<std::vector<Token>> tokens = tokenize(source);
  if (!tokens)
    return tokens.takeError();
  return Parser(tokens.take()).run();
}

} // namespace qwench::jinja
