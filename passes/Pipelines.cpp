#include "passes/Pipelines.h"

#include "passes/Passes.h"

#include "mlir/Pass/PassOptions.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace qwench {
namespace {

struct Fusion {
  llvm::StringLiteral name;
  std::unique_ptr<Pass> (*create)();
};

// The order matters: several maps become one before norm and residual are folded into it.
constexpr Fusion fusions[] = {
    {"fuse-qkv", createFuseQkv},
    {"fuse-rope-cache", createFuseRopeCache},
    {"fuse-swiglu", createFuseSwiglu},
    {"fuse-router", createFuseRouter},
    {"fuse-grouped-swiglu", createFuseGroupedSwiglu},
    {"fuse-combine", createFuseCombine},
    {"fuse-norm", createFuseNorm},
    {"fuse-residual", createFuseResidual},
};

struct FusePipelineOptions : PassPipelineOptions<FusePipelineOptions> {
  ListOption<std::string> disable{*this, "disable", llvm::cl::desc("fusions that do not run")};
  Option<std::string> dtype{*this, "dtype", llvm::cl::desc("as of quantize-weights")};
  Option<std::string> dtypeFor{*this, "dtype-for", llvm::cl::desc("as of quantize-weights")};
  Option<int64_t> groupSize{*this, "group-size", llvm::cl::desc("as of quantize-weights"), llvm::cl::init(0)};
};

LogicalResult addFusePipeline(OpPassManager &passes, StringRef text,
                              function_ref<LogicalResult(const Twine &)> error) {
  FusePipelineOptions options;
  if (failed(options.parseFromString(text)))
    return error("expected disable=NAME,..., dtype=, dtype-for= or group-size=, found " + text);
  Status built = buildFusePipeline(passes, std::vector<std::string>(options.disable.begin(), options.disable.end()),
                                   {options.dtype, options.dtypeFor, options.groupSize});
  return built ? success() : error(built.error().message);
}

} // namespace

llvm::ArrayRef<llvm::StringLiteral> fusionNames() {
  static const std::vector<llvm::StringLiteral> names = [] {
    std::vector<llvm::StringLiteral> result;
    for (const Fusion &fusion : fusions)
      result.push_back(fusion.name);
    return result;
  }();
  return names;
}

Status buildFusePipeline(OpPassManager &passes, llvm::ArrayRef<std::string> disabled, const WeightFormats &formats) {
  for (const std::string &name : disabled)
    if (!llvm::is_contained(fusionNames(), name))
      return userError("expected a fusion of " + llvm::join(fusionNames(), ", ") + ", found " + name);
  passes.addPass(createCheckModel());
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  passes.addPass(createQuantizeWeights({formats.dtype, formats.dtypeFor, formats.groupSize}));
  passes.addPass(createDecomposeExperts());
  for (const Fusion &fusion : fusions)
    if (!llvm::is_contained(disabled, fusion.name))
      passes.addPass(fusion.create());
  passes.addPass(createCSEPass());
  passes.addPass(createPruneWeights());
  passes.addPass(createCheckFused());
  return ok();
}

void registerQwenchPasses() {
  registerQwenPasses();
  registerPassPipeline(
      "qwen-fuse", "model stage to fused stage", addFusePipeline,
      [](function_ref<void(const detail::PassOptions &)> handler) { handler(FusePipelineOptions()); });
}

} // namespace qwench
