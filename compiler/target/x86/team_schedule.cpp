// team-schedule
// Assumes: kernels stage. Guarantees: no qwen.launch; functions that launch take (..., team, scratch, thread, threads).
//   qwen.launch @k tiles(%n) args(%a)  =>  for t in [n * thread / threads, n * (thread + 1) / threads): call @k(%a, scratch, t)
//                                          call @qwench_team_barrier(team)
// A thread's tiles are consecutive, so each reads its weights as one sequential stream.
#include "compiler/target/x86/passes.h"
#include "dialects/Qwen.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace qwench;

namespace {

struct TeamSchedule : PassWrapper<TeamSchedule, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(TeamSchedule)

  StringRef getArgument() const final { return "team-schedule"; }
  StringRef getDescription() const final { return "every thread walks the step and takes its share of each launch"; }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<func::FuncDialect, arith::ArithDialect, scf::SCFDialect, LLVM::LLVMDialect>();
  }

  /// The functions through which launches are reached: those that hold one, and their callers.
  llvm::SetVector<func::FuncOp> scheduled() {
    SymbolTable symbols(getOperation());
    llvm::SetVector<func::FuncOp> found;
    getOperation().walk([&](qwen::LaunchOp op) { found.insert(op->getParentOfType<func::FuncOp>()); });
    for (bool changed = true; changed;) {
      changed = false;
      getOperation().walk([&](func::CallOp call) {
        if (found.contains(symbols.lookup<func::FuncOp>(call.getCallee())))
          changed |= found.insert(call->getParentOfType<func::FuncOp>());
      });
    }
    return found;
  }

  void runOnOperation() override {
    MLIRContext *context = &getContext();
    OpBuilder builder(context);
    builder.setInsertionPointToStart(getOperation().getBody());
    auto pointer = LLVM::LLVMPointerType::get(context);
    auto barrier = func::FuncOp::create(builder, getOperation().getLoc(), "qwench_team_barrier",
                                        builder.getFunctionType({pointer}, {}));
    barrier.setPrivate();
    SymbolTable symbols(getOperation());
    auto functions = scheduled();
    SmallVector<Type> extra{pointer, MemRefType::get({ShapedType::kDynamic}, builder.getI8Type()),
                            builder.getIndexType(), builder.getIndexType()};
    for (func::FuncOp function : functions)
      for (Type type : extra)
        (void)function.insertArgument(function.getNumArguments(), type, {}, function.getLoc());
    for (func::FuncOp function : functions) {
      auto own = function.getArguments().take_back(extra.size());
      function.walk([&](Operation *op) {
        if (auto launch = dyn_cast<qwen::LaunchOp>(op))
          schedule(launch, own, barrier);
        else if (auto call = dyn_cast<func::CallOp>(op); call && functions.contains(symbols.lookup<func::FuncOp>(call.getCallee())))
          call->insertOperands(call->getNumOperands(), own);
      });
    }
  }

  void schedule(qwen::LaunchOp launch, ArrayRef<BlockArgument> own, func::FuncOp barrier) {
    OpBuilder builder(launch);
    Location loc = launch.getLoc();
    Value team = own[0], scratch = own[1], thread = own[2], threads = own[3];
    Value one = arith::ConstantIndexOp::create(builder, loc, 1);
    auto shareBefore = [&](Value t) -> Value {
      return arith::DivUIOp::create(builder, loc, arith::MulIOp::create(builder, loc, launch.getTiles(), t), threads);
    };
    Value begin = shareBefore(thread), end = shareBefore(arith::AddIOp::create(builder, loc, thread, one));
    auto loop = scf::ForOp::create(builder, loc, begin, end, one);
    builder.setInsertionPointToStart(loop.getBody());
    SmallVector<Value> operands(launch.getArgs());
    operands.push_back(scratch);
    operands.push_back(loop.getInductionVar());
    func::CallOp::create(builder, loc, launch.getKernel(), TypeRange{}, operands);
    builder.setInsertionPointAfter(loop);
    func::CallOp::create(builder, loc, barrier, ValueRange{team});
    launch.erase();
  }
};

} // namespace

std::unique_ptr<Pass> qwench::x86::createTeamSchedulePass() { return std::make_unique<TeamSchedule>(); }
