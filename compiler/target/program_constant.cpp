#include "compiler/target/program_constant.h"

#include "dialects/Qwen.h"
#include "runtime/abi/program.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace qwench;

/// Members of qwen.program that are numbers, in the order of QwenchProgram.
static constexpr StringLiteral kSizes[] = {"vocab_size", "logits_stride", "max_context", "layers"};
static constexpr StringLiteral kCosts[] = {"weight_bytes_per_token", "flops_per_token", "flops_per_output",
                                           "attention_flops_per_pair"};

StructWriter::StructWriter(ModuleOp module) : b(module.getLoc(), module.getContext()), module(module) {}

void StructWriter::number(unsigned bits, uint64_t value) {
  Type type = b.getIntegerType(bits);
  members.push_back({type, [=](ImplicitLocOpBuilder &at) -> Value {
                       return LLVM::ConstantOp::create(at, type, IntegerAttr::get(type, APInt(bits, value)));
                     }});
}

void StructWriter::text(StringRef name, StringRef value) {
  std::string symbol = ("qwench_text." + name).str();
  emitBytes(module, symbol, value.str() + '\0', 1);
  address(symbol);
}

void StructWriter::address(StringRef symbol) {
  Type type = LLVM::LLVMPointerType::get(b.getContext());
  std::string name = symbol.str();
  members.push_back({type, [=](ImplicitLocOpBuilder &at) -> Value { return LLVM::AddressOfOp::create(at, type, name); }});
}

void StructWriter::null() {
  Type type = LLVM::LLVMPointerType::get(b.getContext());
  members.push_back({type, [=](ImplicitLocOpBuilder &at) -> Value { return LLVM::ZeroOp::create(at, type); }});
}

void StructWriter::finish(StringRef symbol, bool external) {
  SmallVector<Type> types;
  for (auto &member : members)
    types.push_back(member.first);
  auto type = LLVM::LLVMStructType::getLiteral(b.getContext(), types);
  b.setInsertionPointToEnd(module.getBody());
  auto linkage = external ? LLVM::Linkage::External : LLVM::Linkage::Private;
  auto global = LLVM::GlobalOp::create(b, type, true, linkage, symbol, Attribute());
  b.createBlock(&global.getInitializerRegion());
  Value value = LLVM::PoisonOp::create(b, type);
  for (auto [i, member] : llvm::enumerate(members))
    value = LLVM::InsertValueOp::create(b, value, member.second(b), ArrayRef<int64_t>{static_cast<int64_t>(i)});
  LLVM::ReturnOp::create(b, value);
}

void qwench::emitBytes(ModuleOp module, StringRef symbol, StringRef bytes, unsigned alignment) {
  ImplicitLocOpBuilder b(module.getLoc(), module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  auto type = LLVM::LLVMArrayType::get(b.getI8Type(), bytes.size());
  LLVM::GlobalOp::create(b, type, true, LLVM::Linkage::Private, symbol, b.getStringAttr(bytes), alignment);
}

LogicalResult qwench::checkProgramAttributes(ModuleOp module) {
  auto program = module->getAttrOfType<DictionaryAttr>("qwen.program");
  if (!module->getAttrOfType<qwen::PlanAttr>("qwen.plan") || !program || !module->getAttrOfType<IntegerAttr>("qwen.plan_hash"))
    return module.emitError("expected the attributes qwen.plan, qwen.plan_hash and qwen.program of a planned module");
  for (StringRef name : {"name", "kv_dtype"})
    if (!program.getAs<StringAttr>(name))
      return module.emitError("expected a text '") << name << "' in qwen.program";
  if (!program.getAs<TypeAttr>("dtype"))
    return module.emitError("expected a type 'dtype' in qwen.program");
  for (ArrayRef<StringLiteral> names : {ArrayRef(kSizes), ArrayRef(kCosts)})
    for (StringRef name : names)
      if (!program.getAs<IntegerAttr>(name))
        return module.emitError("expected a number '") << name << "' in qwen.program";
  return success();
}

void qwench::emitProgramConstant(ModuleOp module, const ProgramFacts &facts) {
  auto plan = module->getAttrOfType<qwen::PlanAttr>("qwen.plan");
  auto program = module->getAttrOfType<DictionaryAttr>("qwen.program");
  auto hash = module->getAttrOfType<IntegerAttr>("qwen.plan_hash");
  auto number = [&](StringRef name) { return program.getAs<IntegerAttr>(name).getInt(); };
  auto typeName = [&](StringRef name) {
    std::string text;
    llvm::raw_string_ostream(text) << program.getAs<TypeAttr>(name).getValue();
    return text;
  };
  StructWriter w(module);
  w.number(32, QWENCH_ABI_VERSION);
  w.number(32, sizeof(QwenchProgram));
  w.number(64, hash.getValue().getZExtValue());
  w.text("name", program.getAs<StringAttr>("name").getValue());
  w.text("target", facts.target);
  w.text("cpu", facts.cpu);
  w.text("features", facts.features);
  w.text("dtype", typeName("dtype"));
  w.text("kv_dtype", program.getAs<StringAttr>("kv_dtype").getValue());
  for (StringRef name : kSizes)
    w.number(64, number(name));
  for (int64_t value : {plan.getPrefillRows(), plan.getDecodeRows(), plan.getArenaBytes(), plan.getThreadScratchBytes(),
                        plan.getWeightBytes()})
    w.number(64, value);
  w.number(64, number(kCosts[0]));
  w.number(64, plan.getCacheBytesPerPosition());
  w.number(64, plan.getCacheGranule());
  for (StringRef name : ArrayRef(kCosts).drop_front())
    w.number(64, number(name));
  w.address("qwench_step_prefill");
  w.address("qwench_step_decode");
  if (facts.device.empty())
    w.null();
  else
    w.address(facts.device);
  if (module.lookupSymbol("qwench_step_sample"))
    w.address("qwench_step_sample");
  else
    w.null();
  w.finish("qwench_program", /*external=*/true);
}
