#include "compiler/jit/loaded_program.h"

#include "llvm/ExecutionEngine/Orc/AbsoluteSymbols.h"
#include "llvm/Support/SmallVectorMemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"

using namespace mlir;

namespace qwench {

static Error describe(llvm::Error error) { return internalError(llvm::toString(std::move(error))); }

Result<std::unique_ptr<LoadedProgram>> LoadedProgram::load(ModuleOp planned, const Target &target, Launch *launch) {
  PassManager passes(planned.getContext());
  target.addKernelPasses(passes);
  target.addLoweringPasses(passes);
  if (failed(passes.run(planned)))
    return internalError("expected a module that lowers");
  llvm::SmallVector<char, 0> object;
  llvm::raw_svector_ostream stream(object);
  if (Status emitted = target.emit(planned, EmitKind::Object, stream); !emitted)
    return emitted.takeError();

  llvm::InitializeNativeTarget();
  auto loaded = std::make_unique<LoadedProgram>();
  auto jit = llvm::orc::LLJITBuilder().create();
  if (!jit)
    return describe(jit.takeError());
  loaded->jit = std::move(*jit);
  auto &library = loaded->jit->getMainJITDylib();
  llvm::orc::SymbolMap symbols;
  auto offer = [&](llvm::StringRef name, auto *function) {
    symbols[loaded->jit->mangleAndIntern(name)] = {llvm::orc::ExecutorAddr::fromPtr(function), llvm::JITSymbolFlags::Exported};
  };
  offer("qwench_team_share", qwench_team_share);
  offer("qwench_team_take", qwench_team_take);
  offer("qwench_team_barrier", qwench_team_barrier);
  if (launch)
    offer("qwench_device_launch", launch);
  if (auto error = library.define(llvm::orc::absoluteSymbols(symbols)))
    return describe(std::move(error));
  auto libm = llvm::orc::DynamicLibrarySearchGenerator::GetForCurrentProcess(loaded->jit->getDataLayout().getGlobalPrefix());
  if (!libm)
    return describe(libm.takeError());
  library.addGenerator(std::move(*libm));
  auto buffer = std::make_unique<llvm::SmallVectorMemoryBuffer>(std::move(object), "kernels", false);
  if (auto error = loaded->jit->addObjectFile(std::move(buffer)))
    return describe(std::move(error));
  auto found = loaded->jit->lookup("qwench_program");
  if (!found)
    return describe(found.takeError());
  loaded->description = found->toPtr<const QwenchProgram *>();
  return loaded;
}

} // namespace qwench
