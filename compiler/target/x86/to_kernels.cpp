// x86-to-kernels
// Assumes: planned stage. Guarantees: each tile program is a function (batch, [layer, instance,] scratch, tile) without
// qwen ops but step_field; entry points and layer functions hold only launches, calls and the loop over layers.
#include "compiler/target/planned_functions.h"
#include "compiler/target/x86/cost_model.h"
#include "compiler/target/x86/kernels.h"
#include "compiler/target/x86/passes.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/X86Vector/X86VectorDialect.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;
using namespace qwench::qwen;

namespace {

/// The function of one tile program: (batch, layer, instance, scratch, tile).
void emitKernel(ModuleOp module, Operation *op, const TileProgram &program, StringRef name, const Machine &machine) {
  KernelBuilder b(op->getLoc(), module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  SmallVector<Type> types{BatchType::get(module.getContext()), b.getIndexType(), b.getIndexType(), b.flat(b.getI8Type()),
                          b.getIndexType()};
  auto function = func::FuncOp::create(b, name, b.getFunctionType(types, {}));
  function.setPrivate();
  Block *body = function.addEntryBlock();
  b.setInsertionPointToStart(body);
  b.module = module;
  b.machine = machine;
  b.batch = body->getArgument(0), b.layer = body->getArgument(1), b.instance = body->getArgument(2);
  b.scratch = body->getArgument(3), b.tile = body->getArgument(4);
  program.body(b, op);
  b.setInsertionPointToEnd(body);
  func::ReturnOp::create(b);
}

struct ToKernelsPass : PassWrapper<ToKernelsPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ToKernelsPass)

  explicit ToKernelsPass(const Machine &machine) : machine(machine) {}
  StringRef getArgument() const final { return "x86-to-kernels"; }
  StringRef getDescription() const final { return "tile programs become functions over vectors and flat buffers"; }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<func::FuncDialect, arith::ArithDialect, LLVM::LLVMDialect, math::MathDialect, memref::MemRefDialect,
                    scf::SCFDialect, vector::VectorDialect, amx::AMXDialect, x86vector::X86VectorDialect>();
  }
  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto emit = [&](StepBuilder &host, Operation *op, StringRef name) -> LogicalResult {
      const TileProgram *program = findTileProgram(op);
      if (!program)
        return op->emitOpError("expected an op that this target has a tile program for");
      if (failed(verifyTile(machine, op)))
        return failure();
      emitKernel(module, op, *program, name, machine);
      KernelBuilder counter(host);
      LaunchOp::create(host, name, program->tiles(counter, op), ValueRange{host.batch, host.layer, host.instance});
      return success();
    };
    if (failed(convertPlannedFunctions(module, emit)))
      signalPassFailure();
  }
  Machine machine;
};

} // namespace

std::unique_ptr<Pass> qwench::x86::createToKernelsPass(const Machine &machine) {
  return std::make_unique<ToKernelsPass>(machine);
}
