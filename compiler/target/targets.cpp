// The list of targets.
#include "compiler/target/cuda/cuda_target.h"
#include "compiler/target/rocm/rocm_target.h"
#include "compiler/target/target.h"
#include "compiler/target/x86/x86_target.h"

using namespace qwench;

llvm::ArrayRef<TargetEntry> qwench::targets() {
  static const TargetEntry entries[] = {
      {"x86-64", "x86-64 CPUs; --cpu chooses the instructions, down from AVX-512 with bf16", createX86Target},
      {"cuda", "NVIDIA GPUs; --gpu chooses the architectures, from sm_80 on", createCudaTarget},
      {"rocm", "AMD GPUs; --gpu chooses the architectures, CDNA from gfx90a and RDNA from gfx1100 on", createRocmTarget},
  };
  return entries;
}

Result<std::unique_ptr<Target>> qwench::createTarget(llvm::StringRef name, const TargetOptions &options) {
  std::string known;
  for (const TargetEntry &entry : targets()) {
    if (entry.name == name)
      return entry.create(options);
    known += (known.empty() ? "" : ", ") + entry.name.str();
  }
  return userError("expected a target for --target, found '" + name.str() + "'; known are: " + known);
}
