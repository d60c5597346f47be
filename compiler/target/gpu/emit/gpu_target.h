// What the GPU backends have in common as targets; a vendor adds its table, its conversion, and how images are made.
#pragma once

#include "compiler/emit/codegen.h"
#include "compiler/target/gpu/emit/architecture.h"
#include "compiler/target/gpu/emit/images.h"
#include "compiler/target/target.h"

namespace qwench::gpu {

/// How kernels are made, and for what.
struct GpuOptions {
  std::vector<const Architecture *> architectures;
  Schedule schedule = Schedule::Graph;
  bool wgmma = false; ///< whether tiles of products are those of four subgroups together
  bool dependentLaunches = false; ///< whether kernels begin while launches before them still run
};

class GpuTarget : public Target {
public:
  TargetProperties properties() const override;
  Status supports(mlir::ModuleOp fused) const override;
  void addKernelPasses(mlir::OpPassManager &passes) const override;
  void addLoweringPasses(mlir::OpPassManager &passes) const override;
  Status emit(mlir::ModuleOp lowered, EmitKind kind, llvm::raw_pwrite_stream &out) const override;

protected:
  explicit GpuTarget(GpuOptions options) : options(std::move(options)) {}

  /// A pass on a gpu.module named after an architecture: to LLVM and the vendor's dialect.
  virtual std::unique_ptr<mlir::Pass> createConversionPass() const = 0;
  /// What LLVM makes the kernels of `arch` for.
  virtual CodegenTarget codegenTarget(llvm::StringRef arch) const = 0;
  /// The kind of file that --emit=ptx or --emit=hsaco asks for.
  virtual EmitKind imageKind() const = 0;
  /// One image of each module at least, best first. `lowered` are gpu.modules named after their architecture.
  virtual Result<std::vector<Image>> makeImages(llvm::ArrayRef<mlir::gpu::GPUModuleOp> lowered) const = 0;
  /// The file of imageKind() for one module.
  virtual Result<std::string> makeFile(mlir::gpu::GPUModuleOp lowered) const = 0;

private:
  Status emitObject(mlir::ModuleOp lowered, llvm::raw_pwrite_stream &out) const;
  Status emitText(mlir::ModuleOp lowered, CodegenOutput output, llvm::raw_pwrite_stream &out) const;

  std::vector<Device> devices() const;

  GpuOptions options;
};

/// What the command line asks for, of a backend's table. --schedule names graph, persistent, or auto, which is graph as long as
/// nobody has measured which is faster; --matrix-unit likewise mma, wgmma (for architectures that have it), or auto, which is mma;
/// --dependent-launch on (likewise, with launches of a graph), off, or auto, which is off.
Result<GpuOptions> parseGpuOptions(llvm::ArrayRef<Architecture> table, const TargetOptions &options);

/// Runs LLVM on one gpu.module and gives what it wrote.
Result<std::string> generateDeviceCode(mlir::gpu::GPUModuleOp module, const CodegenTarget &target, CodegenOutput output);

} // namespace qwench::gpu
