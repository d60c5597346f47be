#include "compiler/target/cuda/cuda_target.h"

#include "compiler/target/cuda/architectures.h"
#include "compiler/target/cuda/assemble.h"
#include "compiler/target/cuda/passes.h"
#include "compiler/target/gpu/emit/gpu_target.h"
#include "compiler/target/gpu/passes.h"

using namespace mlir;
using namespace qwench;

namespace {

class CudaTarget final : public qwench::gpu::GpuTarget {
public:
  explicit CudaTarget(qwench::gpu::GpuOptions options) : GpuTarget(std::move(options)) {}

  llvm::StringRef name() const override { return "cuda"; }

protected:
  std::unique_ptr<Pass> createConversionPass() const override { return cuda::createLowerKernelsPass(); }

  CodegenTarget codegenTarget(StringRef arch) const override {
    // Denormal numbers count as 0 in f32: exp2, sqrt and division are one instruction then.
    return {"nvptx64-nvidia-cuda", arch.str(), arch.str(), "", {{"denormal-fp-math-f32", "preserve-sign,preserve-sign"}}};
  }

  EmitKind imageKind() const override { return EmitKind::Ptx; }

  Result<std::string> makeFile(mlir::gpu::GPUModuleOp lowered) const override { return ptx(lowered, lowered.getName()); }

  /// For each architecture machine code, where somebody assembles it, and PTX for other drivers: without the architecture's
  /// suffix, for later GPUs as well, unless kernels use what only this one has.
  Result<std::vector<qwench::gpu::Image>> makeImages(ArrayRef<mlir::gpu::GPUModuleOp> lowered) const override {
    std::string assembler = cuda::findAssembler();
    std::vector<qwench::gpu::Image> images;
    for (auto module : lowered) {
      StringRef arch = module.getName(), base = module->hasAttr(qwench::gpu::kMatrixUnit) ? arch : cuda::baseName(arch);
      auto kernels = qwench::gpu::recordedKernels(module);
      Result<std::string> text = ptx(module, arch);
      Result<std::string> portable = text && base != arch ? ptx(module, base) : text;
      if (!portable)
        return portable.takeError();
      if (!assembler.empty()) {
        Result<std::string> cubin = cuda::assemble(assembler, *text, arch);
        if (!cubin)
          return cubin.takeError();
        images.push_back({arch.str(), QWENCH_IMAGE_CUBIN, cubin.take(), kernels});
      }
      images.push_back({base.str(), QWENCH_IMAGE_PTX, *portable + '\0', kernels});
    }
    return images;
  }

private:
  Result<std::string> ptx(mlir::gpu::GPUModuleOp module, StringRef arch) const {
    return qwench::gpu::generateDeviceCode(module, codegenTarget(arch), CodegenOutput::Assembly);
  }
};

} // namespace

Result<std::unique_ptr<Target>> qwench::createCudaTarget(const TargetOptions &options) {
  auto parsed = qwench::gpu::parseGpuOptions(cuda::architectures(), options);
  if (!parsed)
    return parsed.takeError();
  return std::unique_ptr<Target>(new CudaTarget(parsed.take()));
}
