// team-schedule
// Assumes: kernels stage. Guarantees: no qwen.launch; functions that launch take (..., team, scratch, thread).
//   qwen.launch @k tiles(%n) args(%a)  =>  t = call @qwench_team_share(team, thread, %n)
//                                          while t >= 0: call @k(%a, scratch, t); t = call @qwench_team_take(team, thread)
//                                          call @qwench_team_barrier(team)
// A thread's tiles are consecutive, so each reads its weights as one sequential stream; one that is done early takes tiles
// from the ends of the others' shares.
#include "compiler/target/x86/passes.h"
#include "dialects/Qwen.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace qwench;

namespace {

/// The runtime's functions.
struct Team {
  func::FuncOp share, take, barrier;
};

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
    Type index = builder.getIndexType();
    auto declare = [&](StringRef name, ArrayRef<Type> arguments, ArrayRef<Type> results) {
      auto function = func::FuncOp::create(builder, getOperation().getLoc(), name, builder.getFunctionType(arguments, results));
      function.setPrivate();
      return function;
    };
    Team team{declare("qwench_team_share", {pointer, index, index}, {index}),
              declare("qwench_team_take", {pointer, index}, {index}), declare("qwench_team_barrier", {pointer}, {})};
    SymbolTable symbols(getOperation());
    auto functions = scheduled();
    SmallVector<Type> extra{pointer, MemRefType::get({ShapedType::kDynamic}, builder.getI8Type()), index};
    for (func::FuncOp function : functions)
      for (Type type : extra)
        (void)function.insertArgument(function.getNumArguments(), type, {}, function.getLoc());
    for (func::FuncOp function : functions) {
      auto own = function.getArguments().take_back(extra.size());
      function.walk([&](Operation *op) {
        if (auto launch = dyn_cast<qwen::LaunchOp>(op))
          schedule(launch, own, team);
        else if (auto call = dyn_cast<func::CallOp>(op); call && functions.contains(symbols.lookup<func::FuncOp>(call.getCallee())))
          call->insertOperands(call->getNumOperands(), own);
      });
    }
  }

  void schedule(qwen::LaunchOp launch, ArrayRef<BlockArgument> own, const Team &functions) {
    ImplicitLocOpBuilder b(launch.getLoc(), launch);
    Value team = own[0], scratch = own[1], thread = own[2];
    Value first = func::CallOp::create(b, functions.share, ValueRange{team, thread, launch.getTiles()}).getResult(0);
    auto before = [&](OpBuilder &inner, Location loc, ValueRange tile) {
      Value zero = arith::ConstantIndexOp::create(inner, loc, 0);
      Value some = arith::CmpIOp::create(inner, loc, arith::CmpIPredicate::sge, tile[0], zero);
      scf::ConditionOp::create(inner, loc, some, tile);
    };
    auto after = [&](OpBuilder &inner, Location loc, ValueRange tile) {
      SmallVector<Value> operands(launch.getArgs());
      operands.append({scratch, tile[0]});
      func::CallOp::create(inner, loc, launch.getKernel(), TypeRange{}, operands);
      scf::YieldOp::create(inner, loc, func::CallOp::create(inner, loc, functions.take, ValueRange{team, thread}).getResults());
    };
    scf::WhileOp::create(b, TypeRange{b.getIndexType()}, ValueRange{first}, before, after);
    func::CallOp::create(b, functions.barrier, ValueRange{team});
    launch.erase();
  }
};

} // namespace

std::unique_ptr<Pass> qwench::x86::createTeamSchedulePass() { return std::make_unique<TeamSchedule>(); }
