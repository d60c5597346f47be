// x86-to-kernels
// Assumes: planned stage. Guarantees: each tile program is a function (batch, [layer, instance,] scratch, tile) without
// qwen ops but step_field; entry points and layer functions hold only launches, calls and the loop over layers.
#include "compiler/target/x86/kernels.h"
#include "compiler/target/x86/passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/X86Vector/X86VectorDialect.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;
using namespace qwench::qwen;

namespace {

class ToKernels {
public:
  ToKernels(ModuleOp module, bool bf16Dot) : module(module), bf16Dot(bf16Dot) {}

  LogicalResult run() {
    SmallVector<func::FuncOp> planned(module.getOps<func::FuncOp>());
    for (func::FuncOp function : planned) {
      std::string name = function.getSymName().str();
      function.setSymName(name + ".planned"); // makes way for the function that takes its place
      if (failed(convert(function, name)))
        return failure();
    }
    for (func::FuncOp function : planned)
      function.erase();
    for (auto op : llvm::make_early_inc_range(module.getOps<WeightOp>()))
      op.erase();
    for (auto op : llvm::make_early_inc_range(module.getOps<RotaryOp>()))
      op.erase();
    return success();
  }

private:
  /// A builder inside a new function `(batch, layer, instance, extra types...)`.
  std::pair<func::FuncOp, KernelBuilder> begin(Location loc, StringRef name, ArrayRef<Type> extra) {
    KernelBuilder b(loc, module.getContext());
    b.setInsertionPointToEnd(module.getBody());
    SmallVector<Type> types{BatchType::get(module.getContext()), b.getIndexType(), b.getIndexType()};
    types.append(extra.begin(), extra.end());
    auto function = func::FuncOp::create(b, name, b.getFunctionType(types, {}));
    Block *body = function.addEntryBlock();
    b.setInsertionPointToStart(body);
    b.module = module;
    b.bf16Dot = bf16Dot;
    b.batch = body->getArgument(0), b.layer = body->getArgument(1), b.instance = body->getArgument(2);
    return {function, b};
  }

  LogicalResult convert(func::FuncOp planned, StringRef name) {
    auto [function, b] = begin(planned.getLoc(), name, {});
    int64_t number = 0;
    for (Operation &op : planned.getBody().front()) {
      if (isa<ParamOp, BufferOp, BatchSizeOp, arith::ConstantOp, arith::MulIOp, func::ReturnOp>(op))
        continue;
      if (auto layers = dyn_cast<LayersOp>(op)) {
        emitLayers(b, layers, name);
        continue;
      }
      const TileProgram *program = findTileProgram(&op);
      if (!program)
        return op.emitOpError("expected an op that this target has a tile program for");
      std::string kernel = (name + "." + Twine(number++) + "." + op.getName().stripDialect()).str();
      emitKernel(&op, *program, kernel);
      LaunchOp::create(b, kernel, program->tiles(b, &op), ValueRange{b.batch, b.layer, b.instance});
    }
    func::ReturnOp::create(b);
    return success();
  }

  void emitKernel(Operation *op, const TileProgram &program, StringRef name) {
    Builder types(module.getContext());
    auto [function, b] = begin(op->getLoc(), name, {MemRefType::get({ShapedType::kDynamic}, types.getI8Type()), types.getIndexType()});
    function.setPrivate();
    b.scratch = function.getArgument(3), b.tile = function.getArgument(4);
    program.body(b, op);
    b.setInsertionPointToEnd(&function.getBody().front());
    func::ReturnOp::create(b);
  }

  /// One loop over the layers; which function and which instance is read from tables.
  void emitLayers(KernelBuilder &b, LayersOp layers, StringRef entry) {
    SmallVector<StringRef> kinds;
    SmallVector<int64_t> kind, instance, seen;
    for (auto callee : layers.getCallees().getAsRange<FlatSymbolRefAttr>()) {
      auto *found = llvm::find(kinds, callee.getValue());
      int64_t k = found - kinds.begin();
      if (found == kinds.end()) {
        kinds.push_back(callee.getValue());
        seen.push_back(0);
      }
      kind.push_back(k);
      instance.push_back(seen[k]++);
    }
    auto call = [&](StringRef callee, Value layer, Value which) {
      func::CallOp::create(b, callee, TypeRange{}, ValueRange{b.batch, layer, which});
    };
    int64_t count = kind.size();
    if (kinds.size() == 1)
      return b.loop(count, 1, [&](Value layer) { call(kinds[0], layer, layer); });
    Value kindTable = table(b, ("layer_kinds." + entry).str(), kind);
    Value instanceTable = table(b, ("layer_instances." + entry).str(), instance);
    b.loop(count, 1, [&](Value layer) {
      Value which = memref::LoadOp::create(b, instanceTable, ValueRange{layer});
      Value selector = memref::LoadOp::create(b, kindTable, ValueRange{layer});
      SmallVector<int64_t> cases;
      for (size_t k = 1; k < kinds.size(); ++k)
        cases.push_back(k);
      auto choice = scf::IndexSwitchOp::create(b, TypeRange{}, selector, cases, cases.size());
      OpBuilder::InsertionGuard guard(b);
      for (size_t k = 0; k < kinds.size(); ++k) {
        Region &region = k == 0 ? choice.getDefaultRegion() : choice.getCaseRegions()[k - 1];
        b.createBlock(&region);
        call(kinds[k], layer, which);
        scf::YieldOp::create(b);
      }
    });
  }

  Value table(KernelBuilder &b, StringRef name, ArrayRef<int64_t> values) {
    auto type = MemRefType::get({static_cast<int64_t>(values.size())}, b.getIndexType());
    OpBuilder::InsertionGuard guard(b);
    {
      OpBuilder::InsertionGuard inner(b);
      b.setInsertionPointToStart(module.getBody());
      auto tensor = RankedTensorType::get(type.getShape(), b.getIndexType());
      memref::GlobalOp::create(b, name, b.getStringAttr("private"), type,
                               DenseIntElementsAttr::get(tensor, values), true, IntegerAttr());
    }
    return memref::GetGlobalOp::create(b, type, name);
  }

  ModuleOp module;
  bool bf16Dot;
};

struct ToKernelsPass : PassWrapper<ToKernelsPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ToKernelsPass)

  explicit ToKernelsPass(bool bf16Dot) : bf16Dot(bf16Dot) {}
  StringRef getArgument() const final { return "x86-to-kernels"; }
  StringRef getDescription() const final { return "tile programs become functions over vectors and flat buffers"; }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<func::FuncDialect, arith::ArithDialect, math::MathDialect, memref::MemRefDialect, scf::SCFDialect,
                    vector::VectorDialect, x86vector::X86VectorDialect>();
  }
  void runOnOperation() override {
    if (failed(ToKernels(getOperation(), bf16Dot).run()))
      signalPassFailure();
  }
  bool bf16Dot;
};

} // namespace

std::unique_ptr<Pass> qwench::x86::createToKernelsPass(bool bf16Dot) { return std::make_unique<ToKernelsPass>(bf16Dot); }
