#include "compiler/target/cuda/dynamic_memory.h"

#include "compiler/target/gpu/emit/images.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Interfaces/DataLayoutInterfaces.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;

namespace qwench::cuda {

namespace {

constexpr int64_t kMostStatic = 48 << 10;
constexpr auto kWorkgroup = static_cast<unsigned>(NVVM::NVVMMemorySpace::Shared);

/// A kernel's variables in workgroup memory, with where they are used, and their places side by side.
struct Variables {
  llvm::MapVector<LLVM::GlobalOp, SmallVector<LLVM::AddressOfOp>> uses;
  SmallVector<int64_t> places;
  int64_t bytes = 0, alignment = 1;

  Variables(LLVM::LLVMFuncOp kernel, mlir::gpu::GPUModuleOp module) {
    SymbolTable symbols(module);
    kernel.walk([&](LLVM::AddressOfOp address) {
      auto global = symbols.lookup<LLVM::GlobalOp>(address.getGlobalName());
      if (global && global.getAddrSpace() == kWorkgroup)
        uses[global].push_back(address);
    });
    DataLayout layout(module);
    for (auto &[global, addresses] : uses) {
      auto aligned = static_cast<int64_t>(global.getAlignment().value_or(16));
      alignment = std::max(alignment, aligned);
      places.push_back(llvm::alignTo(bytes, aligned));
      bytes = places.back() + static_cast<int64_t>(layout.getTypeSize(global.getType()).getFixedValue());
    }
  }
};

void replace(const Variables &variables, LLVM::GlobalOp whole) {
  for (auto [variable, place] : llvm::zip(variables.uses, variables.places)) {
    for (LLVM::AddressOfOp address : variable.second) {
      OpBuilder b(address);
      Value start = LLVM::AddressOfOp::create(b, address.getLoc(), whole);
      Value part = LLVM::GEPOp::create(b, address.getLoc(), start.getType(), b.getI8Type(), start,
                                       ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(place)});
      address.replaceAllUsesWith(part);
      address.erase();
    }
    LLVM::GlobalOp(variable.first).erase();
  }
}

} // namespace

void useDynamicMemory(mlir::gpu::GPUModuleOp module) {
  for (const gpu::Kernel &kernel : gpu::recordedKernels(module)) {
    auto function = module.lookupSymbol<LLVM::LLVMFuncOp>(kernel.name);
    if (!function)
      continue;
    Variables variables(function, module);
    if (variables.bytes <= kMostStatic)
      continue;
    OpBuilder b(function);
    auto type = LLVM::LLVMArrayType::get(b.getI8Type(), 0);
    auto whole = LLVM::GlobalOp::create(b, function.getLoc(), type, /*isConstant=*/false, LLVM::Linkage::External,
                                        kernel.name + "_workgroup", Attribute(), variables.alignment, kWorkgroup);
    replace(variables, whole);
    gpu::recordDynamicMemory(module, kernel.name, variables.bytes);
  }
}

} // namespace qwench::cuda
