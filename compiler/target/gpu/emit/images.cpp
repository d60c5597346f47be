#include "compiler/target/gpu/emit/images.h"

#include "compiler/target/gpu/passes.h"
#include "compiler/target/program_constant.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;

namespace qwench::gpu {

namespace {

/// On a gpu.module: a dictionary {name, threads, cooperative, dynamic_bytes, dependent} for each kernel.
constexpr StringLiteral kKernels = "qwench.kernels";

/// An array of structs lies as its members one after another.
void emitKernelTable(ModuleOp module, StringRef symbol, ArrayRef<Kernel> kernels) {
  StructWriter w(module);
  for (const Kernel &kernel : kernels) {
    w.text((symbol + "." + kernel.name).str(), kernel.name);
    w.number(32, kernel.threads);
    w.number(32, kernel.dynamicBytes);
    w.number(32, kernel.cooperative);
    w.number(32, kernel.dependent);
  }
  w.finish(symbol, /*external=*/false);
}

} // namespace

static void record(mlir::gpu::GPUModuleOp module, ArrayRef<Kernel> kernels) {
  Builder b(module.getContext());
  SmallVector<Attribute> recorded;
  for (const Kernel &kernel : kernels)
    recorded.push_back(b.getDictionaryAttr({b.getNamedAttr("name", b.getStringAttr(kernel.name)),
                                            b.getNamedAttr("threads", b.getI64IntegerAttr(kernel.threads)),
                                            b.getNamedAttr("cooperative", b.getBoolAttr(kernel.cooperative)),
                                            b.getNamedAttr("dynamic_bytes", b.getI64IntegerAttr(kernel.dynamicBytes)),
                                            b.getNamedAttr("dependent", b.getBoolAttr(kernel.dependent))}));
  module->setAttr(kKernels, b.getArrayAttr(recorded));
}

LogicalResult recordKernels(mlir::gpu::GPUModuleOp module) {
  std::vector<Kernel> kernels;
  for (auto function : module.getOps<mlir::gpu::GPUFuncOp>()) {
    if (!function.isKernel())
      continue;
    std::optional<ArrayRef<int32_t>> block = function.getKnownBlockSize();
    if (!block)
      return function.emitOpError("expected a kernel of known_block_size");
    int64_t threads = int64_t((*block)[0]) * (*block)[1] * (*block)[2];
    kernels.push_back({.name = function.getName().str(),
                       .threads = threads,
                       .cooperative = function->hasAttr(kCooperative),
                       .dependent = function->hasAttr(kDependent)});
  }
  record(module, kernels);
  return success();
}

void recordDynamicMemory(mlir::gpu::GPUModuleOp module, StringRef name, int64_t bytes) {
  std::vector<Kernel> kernels = recordedKernels(module);
  for (Kernel &kernel : kernels)
    if (kernel.name == name)
      kernel.dynamicBytes = bytes;
  record(module, kernels);
}

std::vector<Kernel> recordedKernels(mlir::gpu::GPUModuleOp module) {
  std::vector<Kernel> kernels;
  if (auto recorded = module->getAttrOfType<ArrayAttr>(kKernels))
    for (auto kernel : recorded.getAsRange<DictionaryAttr>())
      kernels.push_back({kernel.getAs<StringAttr>("name").str(), kernel.getAs<IntegerAttr>("threads").getInt(),
                         kernel.getAs<BoolAttr>("cooperative").getValue(),
                         kernel.getAs<IntegerAttr>("dynamic_bytes").getInt(),
                         kernel.getAs<BoolAttr>("dependent").getValue()});
  return kernels;
}

void declareDeviceProgram(ModuleOp module) {
  ImplicitLocOpBuilder b(module.getLoc(), module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  LLVM::GlobalOp::create(b, LLVM::LLVMArrayType::get(b.getI8Type(), sizeof(QwenchDeviceProgram)), true,
                         LLVM::Linkage::External, kDeviceProgram, Attribute());
}

void defineDeviceProgram(ModuleOp module, StringRef api, ArrayRef<Image> images) {
  if (auto declared = module.lookupSymbol<LLVM::GlobalOp>(kDeviceProgram))
    declared.erase();
  StructWriter table(module);
  for (auto [i, image] : llvm::enumerate(images)) {
    std::string number = std::to_string(i), bytes = "qwench_image." + number, kernels = "qwench_kernels." + number;
    emitBytes(module, bytes, image.bytes, 16);
    emitKernelTable(module, kernels, image.kernels);
    table.text("arch." + number, image.arch);
    table.number(32, image.kind);
    table.number(32, 0);
    table.address(bytes);
    table.number(64, image.bytes.size());
    table.address(kernels);
  }
  table.finish("qwench_images", /*external=*/false);
  StructWriter w(module);
  w.text("api", api);
  w.number(64, images.empty() ? 0 : images.front().kernels.size());
  w.address("qwench_images");
  w.number(64, images.size());
  w.finish(kDeviceProgram, /*external=*/false);
}

} // namespace qwench::gpu
