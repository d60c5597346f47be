#include "compiler/target/rocm/rocm_target.h"

#include "compiler/link/link.h"
#include "compiler/target/gpu/emit/gpu_target.h"
#include "compiler/target/rocm/architectures.h"
#include "compiler/target/rocm/passes.h"

using namespace mlir;
using namespace qwench;

namespace {

class RocmTarget final : public qwench::gpu::GpuTarget {
public:
  explicit RocmTarget(qwench::gpu::GpuOptions options) : GpuTarget(std::move(options)) {}

  llvm::StringRef name() const override { return "rocm"; }

protected:
  std::unique_ptr<Pass> createConversionPass() const override { return rocm::createLowerKernelsPass(); }

  CodegenTarget codegenTarget(StringRef arch) const override {
    // Denormal numbers count as 0 in f32: exp2 is one instruction then, not five. Code objects are of version 5, which every
    // ROCm 6 loads; LLVM's default is 6. Loops stay: where steps are to overlap, kernels say so. Of one unrolled as a whole,
    // LLVM moves the products of matrices down to where each sum is stored, and keeps all operands till then, in more
    // registers than there are.
    return {"amdgcn-amd-amdhsa", arch.str(), arch.str(), "", {{"denormal-fp-math-f32", "preserve-sign,preserve-sign"}},
            {{"amdhsa_code_object_version", 500}}, /*unrollLoops=*/false};
  }

  EmitKind imageKind() const override { return EmitKind::Hsaco; }

  Result<std::string> makeFile(mlir::gpu::GPUModuleOp lowered) const override {
    Result<std::string> object =
        qwench::gpu::generateDeviceCode(lowered, codegenTarget(lowered.getName()), CodegenOutput::Object);
    if (!object)
      return object.takeError();
    return link::linkCodeObject(*object);
  }

  Result<std::vector<qwench::gpu::Image>> makeImages(ArrayRef<mlir::gpu::GPUModuleOp> lowered) const override {
    std::vector<qwench::gpu::Image> images;
    for (auto module : lowered) {
      Result<std::string> file = makeFile(module);
      if (!file)
        return file.takeError();
      images.push_back({module.getName().str(), QWENCH_IMAGE_HSACO, file.take(), qwench::gpu::recordedKernels(module)});
    }
    return images;
  }
};

} // namespace

Result<std::unique_ptr<Target>> qwench::createRocmTarget(const TargetOptions &options) {
  auto parsed = qwench::gpu::parseGpuOptions(rocm::architectures(), options);
  if (!parsed)
    return parsed.takeError();
  return std::unique_ptr<Target>(new RocmTarget(parsed.take()));
}
