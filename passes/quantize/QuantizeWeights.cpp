// quantize-weights: chooses the formats of weights.
//
// Does: gives every matrix that enters a product the element type of `dtype`, and those whose checkpoint tensor (or
//   symbol) a rule of `dtype-for` names the rule's, the last such rule's if there are several. Numbers are not its
//   matter: packing and the evaluator make them from the type. Router projections, vectors and a table that is only
//   looked up keep their floats (a rule may choose which); weights that are quantized in the checkpoint stay as they are
//   unless a rule names them.
// Assumes: model or fused stage; weights are used through qwen.param.
// Guarantees: a weight with parts has the type of its parts; qwen.model says the dtype that was asked for.
//
//   qwen.weight @q : tensor<128x64xbf16> ...  =>  qwen.weight @q : tensor<128x64x!qwen.quant<i4, group = 64, scale = f16>>
#include "dialects/quantization/names.h"
#include "dialects/tensor_names.h"
#include "passes/Passes.h"
#include "passes/fault.h"
#include "passes/quantize/FormatRules.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench {
#define GEN_PASS_DEF_QUANTIZEWEIGHTS
#include "passes/Passes.h.inc"

namespace {

/// What a weight's values go into.
struct Uses {
  bool product = false, router = false, lookup = false;
};

void addUse(Operation *user, Uses &uses) {
  if (isa<FusedRouterOp>(user) || (isa<LinearOp>(user) && llvm::any_of(user->getUsers(), llvm::IsaPred<RouterOp>)))
    uses.router = true;
  else if (isa<LinearOp, FusedLinearOp, ExpertsOp, GroupedLinearOp, GroupedLinearCombineOp>(user))
    uses.product = true;
  else if (isa<EmbeddingOp>(user))
    uses.lookup = true;
}

RankedTensorType typeOf(WeightOp weight) { return cast<RankedTensorType>(weight.getType()); }

/// The names that rules may know a weight's tensors by, for each of its tensors.
std::vector<SmallVector<std::string, 3>> namesOf(WeightOp weight, const Uses &uses) {
  std::vector<SmallVector<std::string, 3>> tensors;
  int64_t experts = hasTensorPerExpert(weight) && typeOf(weight).getRank() == 3 ? typeOf(weight).getDimSize(0) : 1;
  for (int64_t instance = 0; instance < int64_t(weight.getInstances()); ++instance)
    for (int64_t expert = 0; expert < experts; ++expert) {
      auto &names = tensors.emplace_back();
      names = {tensorName(weight, instance, expert), weight.getSymName().str()};
      if (uses.lookup && uses.product)
        names.push_back("lm_head"); // a tied table is the head, too
    }
  return tensors;
}

InFlightDiagnostic refuse(Operation *op) { return markUserFault(op->emitError("formats of weights: ")); }

struct QuantizeWeights : impl::QuantizeWeightsBase<QuantizeWeights> {
  using QuantizeWeightsBase::QuantizeWeightsBase;

  void runOnOperation() override {
    if (failed(parseOptions()))
      return signalPassFailure();
    if (!base && rules.empty())
      return;
    ModuleOp module = getOperation();
    collectUses(module);
    for (auto weight : module.getOps<WeightOp>())
      if (weight.getSource() && typeOf(weight).getRank() > 1 && failed(choose(weight)))
        return signalPassFailure();
    if (failed(checkRules(module)) || failed(changeFused(module)))
      return signalPassFailure();
    module.walk([&](ParamOp param) {
      if (auto weight = module.lookupSymbol<WeightOp>(param.getWeight()))
        param.getResult().setType(typeOf(weight));
    });
    describe(module);
  }

private:
  LogicalResult report(const Error &error) { return refuse(getOperation()) << error.message; }

  LogicalResult parseOptions() {
    MLIRContext *context = &getContext();
    if (!dtype.empty()) {
      Result<Type> element = quantization::parseElement(context, dtype, groupSize);
      if (!element)
        return report(element.error());
      base = *element;
    }
    Result<std::vector<FormatRule>> parsed = parseFormatRules(context, dtypeFor, groupSize);
    if (!parsed)
      return report(parsed.error());
    rules = parsed.take();
    ruleTook.assign(rules.size(), false);
    ruleApplied.assign(rules.size(), false);
    return success();
  }

  /// The uses of every weight: its own, and those of the weights that it is a part of.
  void collectUses(ModuleOp module) {
    module.walk([&](ParamOp param) {
      SmallVector<StringAttr> names{param.getWeightAttr().getAttr()};
      while (!names.empty()) {
        StringAttr name = names.pop_back_val();
        for (Operation *user : param->getUsers())
          addUse(user, uses[name]);
        if (auto weight = module.lookupSymbol<WeightOp>(name); weight && weight.getParts())
          for (auto part : weight.getParts()->getAsRange<FlatSymbolRefAttr>())
            names.push_back(part.getAttr());
      }
    });
  }

  /// The last rule that takes one of the names; -1 if none does.
  int ruleFor(ArrayRef<std::string> names) {
    int chosen = -1;
    for (auto [i, rule] : llvm::enumerate(rules))
      if (llvm::any_of(names, [&rule = rule](const std::string &name) { return takes(rule, name); })) {
        ruleTook[i] = true;
        chosen = static_cast<int>(i);
      }
    return chosen;
  }

  LogicalResult choose(WeightOp weight) {
    Uses used = uses.lookup(weight.getSymNameAttr());
    std::vector<SmallVector<std::string, 3>> tensors = namesOf(weight, used);
    int rule = ruleFor(tensors.front());
    bool onlyFloats = used.router || !used.product;
    auto effective = [&](int rule) { return onlyFloats && isa_and_nonnull<QuantType>(formatOf(rule)) ? Type() : formatOf(rule); };
    for (const auto &names : ArrayRef(tensors).drop_front())
      if (int other = ruleFor(names); effective(other) != effective(rule))
        return refuse(weight) << "expected one format for all layers and experts of @" << weight.getSymName()
                              << ", which share their code, found " << spelled(rule) << " for " << tensors.front()[0]
                              << " and " << spelled(other) << " for " << names[0];
    Type element = formatOf(rule), old = typeOf(weight).getElementType();
    if (isa<QuantType>(old) && rule < 0)
      return success();
    bool quantized = isa_and_nonnull<QuantType>(element);
    if (!element || (quantized && onlyFloats) || (rule < 0 && !quantized))
      return success();
    if (rule >= 0)
      ruleApplied[rule] = true;
    weight.setType(RankedTensorType::get(typeOf(weight).getShape(), element));
    return success();
  }

  Type formatOf(int rule) const { return rule < 0 ? base : rules[rule].element; }
  std::string spelled(int rule) const {
    return formatOf(rule) ? quantization::elementName(formatOf(rule)) : "none";
  }

  /// A rule that changes nothing is a mistake in its pattern.
  LogicalResult checkRules(ModuleOp module) {
    for (size_t i = 0; i < rules.size(); ++i)
      if (!ruleTook[i])
        return refuse(module) << rules[i].text << ": expected a pattern that takes a weight, found none among "
                              << listWeights(module);
      else if (!ruleApplied[i] && isa<QuantType>(rules[i].element) && !overridden(module, i))
        return refuse(module) << rules[i].text << ": expected weights of products, found only router projections and "
                              << "tables that are looked up, which stay in floats";
    return success();
  }

  /// Whether a later rule took what rule `i` takes.
  bool overridden(ModuleOp module, size_t i) {
    for (auto weight : module.getOps<WeightOp>())
      if (weight.getSource() && typeOf(weight).getRank() > 1) {
        auto names = namesOf(weight, uses.lookup(weight.getSymNameAttr())).front();
        if (ruleFor(names) > static_cast<int>(i) &&
            llvm::any_of(names, [&](const std::string &name) { return takes(rules[i], name); }))
          return true;
      }
    return false;
  }

  std::string listWeights(ModuleOp module) {
    llvm::SetVector<StringRef> names;
    for (auto weight : module.getOps<WeightOp>())
      if (weight.getSource() && typeOf(weight).getRank() > 1) {
        StringRef name = *weight.getSource();
        name.consume_front("model.");
        name.consume_back(".weight");
        names.insert(name);
      }
    return llvm::join(names, ", ");
  }

  LogicalResult changeFused(ModuleOp module) {
    for (auto weight : module.getOps<WeightOp>()) {
      auto parts = weight.getParts();
      if (!parts || typeOf(weight).getRank() < 2)
        continue;
      Type element;
      StringRef first;
      for (auto name : parts->getAsRange<FlatSymbolRefAttr>()) {
        auto part = module.lookupSymbol<WeightOp>(name.getAttr());
        if (!part)
          return refuse(weight) << "expected part " << name << " to name a weight";
        Type own = typeOf(part).getElementType();
        if (element && own != element)
          return refuse(weight) << "expected one format for the parts of @" << weight.getSymName() << ", found "
                                << quantization::elementName(element) << " for @" << first << " and "
                                << quantization::elementName(own) << " for " << name
                                << ": quantize the model stage, or disable the fusion";
        element = own;
        first = name.getValue();
      }
      weight.setType(RankedTensorType::get(typeOf(weight).getShape(), element));
    }
    return success();
  }

  void describe(ModuleOp module) {
    auto model = module->getAttrOfType<DictionaryAttr>("qwen.model");
    if (!model)
      return;
    Builder builder(module.getContext());
    NamedAttrList attributes(model);
    if (base)
      attributes.set("dtype", builder.getStringAttr(quantization::elementName(base)));
    if (!rules.empty())
      attributes.set("dtype_for", builder.getStringAttr(dtypeFor.getValue()));
    module->setAttr("qwen.model", attributes.getDictionary(module.getContext()));
  }

  Type base; ///< null: only what rules name
  std::vector<FormatRule> rules;
  std::vector<bool> ruleTook, ruleApplied;
  llvm::MapVector<StringAttr, Uses> uses;
};

} // namespace
} // namespace qwench
