#include "tests/differential/kernel_harness.h"

#include "compiler/target/target.h"
#include "runtime/core/cpu.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ExecutionEngine/Orc/AbsoluteSymbols.h"
#include "llvm/Support/SmallVectorMemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"

using namespace mlir;

namespace qwench::test {

static std::string text(llvm::Error error) { return llvm::toString(std::move(error)); }

Result<std::unique_ptr<CompiledKernels>> CompiledKernels::compile(const std::string &planned, const std::string &cpu) {
  DialectRegistry registry;
  registerAllDialects(registry);
  registerAllExtensions(registry);
  registry.insert<qwen::QwenDialect>();
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(planned, &context);
  if (!module)
    return internalError("expected a module that parses");
  TargetOptions options;
  options.cpu = cpu;
  auto target = createTarget("x86-64", options);
  if (!target)
    return target.takeError();
  PassManager passes(&context);
  (*target)->addKernelPasses(passes);
  (*target)->addLoweringPasses(passes);
  if (failed(passes.run(*module)))
    return internalError("expected a module that lowers");
  llvm::SmallVector<char, 0> object;
  llvm::raw_svector_ostream stream(object);
  if (Status emitted = (*target)->emit(*module, EmitKind::Object, stream); !emitted)
    return emitted.takeError();

  llvm::InitializeNativeTarget();
  auto kernels = std::make_unique<CompiledKernels>();
  auto jit = llvm::orc::LLJITBuilder().create();
  if (!jit)
    return internalError(text(jit.takeError()));
  kernels->jit = std::move(*jit);
  auto &library = kernels->jit->getMainJITDylib();
  llvm::orc::SymbolMap symbols;
  symbols[kernels->jit->mangleAndIntern("qwench_team_barrier")] = {
      llvm::orc::ExecutorAddr::fromPtr(+[](QwenchTeam *) {}), llvm::JITSymbolFlags::Exported};
  if (auto error = library.define(llvm::orc::absoluteSymbols(symbols)))
    return internalError(text(std::move(error)));
  auto process = llvm::orc::DynamicLibrarySearchGenerator::GetForCurrentProcess(
      kernels->jit->getDataLayout().getGlobalPrefix());
  if (!process)
    return internalError(text(process.takeError()));
  library.addGenerator(std::move(*process));
  auto buffer = std::make_unique<llvm::SmallVectorMemoryBuffer>(std::move(object), "kernels", false);
  if (auto error = kernels->jit->addObjectFile(std::move(buffer)))
    return internalError(text(std::move(error)));
  auto found = kernels->jit->lookup("qwench_program");
  if (!found)
    return internalError(text(found.takeError()));
  kernels->description = found->toPtr<const QwenchProgram *>();
  return kernels;
}

bool CompiledKernels::runsHere() const {
  return static_cast<bool>(requireCpuFeatures(description->features, description->cpu));
}

} // namespace qwench::test
