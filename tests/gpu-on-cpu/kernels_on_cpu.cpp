// Kernels of the gpu dialect, compiled for the CPU and run by block.h.
#include "compiler/emit/codegen.h"
#include "compiler/target/gpu/passes.h"
#include "tests/gpu-on-cpu/block.h"
#include "tests/gpu-on-cpu/lower.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/TargetParser/Host.h"

using namespace mlir;

namespace qwench::gpu_on_cpu {

namespace {

/// Blocks of a cooperative kernel: several, and fewer than most launches have tiles.
constexpr int64_t kTogether = 3;

std::string hostFeatures() {
  std::string flags;
  for (const auto &feature : llvm::sys::getHostCPUFeatures())
    flags += (flags.empty() ? "" : ",") + std::string(feature.second ? "+" : "-") + feature.first().str();
  return flags;
}

class KernelsOnCpu : public gpu_test::Kernels {
public:
  Status emit(ModuleOp planned, const gpu::Device &device, gpu::Schedule schedule);
  Status run(gpu_test::Entry entry, const QwenchStep &step, const std::vector<Range> &memory) override;

private:
  using HostFunction = void (*)(const QwenchStep *step, int64_t layer, int64_t instance, void *team);

  /// What lowered host functions call; the team is this.
  static void launch(void *team, int64_t kernel, int64_t tiles, int64_t layer, int64_t instance);
  Status compile(ModuleOp module);
  Status find(bool draws);

  std::unique_ptr<llvm::orc::LLJIT> jit;
  std::vector<LaunchShape> shapes;
  std::vector<Kernel> kernels;
  HostFunction entries[3] = {}; // in Entry's order
  Executor executor;
  const QwenchStep *step = nullptr;
};

void KernelsOnCpu::launch(void *team, int64_t kernel, int64_t tiles, int64_t layer, int64_t instance) {
  auto &self = *static_cast<KernelsOnCpu *>(team);
  const LaunchShape &shape = self.shapes[kernel];
  self.executor.launch(self.kernels[kernel], shape, self.step, layer, instance, tiles,
                       shape.cooperative ? kTogether : gpu_test::blocksFor(tiles));
}

Status KernelsOnCpu::emit(ModuleOp planned, const gpu::Device &device, gpu::Schedule schedule) {
  const bool draws = planned.lookupSymbol("sample") != nullptr;
  PassManager emission(planned.getContext());
  emission.addPass(gpu::createToKernelsPass({device}, schedule));
  emission.addPass(createCanonicalizerPass());
  emission.addPass(createCSEPass());
  gpu::addSchedulePasses(emission, {device}, schedule);
  if (failed(emission.run(planned)))
    return internalError("cannot emit kernels");
  Result<std::vector<LaunchShape>> lowered = lower(planned, device.subgroupSize);
  if (!lowered)
    return lowered.takeError();
  shapes = lowered.take();
  Status compiled = compile(planned);
  return compiled ? find(draws) : compiled;
}

Status KernelsOnCpu::compile(ModuleOp module) {
  llvm::SmallVector<char, 0> object;
  llvm::raw_svector_ostream stream(object);
  std::string cpu = llvm::sys::getHostCPUName().str();
  if (Status emitted = generateCode(module, {"x86_64-unknown-linux-gnu", cpu, cpu, hostFeatures()}, CodegenOutput::Object, stream);
      !emitted)
    return emitted;
  auto made = llvm::orc::LLJITBuilder().create();
  if (!made)
    return internalError("cannot make a JIT: " + llvm::toString(made.takeError()));
  jit = std::move(*made);
  auto &library = jit->getMainJITDylib();
  llvm::orc::SymbolMap symbols;
  auto define = [&](const char *name, void *address) {
    symbols[jit->mangleAndIntern(name)] = {llvm::orc::ExecutorAddr::fromPtr(address), llvm::JITSymbolFlags::Exported};
  };
  for (const Function &function : functions())
    define(function.name, function.address);
  define("qwench_device_launch", reinterpret_cast<void *>(launch));
  llvm::cantFail(library.define(llvm::orc::absoluteSymbols(symbols)));
  library.addGenerator(llvm::cantFail(llvm::orc::DynamicLibrarySearchGenerator::GetForCurrentProcess('\0')));
  auto buffer = llvm::MemoryBuffer::getMemBufferCopy({object.data(), object.size()}, "kernels");
  if (auto error = jit->addObjectFile(std::move(buffer)))
    return internalError("cannot load kernels: " + llvm::toString(std::move(error)));
  return ok();
}

Status KernelsOnCpu::find(bool draws) {
  auto address = [&](const std::string &name) -> void * {
    auto found = jit->lookup(name);
    if (found)
      return found->toPtr<void *>();
    llvm::errs() << llvm::toString(found.takeError()) << "\n";
    return nullptr;
  };
  for (const LaunchShape &shape : shapes)
    kernels.push_back(reinterpret_cast<Kernel>(address(shape.name)));
  entries[0] = reinterpret_cast<HostFunction>(address("prefill"));
  entries[1] = reinterpret_cast<HostFunction>(address("decode"));
  if (draws)
    entries[2] = reinterpret_cast<HostFunction>(address("sample"));
  return entries[0] && entries[1] && !llvm::is_contained(kernels, nullptr) ? ok() : internalError("a compiled kernel is missing");
}

Status KernelsOnCpu::run(gpu_test::Entry entry, const QwenchStep &given, const std::vector<Range> &memory) {
  HostFunction function = entries[static_cast<int>(entry)];
  if (!function)
    return internalError("expected a module with the entry @sample");
  executor.setMemory(memory);
  step = &given;
  function(step, 0, 0, this);
  return executor.error().empty() ? ok() : internalError(executor.error());
}

} // namespace

} // namespace qwench::gpu_on_cpu

namespace qwench::gpu_test {

std::string missingFor(const gpu::Device &device) { return ""; }
bool sumsKeepTheirOrder() { return true; }

Result<std::unique_ptr<Kernels>> emitKernels(ModuleOp planned, const gpu::Device &device, gpu::Schedule schedule) {
  auto kernels = std::make_unique<gpu_on_cpu::KernelsOnCpu>();
  if (Status emitted = kernels->emit(planned, device, schedule); !emitted)
    return emitted.takeError();
  return std::unique_ptr<Kernels>(std::move(kernels));
}

} // namespace qwench::gpu_test
