#include "runtime/tokenizer/jinja/evaluate.h"

#include "runtime/tokenizer/jinja/builtins.h"
#include "runtime/tokenizer/jinja/operators.h"

#include <algorithm>

namespace qwench::jinja {
namespace {

using EK = Expression::Kind;
using SK = Statement::Kind;

// Bounds on what a template can cost; real ones stay far below.
constexpr int64_t kBudget =
    50'000'000;                   // expressions, statements, rounds, and 64-byte pieces of values they make
constexpr int kMaxNesting = 1000; // of expressions, statements and macros being evaluated
constexpr uint32_t kMaxValueDepth = 200;

class Evaluator : Context {
public:
  explicit Evaluator(Dict variables) { scopes.push_back(std::move(variables.entries)); }

  Result<std::string> run(const Template &parsed) {
    execute(parsed.body);
    if (error)
      return *error;
    return std::move(out);
  }

private:
  using Scope = std::vector<std::pair<std::string, Value>>;
  enum class Flow { Normal, Break, Continue };

  // --- variables

  const Value *find(const std::string &name) const {
    for (size_t i = scopes.size(); i-- > base;)
      for (const auto &[key, value] : scopes[i])
        if (key == name)
          return &value;
    if (base > 0)
      for (const auto &[key, value] : scopes[0])
        if (key == name)
          return &value;
    return nullptr;
  }

  void assign(const std::string &name, Value value) {
    for (auto &entry : scopes.back())
      if (entry.first == name) {
        entry.second = std::move(value);
        return;
      }
    scopes.back().emplace_back(name, std::move(value));
  }

  // --- bounds

  void spend(int64_t steps) {
    budget -= steps;
    if (budget < 0)
      fail("the template takes too many steps");
  }

  Value bounded(Value value) {
    const Extent extent = value.extent();
    spend(static_cast<int64_t>(extent.bytes / 64));
    if (extent.bytes > kMaxTextBytes)
      return fail("expected values of at most " + std::to_string(kMaxTextBytes) + " bytes");
    if (extent.depth > kMaxValueDepth && (value.list() || value.dict()))
      return fail("expected lists and dicts that nest at most " + std::to_string(kMaxValueDepth) +
                  " deep and hold no namespace, loop or macro");
    return value;
  }

  void write(const std::string &text) {
    if (out.size() + text.size() > kMaxTextBytes)
      fail("expected a prompt of at most " + std::to_string(kMaxTextBytes) + " bytes");
    else
      out += text;
  }

  // --- statements

  Flow execute(const std::vector<Statement> &body) {
    for (const Statement &statement : body) {
      if (error)
        return Flow::Normal;
      line = statement.line;
      spend(1);
      if (const Flow flow = execute(statement); flow != Flow::Normal)
        return flow;
    }
    return Flow::Normal;
  }

  Flow execute(const Statement &statement) {
    switch (statement.kind) {
    case SK::Text:
      write(statement.text);
      return Flow::Normal;
    case SK::Output:
      write(toText(evaluate(*statement.expressions[0])));
      return Flow::Normal;
    case SK::If:
      for (size_t i = 0; i < statement.expressions.size(); ++i)
        if (truth(evaluate(*statement.expressions[i])))
          return error ? Flow::Normal : executeNested(statement.bodies[i]);
      if (statement.bodies.size() > statement.expressions.size() && !error)
        return executeNested(statement.bodies.back());
      return Flow::Normal;
    case SK::For:
      executeFor(statement);
      return Flow::Normal;
    case SK::Set:
      executeSet(statement);
      return Flow::Normal;
    case SK::SetBlock:
      assign(statement.targets[0], capture(statement.bodies[0]));
      return Flow::Normal;
    case SK::Macro:
      assign(statement.text, &statement);
      return Flow::Normal;
    case SK::Scope:
      scopes.emplace_back();
      executeNested(statement.bodies[0]);
      scopes.pop_back();
      return Flow::Normal;
    case SK::Break:
      return Flow::Break;
    case SK::Continue:
      return Flow::Continue;
    }
    return Flow::Normal;
  }

  Flow executeNested(const std::vector<Statement> &body) {
    if (++nesting > kMaxNesting)
      fail("expected at most " + std::to_string(kMaxNesting) + " nested evaluations");
    const Flow flow = error ? Flow::Normal : execute(body);
    --nesting;
    return flow;
  }

  // What a body writes, in a scope of its own.
  Value capture(const std::vector<Statement> &body) {
    std::string outer = std::exchange(out, {});
    scopes.emplace_back();
    executeNested(body);
    scopes.pop_back();
    return bounded(std::exchange(out, std::move(outer)));
  }

  void unpack(const std::vector<std::string> &targets, const Value &value) {
    if (targets.size() == 1)
      return assign(targets[0], value);
    const auto items = iterate(value);
    if (!items || items->size() != targets.size()) {
      fail("expected " + std::to_string(targets.size()) + " values to unpack, found " +
           (items ? std::to_string(items->size()) : std::string(value.typeName())));
      return;
    }
    for (size_t i = 0; i < targets.size(); ++i)
      assign(targets[i], (*items)[i]);
  }

  void executeFor(const Statement &statement) {
    const Value over = evaluate(*statement.expressions[0]);
    auto items = iterate(over);
    if (!items)
      fail("cannot go over a value of type " + std::string(over.typeName()));
    if (error)
      return;
    spend(2 * static_cast<int64_t>(items->size()));
    const Expression *condition = statement.expressions[1].get();
    auto chosen = std::make_shared<List>();
    for (Value &item : *items) {
      if (condition) {
        scopes.emplace_back();
        unpack(statement.targets, item);
        const bool keep = truth(evaluate(*condition));
        scopes.pop_back();
        if (error)
          return;
        if (!keep)
          continue;
      }
      chosen->items.push_back(std::move(item));
    }
    ++loops;
    for (size_t i = 0; i < chosen->items.size() && !error; ++i) {
      scopes.emplace_back();
      const auto loop = std::make_shared<Loop>(Loop{static_cast<int64_t>(i), loops, chosen});
      assign("loop", std::shared_ptr<const Loop>(loop));
      unpack(statement.targets, chosen->items[i]);
      const Flow flow = error ? Flow::Normal : executeNested(statement.bodies[0]);
      scopes.pop_back();
      if (flow == Flow::Break)
        break;
    }
    --loops;
    if (chosen->items.empty() && statement.bodies.size() > 1) {
      scopes.emplace_back();
      executeNested(statement.bodies[1]);
      scopes.pop_back();
    }
  }

  void executeSet(const Statement &statement) {
    Value value = evaluate(*statement.expressions[0]);
    const std::string &target = statement.targets[0];
    const size_t dot = target.find('.');
    if (error)
      return;
    if (dot == std::string::npos)
      return unpack(statement.targets, value);
    const Value *owner = find(target.substr(0, dot));
    const auto *space = owner ? owner->get<std::shared_ptr<Namespace>>() : nullptr;
    if (!space) {
      fail("expected a namespace in '" + target + "', found " +
           std::string(owner ? owner->typeName() : "undefined"));
      return;
    }
    if (value.extent().depth > kMaxValueDepth) {
      fail("a namespace cannot hold a namespace, loop or macro");
      return;
    }
    (*space)->attributes.set(target.substr(dot + 1), std::move(value));
  }

  // --- expressions

  Value evaluate(const Expression &e) {
    line = e.line;
    spend(1);
    if (++nesting > kMaxNesting)
      fail("expected at most " + std::to_string(kMaxNesting) + " nested evaluations");
    Value value = error ? Value() : evaluateKind(e);
    --nesting;
    return error ? Value() : value;
  }

  Value evaluateKind(const Expression &e) {
    switch (e.kind) {
    case EK::Constant:
      return e.value;
    case EK::Name: {
      const Value *found = find(e.text);
      return found ? *found : Value(Undefined{e.text});
    }
    case EK::List:
    case EK::Tuple:
      return bounded(Value::list(evaluateAll(e.children), e.kind == EK::Tuple));
    case EK::Dict:
      return dictLiteral(e);
    case EK::Attribute:
      return attribute(*this, evaluate(*e.children[0]), e.text);
    case EK::Subscript:
      return subscript(*this, evaluate(*e.children[0]), evaluate(*e.children[1]));
    case EK::Slice: {
      const Value value = evaluate(*e.children[0]);
      Value bounds[3] = {None{}, None{}, None{}};
      for (int i = 0; i < 3; ++i)
        if (e.children[i + 1])
          bounds[i] = evaluate(*e.children[i + 1]);
      return bounded(slice(*this, value, bounds));
    }
    case EK::Call:
      return bounded(call(e));
    case EK::Filter:
      return filter(e);
    case EK::Test:
      return test(e);
    case EK::Negate:
    case EK::Plus:
      return withSign(*this, e.kind == EK::Negate, evaluate(*e.children[0]));
    case EK::Not:
      return !truth(evaluate(*e.children[0]));
    case EK::And:
    case EK::Or: {
      Value left = evaluate(*e.children[0]);
      return truth(left) == (e.kind == EK::Or) ? left : evaluate(*e.children[1]);
    }
    case EK::Arithmetic:
      return bounded(arithmetic(*this, e.text, evaluate(*e.children[0]), evaluate(*e.children[1])));
    case EK::Concatenate:
      return concatenate(e);
    case EK::Compare:
      return comparison(e);
    case EK::Conditional:
      if (truth(evaluate(*e.children[1])))
        return evaluate(*e.children[0]);
      return e.children[2] ? evaluate(*e.children[2]) : Value(Undefined{"the inline if without else"});
    }
    return {};
  }

  std::vector<Value> evaluateAll(const std::vector<ExpressionPtr> &expressions) {
    std::vector<Value> values;
    for (const ExpressionPtr &expression : expressions)
      values.push_back(evaluate(*expression));
    return values;
  }

  Value dictLiteral(const Expression &e) {
    auto dict = std::make_shared<Dict>();
    for (size_t i = 0; i + 1 < e.children.size() && !error; i += 2) {
      const Value key = evaluate(*e.children[i]);
      if (!key.string())
        return fail("expected texts as keys, found " + std::string(key.typeName()));
      dict->set(*key.string(), evaluate(*e.children[i + 1]));
    }
    return bounded(std::shared_ptr<const Dict>(dict));
  }

  // Arguments of a call, filter or test: children after the first.
  Arguments arguments(const Expression &e) {
    Arguments given;
    const size_t positional = e.children.size() - e.names.size();
    for (size_t i = 1; i < e.children.size() && !error; ++i)
      if (i < positional)
        given.positional.push_back(evaluate(*e.children[i]));
      else
        given.named.emplace_back(e.names[i - positional], evaluate(*e.children[i]));
    return given;
  }

  Value call(const Expression &e) {
    const Expression &callee = *e.children[0];
    if (callee.kind == EK::Attribute) {
      const Value object = evaluate(*callee.children[0]);
      const Arguments given = arguments(e);
      spend(static_cast<int64_t>(object.extent().bytes / 64));
      line = e.line;
      return error ? Value() : callMethod(*this, object, callee.text, given);
    }
    const Arguments given = arguments(e);
    line = e.line;
    if (error)
      return {};
    const Value *found = find(callee.text);
    if (const auto *macro = found ? found->get<const Statement *>() : nullptr)
      return callMacro(**macro, given);
    if (found || !isFunction(callee.text))
      return fail("'" + callee.text + "' is not a function or macro here");
    return callFunction(*this, callee.text, given);
  }

  Value callMacro(const Statement &macro, const Arguments &given) {
    if (given.positional.size() > macro.targets.size())
      return fail("macro " + macro.text + ": expected at most " + std::to_string(macro.targets.size()) +
                  " arguments, found " + std::to_string(given.positional.size()));
    for (const auto &[name, value] : given.named)
      if (std::find(macro.targets.begin(), macro.targets.end(), name) == macro.targets.end())
        return fail("macro " + macro.text + ": no argument is named " + name);
    const size_t outerBase = std::exchange(base, scopes.size());
    scopes.emplace_back();
    const size_t firstDefault = macro.targets.size() - macro.expressions.size();
    for (size_t i = 0; i < macro.targets.size(); ++i) {
      const Value *value = given.find(i, macro.targets[i]);
      assign(macro.targets[i], value               ? *value
                               : i >= firstDefault ? evaluate(*macro.expressions[i - firstDefault])
                                                   : Value(Undefined{macro.targets[i]}));
    }
    Value text = capture(macro.bodies[0]);
    scopes.pop_back();
    base = outerBase;
    return text;
  }

  Value filter(const Expression &e) {
    const Value input = evaluate(*e.children[0]);
    const Arguments given = arguments(e);
    spend(static_cast<int64_t>(input.extent().bytes / 64));
    line = e.line;
    return error ? Value() : bounded(callFilter(*this, e.text, input, given));
  }

  Value test(const Expression &e) {
    const Value input = evaluate(*e.children[0]);
    const Arguments given = arguments(e);
    line = e.line;
    return !error && callTest(*this, e.text, input, given);
  }

  Value concatenate(const Expression &e) {
    std::string text;
    for (const ExpressionPtr &child : e.children)
      text += toText(evaluate(*child));
    return bounded(std::move(text));
  }

  Value comparison(const Expression &e) {
    Value left = evaluate(*e.children[0]);
    for (size_t i = 0; i < e.names.size(); ++i) {
      Value right = evaluate(*e.children[i + 1]);
      if (error || !holds(e.names[i], left, right))
        return false;
      left = std::move(right);
    }
    return true;
  }

  bool holds(const std::string &op, const Value &a, const Value &b) {
    if (op == "==" || op == "!=")
      return equal(a, b) == (op == "==");
    if (op == "in" || op == "not in") {
      const auto inside = contains(b, a);
      if (!inside)
        fail("cannot look for " + std::string(a.typeName()) + " in " + std::string(b.typeName()));
      return inside && *inside == (op == "in");
    }
    const auto order = compare(a, b);
    if (!order)
      fail("cannot order " + std::string(a.typeName()) + " and " + std::string(b.typeName()) + " with " + op);
    return order && (op == "<"    ? *order < 0
                     : op == "<=" ? *order <= 0
                     : op == ">"  ? *order > 0
                                  : *order >= 0);
  }

  std::string out;
  std::vector<Scope> scopes; // the first: what the template was given and sets outside of blocks
  size_t base = 0;           // scopes below are another macro's or the caller's, but for the first
  int64_t budget = kBudget, loops = 0;
  int nesting = 0;
};

} // namespace

Result<std::string> renderTemplate(const Template &parsed, Dict variables) {
  return Evaluator(std::move(variables)).run(parsed);
}

} // namespace qwench::jinja
