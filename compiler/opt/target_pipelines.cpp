#include "compiler/opt/target_pipelines.h"

#include "compiler/target/target.h"
#include "passes/plan/plan.h"

#include "mlir/Pass/PassOptions.h"
#include "mlir/Pass/PassRegistry.h"

using namespace mlir;

namespace qwench {
namespace {

struct TargetPipelineOptions : PassPipelineOptions<TargetPipelineOptions> {
  Option<std::string> target{*this, "target", llvm::cl::desc("as --target of qwench"), llvm::cl::init("x86-64")};
  Option<std::string> cpu{*this, "cpu", llvm::cl::desc("as --cpu of qwench"), llvm::cl::init("native")};
  ListOption<std::string> gpus{*this, "gpu", llvm::cl::desc("as --gpu of qwench")};
  Option<std::string> schedule{*this, "schedule", llvm::cl::desc("as --schedule of qwench"), llvm::cl::init("auto")};
  Option<std::string> matrixUnit{*this, "matrix-unit", llvm::cl::desc("as --matrix-unit of qwench"), llvm::cl::init("auto")};
  Option<std::string> dependentLaunch{*this, "dependent-launch", llvm::cl::desc("as --dependent-launch of qwench"), llvm::cl::init("auto")};
  Option<int64_t> maxContext{*this, "max-context", llvm::cl::desc("positions"), llvm::cl::init(4096)};
};

using Build = void (*)(OpPassManager &, const Target &, const TargetPipelineOptions &);

/// Targets live as long as the process: passes refer to their properties.
LogicalResult build(OpPassManager &passes, StringRef text, function_ref<LogicalResult(const Twine &)> error, Build body) {
  static std::vector<std::unique_ptr<Target>> kept;
  TargetPipelineOptions options;
  if (failed(options.parseFromString(text)))
    return error("expected target=NAME and cpu=NAME, found " + text);
  TargetOptions targetOptions;
  targetOptions.cpu = options.cpu;
  targetOptions.gpus.assign(options.gpus.begin(), options.gpus.end());
  targetOptions.schedule = options.schedule;
  targetOptions.matrixUnit = options.matrixUnit;
  targetOptions.dependentLaunch = options.dependentLaunch;
  auto target = createTarget(StringRef(options.target), targetOptions);
  if (!target)
    return error(target.error().message);
  kept.push_back(target.take());
  body(passes, *kept.back(), options);
  return success();
}

template <Build body> void add(StringRef name, StringRef description) {
  registerPassPipeline(
      name, description,
      [](OpPassManager &passes, StringRef text, function_ref<LogicalResult(const Twine &)> error) {
        return build(passes, text, error, body);
      },
      [](function_ref<void(const detail::PassOptions &)> handler) { handler(TargetPipelineOptions()); });
}

void plan(OpPassManager &passes, const Target &target, const TargetPipelineOptions &options) {
  buildPlanPipeline(passes, target.properties(), {"model", options.maxContext});
}
void kernels(OpPassManager &passes, const Target &target, const TargetPipelineOptions &) { target.addKernelPasses(passes); }
void lower(OpPassManager &passes, const Target &target, const TargetPipelineOptions &) { target.addLoweringPasses(passes); }

} // namespace

void registerTargetPipelines() {
  add<plan>("qwen-plan", "fused stage to planned stage");
  add<kernels>("qwen-kernels", "planned stage to kernels stage");
  add<lower>("qwen-lower", "kernels stage to the LLVM dialect");
}

} // namespace qwench
