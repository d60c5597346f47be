#include "tests/differential/all_dialects.h"
#include "tests/differential/kernel_harness.h"

#include "compiler/target/target.h"
#include "runtime/core/cpu.h"
#include "tests/differential/amx_emulator.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Parser/Parser.h"

using namespace mlir;

namespace qwench::test {

Result<std::unique_ptr<CompiledKernels>> CompiledKernels::compile(const std::string &planned, const std::string &cpu) {
  MLIRContext context(allDialects(), MLIRContext::Threading::DISABLED);
  context.loadDialect<qwen::QwenDialect>();
  context.loadAllAvailableDialects();
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(planned, &context);
  if (!module)
    return internalError("expected a module that parses");
  TargetOptions options;
  options.cpu = cpu;
  auto target = createTarget("x86-64", options);
  if (!target)
    return target.takeError();
  auto kernels = std::make_unique<CompiledKernels>();
  auto loaded = LoadedProgram::load(*module, **target);
  if (!loaded)
    return loaded.takeError();
  kernels->loaded = loaded.take();
  auto team = QwenchTeam::create(1);
  if (!team)
    return team.takeError();
  kernels->team = team.take();
  return kernels;
}

bool CompiledKernels::runsHere() const {
  provideAmx();
  return static_cast<bool>(requireCpuFeatures(withoutAmx(program().features), program().cpu));
}

} // namespace qwench::test
