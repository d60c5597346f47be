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

// The order matters: several maps become one before norm and residual are folded into it.
constexpr llvm::StringLiteral names[] = {"fuse-qkv",          "fuse-rope-cache", "fuse-swiglu", "fuse-router",
                                         "fuse-grouped-swiglu", "fuse-combine",  "fuse-norm",   "fuse-residual"};
constexpr std::unique_ptr<Pass> (*constructors[])() = {createFuseQkv,           createFuseRopeCache, createFuseSwiglu,
                                                       createFuseRouter,        createFuseGroupedSwiglu, createFuseCombine,
                                                       createFuseNorm,          createFuseResidual};
static_assert(std::size(names) == std::size(constructors));

struct FusePipelineOptions : PassPipelineOptions<FusePipelineOptions> {
  ListOption<std::string> disable{*this, "disable", llvm::cl::desc("fusions that do not run")};
};

LogicalResult addFusePipeline(OpPassManager &passes, StringRef text,
                              function_ref<LogicalResult(const Twine &)> error) {
  FusePipelineOptions options;
  if (failed(options.parseFromString(text)))
    return error("expected disable=NAME,..., found " + text);
  Status built = buildFusePipeline(passes, std::vector<std::string>(options.disable.begin(), options.disable.end()));
  return built ? success() : error(built.error().message);
}

} // namespace

llvm::ArrayRef<llvm::StringLiteral> fusionNames() { return names; }

Status buildFusePipeline(OpPassManager &passes, llvm::ArrayRef<std::string> disabled) {
  for (const std::string &name : disabled)
    if (!llvm::is_contained(names, name))
      return userError("expected a fusion of " + llvm::join(fusionNames(), ", ") + ", found " + name);
  passes.addPass(createCheckModel());
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  passes.addPass(createDecomposeExperts());
  for (auto [name, create] : llvm::zip(names, constructors))
    if (!llvm::is_contained(disabled, name))
      passes.addPass(create());
  passes.addPass(createCSEPass());
  passes.addPass(createPruneWeights());
  passes.addPass(createCheckFused());
  return ok();
}

void registerQwenchPasses() {
  registerQwenPasses();
  registerPassPipeline("qwen-fuse", "model stage to fused stage", addFusePipeline,
                       [](function_ref<void(const detail::PassOptions &)> handler) { handler(FusePipelineOptions()); });
}

} // namespace qwench
