#include "compiler/target/planned_functions.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::qwen;

namespace {

class PlannedFunctions {
public:
  PlannedFunctions(ModuleOp module, EmitTileProgram emit) : module(module), emit(emit) {}

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
  LogicalResult convert(func::FuncOp planned, StringRef name) {
    StepBuilder b(planned.getLoc(), module.getContext());
    b.setInsertionPointToEnd(module.getBody());
    auto function = func::FuncOp::create(b, name, b.getFunctionType({BatchType::get(b.getContext()), b.getIndexType(), b.getIndexType()}, {}));
    Block *body = function.addEntryBlock();
    b.setInsertionPointToStart(body);
    b.module = module;
    b.batch = body->getArgument(0), b.layer = body->getArgument(1), b.instance = body->getArgument(2);
    int64_t number = 0;
    for (Operation &op : planned.getBody().front()) {
      if (isa<ParamOp, BufferOp, BatchSizeOp, arith::ConstantOp, arith::MulIOp, func::ReturnOp>(op))
        continue;
      if (auto layers = dyn_cast<LayersOp>(op)) {
        emitLayers(b, layers, name);
        continue;
      }
      if (failed(emit(b, &op, (name + "." + Twine(number++) + "." + op.getName().stripDialect()).str())))
        return failure();
    }
    func::ReturnOp::create(b);
    return success();
  }

  /// One loop over the layers; which function and which instance is read from tables.
  void emitLayers(StepBuilder &b, LayersOp layers, StringRef entry) {
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

  Value table(StepBuilder &b, StringRef name, ArrayRef<int64_t> values) {
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
  EmitTileProgram emit;
};

} // namespace

LogicalResult qwench::convertPlannedFunctions(ModuleOp module, EmitTileProgram emit) {
  return PlannedFunctions(module, emit).run();
}
