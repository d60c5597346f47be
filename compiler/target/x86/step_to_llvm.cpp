// step-to-llvm
// Assumes: scheduled kernels. Guarantees: no qwen op or type; `prefill` and `decode` have the C signature of
// QwenchStepFunction, and the constant `qwench_program` describes the program (runtime/abi/program.h).
#include "compiler/target/step_fields.h"
#include "compiler/target/x86/passes.h"
#include "dialects/Qwen.h"
#include "runtime/abi/program.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

#include <cstddef>

using namespace mlir;
using namespace qwench;
using namespace qwench::qwen;

namespace {

struct StepToLLVM : PassWrapper<StepToLLVM, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(StepToLLVM)

  StepToLLVM(std::string cpu, std::string features) : cpu(std::move(cpu)), features(std::move(features)) {}
  StringRef getArgument() const final { return "step-to-llvm"; }
  StringRef getDescription() const final { return "step members become loads; emits the program's description"; }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<func::FuncDialect, arith::ArithDialect, LLVM::LLVMDialect, memref::MemRefDialect>();
  }

  void runOnOperation() override {
    lowerStepFields(getOperation());
    for (StringRef entry : {"prefill", "decode"})
      if (auto function = getOperation().lookupSymbol<func::FuncOp>(entry))
        emitEntry(function);
    auto internal = LLVM::LinkageAttr::get(&getContext(), LLVM::Linkage::Internal);
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isDeclaration())
        function->setAttr("llvm.linkage", internal);
    emitProgram();
    for (NamedAttribute attribute : llvm::to_vector(getOperation()->getAttrs()))
      if (attribute.getName().getValue().starts_with("qwen."))
        getOperation()->removeAttr(attribute.getName());
  }

  /// `void qwench_step_<entry>(const QwenchStep *, int64_t thread, int64_t threads)`.
  void emitEntry(func::FuncOp inner) {
    ImplicitLocOpBuilder b(inner.getLoc(), inner);
    auto pointer = LLVM::LLVMPointerType::get(&getContext());
    auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(&getContext()),
                                            {pointer, b.getI64Type(), b.getI64Type()});
    auto outer = LLVM::LLVMFuncOp::create(b, ("qwench_step_" + inner.getSymName()).str(), type);
    Block *body = outer.addEntryBlock(b);
    b.setInsertionPointToStart(body);
    Value step = body->getArgument(0), thread = body->getArgument(1), threads = body->getArgument(2);
    auto plan = getOperation()->getAttrOfType<PlanAttr>("qwen.plan");
    auto constant = [&](int64_t v) -> Value { return LLVM::ConstantOp::create(b, b.getI64Type(), b.getI64IntegerAttr(v)); };
    Value arena = loadAt(b, step, offsetof(QwenchStep, arena), pointer);
    Value behind = LLVM::AddOp::create(b, constant(plan.getArenaBytes()),
                                       LLVM::MulOp::create(b, thread, constant(plan.getThreadScratchBytes())));
    Value scratch = LLVM::GEPOp::create(b, pointer, b.getI8Type(), arena, ValueRange{behind});
    Value scratchMemory = flatMemref(b, scratch, MemRefType::get({ShapedType::kDynamic}, b.getI8Type()));
    Value team = loadAt(b, step, offsetof(QwenchStep, team), pointer);
    Value zero = arith::ConstantIndexOp::create(b, 0);
    auto toIndex = [&](Value v) -> Value { return arith::IndexCastOp::create(b, b.getIndexType(), v); };
    func::CallOp::create(b, inner, ValueRange{step, zero, zero, team, scratchMemory, toIndex(thread), toIndex(threads)});
    LLVM::ReturnOp::create(b, ValueRange());
  }

  void emitProgram();

  std::string cpu, features;
};

/// Emits a constant struct member by member.
class ProgramWriter {
public:
  ProgramWriter(ModuleOp module) : b(module.getLoc(), module.getContext()), module(module) {}

  void number(unsigned bits, uint64_t value) {
    Type type = b.getIntegerType(bits);
    members.push_back({type, [=](ImplicitLocOpBuilder &at) -> Value {
                         return LLVM::ConstantOp::create(at, type, IntegerAttr::get(type, APInt(bits, value)));
                       }});
  }

  void text(StringRef name, StringRef value) {
    b.setInsertionPointToEnd(module.getBody());
    std::string terminated = value.str() + '\0';
    auto type = LLVM::LLVMArrayType::get(b.getI8Type(), terminated.size());
    std::string symbol = ("qwench_text." + name).str();
    LLVM::GlobalOp::create(b, type, true, LLVM::Linkage::Private, symbol, b.getStringAttr(terminated));
    address(symbol);
  }

  void address(StringRef symbol) {
    Type type = LLVM::LLVMPointerType::get(b.getContext());
    std::string name = symbol.str();
    members.push_back({type, [=](ImplicitLocOpBuilder &at) -> Value { return LLVM::AddressOfOp::create(at, type, name); }});
  }

  void null() {
    Type type = LLVM::LLVMPointerType::get(b.getContext());
    members.push_back({type, [=](ImplicitLocOpBuilder &at) -> Value { return LLVM::ZeroOp::create(at, type); }});
  }

  void finish(StringRef symbol) {
    SmallVector<Type> types;
    for (auto &member : members)
      types.push_back(member.first);
    auto type = LLVM::LLVMStructType::getLiteral(b.getContext(), types);
    b.setInsertionPointToEnd(module.getBody());
    auto global = LLVM::GlobalOp::create(b, type, true, LLVM::Linkage::External, symbol, Attribute());
    b.createBlock(&global.getInitializerRegion());
    Value value = LLVM::PoisonOp::create(b, type);
    for (auto [i, member] : llvm::enumerate(members))
      value = LLVM::InsertValueOp::create(b, value, member.second(b), ArrayRef<int64_t>{static_cast<int64_t>(i)});
    LLVM::ReturnOp::create(b, value);
  }

private:
  ImplicitLocOpBuilder b;
  ModuleOp module;
  SmallVector<std::pair<Type, std::function<Value(ImplicitLocOpBuilder &)>>> members;
};

void StepToLLVM::emitProgram() {
  ModuleOp module = getOperation();
  auto plan = module->getAttrOfType<PlanAttr>("qwen.plan");
  auto program = module->getAttrOfType<DictionaryAttr>("qwen.program");
  auto hash = module->getAttrOfType<IntegerAttr>("qwen.plan_hash");
  auto number = [&](StringRef name) { return program.getAs<IntegerAttr>(name).getInt(); };
  auto typeName = [&](StringRef name) {
    std::string text;
    llvm::raw_string_ostream(text) << program.getAs<TypeAttr>(name).getValue();
    return text;
  };
  ProgramWriter w(module);
  w.number(32, QWENCH_ABI_VERSION);
  w.number(32, sizeof(QwenchProgram));
  w.number(64, hash.getValue().getZExtValue());
  w.text("name", program.getAs<StringAttr>("name").getValue());
  w.text("target", "x86-64");
  w.text("cpu", cpu);
  w.text("features", features);
  w.text("dtype", typeName("dtype"));
  w.text("kv_dtype", program.getAs<StringAttr>("kv_dtype").getValue());
  for (StringRef name : {"vocab_size", "logits_stride", "max_context", "layers"})
    w.number(64, number(name));
  for (int64_t value : {plan.getPrefillRows(), plan.getDecodeRows(), plan.getArenaBytes(), plan.getThreadScratchBytes(),
                        plan.getWeightBytes()})
    w.number(64, value);
  w.number(64, number("weight_bytes_per_token"));
  w.number(64, plan.getCacheBytesPerPosition());
  w.number(64, plan.getCacheGranule());
  for (StringRef name : {"flops_per_token", "flops_per_output", "attention_flops_per_pair"})
    w.number(64, number(name));
  w.address("qwench_step_prefill");
  w.address("qwench_step_decode");
  w.null(); // device
  w.finish("qwench_program");
}

} // namespace

std::unique_ptr<Pass> qwench::x86::createStepToLLVMPass(std::string cpu, std::string features) {
  return std::make_unique<StepToLLVM>(std::move(cpu), std::move(features));
}
